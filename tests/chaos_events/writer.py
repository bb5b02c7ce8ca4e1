"""An app that writes and tells of it, without end: rows of ``source``, and an event of each, in one transaction.

Events of a tenant are numbered by a row that its transactions lock, so that their order is known. Some transactions
take their id early and commit late, some are taken back, some add an event twice, some tell of days that are long over.
"""

import argparse
import random
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg

from cellplane.cell import CellContext, entered
from cellplane.events import Event, Outbox, create_outbox

CELL_ID = "cell-a"
TENANTS = [f"tenant-{number}" for number in range(12)] + ["Acme.Europe", "a=b|c@d.e~f:g+h"]
TYPES = ("order.created", "order.paid", "mail.sent")
MAX_DAYS_LATE = 40
RETRY_SECONDS = 0.2
MAX_SECONDS = 4 * 3600
"""After this it ends by itself, whoever started it."""

SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS source (
    id uuid PRIMARY KEY, tenant_id text NOT NULL, n bigint NOT NULL, type text NOT NULL,
    occurred_at timestamptz NOT NULL, bytes numeric NOT NULL
)""",
    "CREATE TABLE IF NOT EXISTS counters (tenant_id text PRIMARY KEY, n bigint NOT NULL DEFAULT 0)",
    "CREATE TABLE IF NOT EXISTS scratch (note text)",
)


def prepare(url: str) -> None:
    """Make the tables."""
    with psycopg.connect(url) as connection:
        for statement in SCHEMA:
            connection.execute(statement.encode())
        for tenant in TENANTS:
            connection.execute("INSERT INTO counters VALUES (%s) ON CONFLICT DO NOTHING", (tenant,))
        create_outbox(connection)


class Writer:
    """One thread's work.

    Args:
        rng: decides all that it does, but not when.
    """

    def __init__(self, url: str, rng: random.Random, tps: float) -> None:
        self._url = url
        self._rng = rng
        self._pause = 1 / tps
        self._outbox = Outbox(new_id=lambda: UUID(int=rng.getrandbits(128), version=4))

    def run(self) -> None:
        while True:
            try:
                with psycopg.connect(self._url, connect_timeout=2) as connection:
                    while True:
                        self._transact(connection)
                        connection.commit()
                        time.sleep(self._rng.uniform(0, 2 * self._pause))
            except psycopg.OperationalError:
                time.sleep(RETRY_SECONDS)

    def _transact(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        rng = self._rng
        tenant = rng.choice(TENANTS)
        with connection.transaction() as transaction, entered(CellContext(CELL_ID, 7, tenant)):
            if rng.random() < 0.3:
                connection.execute("INSERT INTO scratch VALUES ('an id of a transaction, early')")
                time.sleep(rng.uniform(0, 0.05))
            events = [self._write(connection, tenant) for _ in range(rng.choice((1, 1, 1, 2, 5)))]
            added = self._outbox.add(connection, *events)
            assert added == len(events), "all are new"
            if rng.random() < 0.1:
                assert self._outbox.add(connection, rng.choice(events)) == 0, "and then they are not"
            if rng.random() < 0.1:
                time.sleep(rng.uniform(0, 0.02))
            if rng.random() < 0.1:
                raise psycopg.Rollback(transaction)

    def _write(self, connection: psycopg.Connection[tuple[object, ...]], tenant: str) -> Event:
        rng = self._rng
        found = connection.execute(
            "UPDATE counters SET n = n + 1 WHERE tenant_id = %s RETURNING n", (tenant,)
        ).fetchone()
        assert found is not None
        number = found[0]
        at = datetime.now(UTC)
        if rng.random() < 0.2:
            at -= timedelta(days=rng.uniform(0, MAX_DAYS_LATE))
        type_, size = rng.choice(TYPES), rng.randrange(10_000) / rng.choice((1, 1, 4, 1000))
        event_id = UUID(int=rng.getrandbits(128), version=4)
        connection.execute(
            "INSERT INTO source VALUES (%s, %s, %s, %s, %s, %s)",
            (event_id, tenant, number, type_, at, str(size)),
        )
        return Event(type_, {"n": number, "bytes": size}, id=event_id, occurred_at=at)


def main() -> None:
    """Write until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--tps", type=float, default=40.0, help="transactions a second of each thread, at most")
    options = parser.parse_args()
    # A thread that ends by an error ends the process, which whoever started it finds out.
    threading.excepthook = lambda args: (sys.excepthook(args.exc_type, args.exc_value, None), sys.exit(1))[1]  # type: ignore[arg-type]
    for number in range(options.threads):
        rng = random.Random(f"{options.seed}/{number}")
        threading.Thread(target=Writer(options.url, rng, options.tps).run, daemon=True).start()
    time.sleep(MAX_SECONDS)


if __name__ == "__main__":
    main()
