-- The outbox of a cell, in the cell's own database. Statements are parted by empty lines, and have none inside.
-- Each can be run again: create_outbox() does so, under a lock.

CREATE SEQUENCE IF NOT EXISTS cellplane_outbox_seq;

CREATE TABLE IF NOT EXISTS cellplane_outbox (
    seq         bigint NOT NULL DEFAULT nextval('cellplane_outbox_seq'),
    id          uuid PRIMARY KEY,
    tenant_id   text COLLATE "C" NOT NULL,
    type        text COLLATE "C" NOT NULL,
    occurred_at timestamptz NOT NULL,
    epoch       numeric(20, 0) NOT NULL,
    data        jsonb NOT NULL,
    added_at    timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);

CREATE UNIQUE INDEX IF NOT EXISTS cellplane_outbox_by_seq ON cellplane_outbox (seq);

-- One row. Events have room up to the place limit_seq: what is deleted moves it on, so that nobody has to count.
CREATE TABLE IF NOT EXISTS cellplane_outbox_state (
    one_row    boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    max_events bigint NOT NULL,
    when_full  text NOT NULL,
    trim_every bigint NOT NULL,
    limit_seq  bigint NOT NULL,
    dropped    bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

-- What apps dropped, until the relay adds it to cellplane_outbox_state: a row each, so that no app waits for another.
CREATE TABLE IF NOT EXISTS cellplane_outbox_dropped (
    at     timestamptz NOT NULL DEFAULT now(),
    events bigint NOT NULL
);

-- What relays did, in one row that outlives each of them.
CREATE TABLE IF NOT EXISTS cellplane_outbox_relay (
    one_row  boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    relayed  bigint NOT NULL DEFAULT 0,
    failures bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

INSERT INTO cellplane_outbox_relay DEFAULT VALUES ON CONFLICT (one_row) DO NOTHING;

-- What the stream will never take, with its reason.
CREATE TABLE IF NOT EXISTS cellplane_outbox_refused (
    seq         bigint NOT NULL,
    id          uuid PRIMARY KEY,
    tenant_id   text COLLATE "C" NOT NULL,
    type        text COLLATE "C" NOT NULL,
    occurred_at timestamptz NOT NULL,
    epoch       numeric(20, 0) NOT NULL,
    data        jsonb NOT NULL,
    added_at    timestamptz NOT NULL,
    refused_at  timestamptz NOT NULL DEFAULT now(),
    reason      text NOT NULL
);

-- The last place that was given away.
CREATE OR REPLACE FUNCTION cellplane_outbox_last() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM cellplane_outbox_seq
$$;

-- Delete the oldest over the limit, with room for so many more; how many were. One at a time: the others delete none.
CREATE OR REPLACE FUNCTION cellplane_outbox_trim(room bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    most    bigint := (SELECT max_events FROM cellplane_outbox_state);
    surplus bigint;
    gone    bigint := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('cellplane_outbox_trim', 0)) THEN
        RETURN 0;
    END IF;
    surplus := (SELECT count(*) FROM cellplane_outbox) + room - most;
    IF surplus > 0 THEN
        DELETE FROM cellplane_outbox WHERE seq IN (
            SELECT seq FROM cellplane_outbox ORDER BY seq LIMIT surplus FOR UPDATE SKIP LOCKED
        );
        GET DIAGNOSTICS gone = ROW_COUNT;
        IF gone > 0 THEN
            INSERT INTO cellplane_outbox_dropped (events) VALUES (gone);
        END IF;
    END IF;
    RETURN gone;
END
$$;

-- Add events, in their order: how many are new. -1: there is no room for them, and none was added.
CREATE OR REPLACE FUNCTION cellplane_outbox_add(events jsonb) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    state  cellplane_outbox_state;
    wanted integer := jsonb_array_length(events);
    last   bigint := cellplane_outbox_last();
    added  integer;
BEGIN
    SELECT * INTO STRICT state FROM cellplane_outbox_state;
    IF last + wanted > state.limit_seq THEN
        IF state.when_full = 'refuse' THEN
            -- What waits already needs no room.
            IF wanted = (SELECT count(*) FROM jsonb_array_elements(events) AS event
                         JOIN cellplane_outbox AS waiting ON waiting.id = (event ->> 'id')::uuid) THEN
                RETURN 0;
            END IF;
            RETURN -1;
        ELSIF last / state.trim_every < (last + wanted) / state.trim_every THEN
            PERFORM cellplane_outbox_trim(wanted);
        END IF;
    END IF;
    INSERT INTO cellplane_outbox (id, tenant_id, type, occurred_at, epoch, data)
    SELECT (event ->> 'id')::uuid, event ->> 'tenant_id', event ->> 'type', (event ->> 'occurred_at')::timestamptz,
           (event ->> 'epoch')::numeric, event -> 'data'
    FROM jsonb_array_elements(events) WITH ORDINALITY AS given (event, place)
    ORDER BY place
    ON CONFLICT (id) DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN added;
END
$$;

-- Count what waits, and say anew up to which place there is room.
CREATE OR REPLACE FUNCTION cellplane_outbox_measure() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    last    bigint;
    waiting bigint;
    lost    bigint;
BEGIN
    IF (SELECT when_full FROM cellplane_outbox_state) = 'drop-oldest' THEN
        PERFORM cellplane_outbox_trim(0);
    END IF;
    WITH gone AS (DELETE FROM cellplane_outbox_dropped RETURNING events)
    SELECT coalesce(sum(events), 0) INTO lost FROM gone;
    last := cellplane_outbox_last();
    waiting := (SELECT count(*) FROM cellplane_outbox);
    UPDATE cellplane_outbox_state SET limit_seq = last + max_events - waiting, dropped = dropped + lost;
    RETURN waiting;
END
$$;
