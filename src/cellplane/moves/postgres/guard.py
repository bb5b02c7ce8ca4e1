"""The guard of a tenant's rows while it moves: it refuses writes where there are to be none, and notes others.

A trigger on each of the tenant's tables, in both databases. In the one that has the tenant it stands open until the
fence falls; in the other it is closed from the beginning, so that at no time both take writes. What replication
applies passes it, as ordinary triggers do not fire for that.

**In-flight writes.** Each transaction that writes the tenant's rows holds a shared advisory lock to its end; closing
the guard takes it exclusively. So when the guard is closed, whatever passed it is committed, or gone. PostgreSQL serves
these locks in order, so that writers cannot starve whoever closes.

**TRUNCATE** fires no trigger of a row, and takes the tenant's rows with all others: it is refused while a guard is
there.

**Old snapshots.** A repeatable-read transaction would look at the guard with the eyes of its beginning: it locks the
guard's row instead, which fails (40001) where the row has changed since.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from cellplane.moves.errors import MoveError, NotInTimeError
from cellplane.moves.postgres.catalog import SCHEMA
from cellplane.moves.postgres.shapes import Shape, look
from cellplane.moves.settings import MoverSettings
from cellplane.moves.tables import Table

MOVING = "57CP1"
"""SQLSTATE of a refused write: this database is not where the tenant is written, now or any more. It is of the class of
operators' interventions (57), which drivers have as an operational error: apps answer it as a database that is away.
"""

_MAKE: tuple[LiteralString, ...] = (
    "CREATE SCHEMA IF NOT EXISTS cellplane_moves",
    "GRANT USAGE ON SCHEMA cellplane_moves TO PUBLIC",
    """
CREATE TABLE IF NOT EXISTS cellplane_moves.guards (
    tenant_id text COLLATE "C" PRIMARY KEY,
    move_id text NOT NULL,
    is_closed boolean NOT NULL,
    is_claimed boolean NOT NULL DEFAULT false,
    epoch bigint NOT NULL DEFAULT 0
)""",
    """
CREATE TABLE IF NOT EXISTS cellplane_moves.touched (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    move_id text NOT NULL,
    table_name text NOT NULL,
    key jsonb NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id()
)""",
    "CREATE INDEX IF NOT EXISTS touched_of_move ON cellplane_moves.touched (move_id, table_name)",
    """
CREATE TABLE IF NOT EXISTS cellplane_moves.marks (
    stream text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (stream, number)
)""",
    """
CREATE TABLE IF NOT EXISTS cellplane_moves.shapes (
    move_id text PRIMARY KEY,
    digest text NOT NULL
)""",
    # An app's role writes through the guard, whatever it may do else.
    """
CREATE OR REPLACE FUNCTION cellplane_moves.pass(wanted text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    guard cellplane_moves.guards;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('cellplane.move:' || wanted, 0));
    IF current_setting('transaction_isolation') = 'read committed' THEN
        SELECT * INTO guard FROM cellplane_moves.guards WHERE tenant_id = wanted;
    ELSE
        SELECT * INTO guard FROM cellplane_moves.guards WHERE tenant_id = wanted FOR SHARE;
    END IF;
    IF guard.is_closed THEN
        RAISE EXCEPTION 'tenant % is not written in this cell', wanted
            USING ERRCODE = '57CP1', HINT = 'It is moving, or has moved: ask again, by way of a router.';
    END IF;
    RETURN guard.move_id;
END $$""",
    """
CREATE OR REPLACE FUNCTION cellplane_moves.touch(move text, changed text, keys jsonb[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO cellplane_moves.touched (move_id, table_name, key)
    SELECT DISTINCT move, changed, key FROM unnest(keys) AS key WHERE key IS NOT NULL AND move IS NOT NULL
$$""",
    """
CREATE OR REPLACE FUNCTION cellplane_moves.keep() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% has rows of tenant %, which is moving', TG_RELID::regclass, TG_ARGV[0]
        USING ERRCODE = '55006', HINT = 'Delete the rows that are to go, or truncate it when the move has ended.';
END $$""",
)

_WITH_PARTITIONS = """
SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = %(table)s::regclass OR c.oid IN (SELECT relid FROM pg_partition_tree(%(table)s::regclass))
ORDER BY 1
"""
_THEIRS = "SELECT tgname::text FROM pg_trigger WHERE tgrelid = %s::regclass"
# Those of partitions go with their table's.
_OF_MOVE = """
SELECT format('%%I.%%I', n.nspname, c.relname), array_agg(t.tgname::text ORDER BY t.tgname) FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE starts_with(t.tgname::text, %s) AND t.tgparentid = 0 GROUP BY 1 ORDER BY 1
"""
_FUNCTIONS = """
SELECT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = %s AND starts_with(p.proname::text, %s) ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Guard:
    """The guard of one tenant in one database, for one move."""

    tenant_id: str
    move_id: str
    settings: MoverSettings

    def install(self, connection: psycopg.Connection[Any], tables: Sequence[Table], *, closed: bool) -> None:
        """Put it on the tenant's tables. Each step is short, and can be repeated; one that is there stays as it is.

        Raises:
            MoveError: another move has the tenant.
            NotInTimeError: a table was in use for too long.
        """
        with connection.transaction():
            # Two that make it at once would fail each other.
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('cellplane.moves.schema', 0))")
            for statement in _MAKE:
                connection.execute(statement)
            connection.execute(
                "INSERT INTO cellplane_moves.guards (tenant_id, move_id, is_closed) VALUES (%s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                (self.tenant_id, self.move_id, closed),
            )
            row = connection.execute(
                "SELECT move_id FROM cellplane_moves.guards WHERE tenant_id = %s", (self.tenant_id,)
            ).fetchone()
        if row != (self.move_id,):
            found = None if row is None else row[0]
            raise MoveError(f"{self.tenant_id} is guarded here by the move {found}: end or repair that one first")
        for table in tables:
            self._on(connection, table)

    def _on(self, connection: psycopg.Connection[Any], table: Table) -> None:
        name = self._named(table.name)
        column = sql.Identifier(self.settings.tenant_column)
        tenant = sql.Literal(self.tenant_id)

        def key(row: LiteralString) -> sql.Composed:
            parts = sql.SQL(", ").join(sql.SQL(row + ".{}").format(sql.Identifier(each)) for each in table.key)
            return sql.SQL("CASE WHEN " + row + ".{column} = {tenant} THEN jsonb_build_array({parts}) END").format(
                column=column, tenant=tenant, parts=parts
            )

        body = sql.SQL(
            """
DECLARE
    move text := cellplane_moves.pass({tenant});
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM cellplane_moves.touch(move, {table}, ARRAY[{new}]);
        RETURN NEW;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM cellplane_moves.touch(move, {table}, ARRAY[{old}]);
        RETURN OLD;
    END IF;
    PERFORM cellplane_moves.touch(move, {table}, ARRAY[{old}, {new}]);
    RETURN NEW;
END"""
        ).format(tenant=tenant, table=sql.Literal(table.name), old=key("OLD"), new=key("NEW"))
        connection.execute(
            sql.SQL("CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS {body}").format(
                name=sql.Identifier(SCHEMA, name), body=sql.Literal(body.as_string(connection))
            )
        )
        # Those for rows come to partitions by themselves.
        emptied = [relation for (relation,) in connection.execute(_WITH_PARTITIONS, {"table": table.name})]
        where = sql.SQL("{row}.{column} = {tenant}")
        new = where.format(row=sql.SQL("NEW"), column=column, tenant=tenant)
        old = where.format(row=sql.SQL("OLD"), column=column, tenant=tenant)
        row = sql.SQL("ON {} FOR EACH ROW WHEN ({}) EXECUTE FUNCTION {}()")
        does = sql.Identifier(SCHEMA, name)
        keeps = sql.SQL("EXECUTE FUNCTION {}({})").format(sql.Identifier(SCHEMA, "keep"), tenant)
        wanted = {
            (table.name, f"{name}_i"): sql.SQL("BEFORE INSERT {}").format(row.format(named(table), new, does)),
            (table.name, f"{name}_u"): sql.SQL("BEFORE UPDATE {}").format(
                row.format(named(table), sql.SQL("{} OR {}").format(old, new), does)
            ),
            (table.name, f"{name}_d"): sql.SQL("BEFORE DELETE {}").format(row.format(named(table), old, does)),
            **{
                (relation, f"{name}_t"): sql.SQL("BEFORE TRUNCATE ON {} {}").format(sql.SQL(relation), keeps)
                for relation in emptied
            },
        }
        # Partitions may have come and gone since the others were made.
        there = {(each, found) for each in emptied for (found,) in connection.execute(_THEIRS, (each,))}
        statements = [
            sql.SQL("CREATE TRIGGER {} {}").format(sql.Identifier(trigger), rest)
            for (relation, trigger), rest in wanted.items()
            if (relation, trigger) not in there
        ]
        if statements:
            self._briefly(connection, statements, table.name)

    def close(self, connection: psycopg.Connection[Any], epoch: int = 0) -> None:
        """Refuse the tenant's writes from now on; when it returns, none that passed is under way.

        Raises:
            NotInTimeError: a transaction that writes the tenant did not end in time; writes go on.
        """
        try:
            with connection.transaction():
                self._wait_for_locks(connection, self.settings.fence_seconds)
                connection.execute(
                    "SELECT pg_advisory_xact_lock(hashtextextended('cellplane.move:' || %s, 0))", (self.tenant_id,)
                )
                self._set(connection, closed=True, epoch=epoch)
        except psycopg.errors.LockNotAvailable as error:
            raise NotInTimeError(
                f"a transaction that writes {self.tenant_id} went on for more than {self.settings.fence_seconds} s: "
                "end it (pg_stat_activity names it), or move the tenant when it is quiet"
            ) from error

    def open(self, connection: psycopg.Connection[Any], epoch: int = 0) -> None:
        """Take the tenant's writes from now on."""
        with connection.transaction():
            self._set(connection, closed=False, epoch=epoch)

    def _set(self, connection: psycopg.Connection[Any], *, closed: bool, epoch: int) -> None:
        done = connection.execute(
            "UPDATE cellplane_moves.guards SET is_closed = %s, epoch = greatest(epoch, %s) "
            "WHERE tenant_id = %s AND move_id = %s",
            (closed, epoch, self.tenant_id, self.move_id),
        )
        if done.rowcount != 1:
            raise MoveError(f"{self.tenant_id} has no guard of the move {self.move_id} here: prepare it first")

    def sync(self, connection: psycopg.Connection[Any]) -> None:
        """Have all on disk that is committed here, also what did not wait for that, as what replication applies."""
        done = connection.execute(
            "WITH waits AS (SELECT set_config('synchronous_commit', 'on', true)) "
            "UPDATE cellplane_moves.guards SET epoch = epoch FROM waits WHERE tenant_id = %s AND move_id = %s",
            (self.tenant_id, self.move_id),
        )
        assert done.rowcount == 1, "what replication applies is applied behind the guard"

    def is_closed(self, connection: psycopg.Connection[Any]) -> bool | None:
        """Whether writes are refused; None where it is not there."""
        there = connection.execute("SELECT to_regclass('cellplane_moves.guards') IS NOT NULL").fetchone()
        if there != (True,):
            return None
        row = connection.execute(
            "SELECT is_closed FROM cellplane_moves.guards WHERE tenant_id = %s AND move_id = %s",
            (self.tenant_id, self.move_id),
        ).fetchone()
        return None if row is None else bool(row[0])

    def claim(self, connection: psycopg.Connection[Any]) -> None:
        """Note that all rows of the tenant that are ever here are this move's."""
        connection.execute("UPDATE cellplane_moves.guards SET is_claimed = true WHERE move_id = %s", (self.move_id,))

    def is_claimed(self, connection: psycopg.Connection[Any]) -> bool:
        """Whether that is so."""
        row = connection.execute(
            "SELECT is_claimed FROM cellplane_moves.guards WHERE move_id = %s", (self.move_id,)
        ).fetchone()
        return row == (True,)

    def look(self, connection: psycopg.Connection[Any]) -> Shape:
        """See how the tables are, and what of this move is on them."""
        return look(connection, self.settings, self._prefix, stream_names(self.move_id))

    def unwatched(self, shape: Shape) -> tuple[str, ...]:
        """Tables, and partitions, whose rows somebody may write without this move's knowing of it."""
        published = frozenset[str]().union(*(each.streams for each in shape.tables.values()))
        found = []
        for name, watched in shape.tables.items():
            prefix = self._named(watched.root)
            kinds = "iud" if watched.is_partition else "iudt"
            is_whole = {f"{prefix}_{kind}" for kind in kinds} <= watched.triggers
            if not is_whole or not (watched.is_partition or published == watched.streams):
                found.append(name)
        return tuple(sorted(found))

    def note(self, connection: psycopg.Connection[Any], shape: Shape) -> None:
        """Note that the tables were so when all was copied or compared."""
        connection.execute(
            "INSERT INTO cellplane_moves.shapes (move_id, digest) VALUES (%s, %s) "
            "ON CONFLICT (move_id) DO UPDATE SET digest = excluded.digest",
            (self.move_id, shape.digest),
        )

    def forget_shape(self, connection: psycopg.Connection[Any]) -> None:
        """Nothing counts as compared, until it is noted again."""
        connection.execute("DELETE FROM cellplane_moves.shapes WHERE move_id = %s", (self.move_id,))

    def is_noted(self, connection: psycopg.Connection[Any], shape: Shape) -> bool:
        """Whether they are as they were then."""
        row = connection.execute(
            "SELECT 1 FROM cellplane_moves.shapes WHERE move_id = %s AND digest = %s", (self.move_id, shape.digest)
        ).fetchone()
        return row is not None

    def remove(self, connection: psycopg.Connection[Any]) -> None:
        """Take it off the tables, and forget what it noted. Where it is not there nothing happens.

        Raises:
            NotInTimeError: a table was in use for too long.
        """
        # By their names, as a table may be called otherwise by now, and a partition be one no more.
        for relation, triggers in connection.execute(_OF_MOVE, (self._prefix,)).fetchall():
            drops = [
                sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(name), sql.SQL(relation))
                for name in triggers
            ]
            self._briefly(connection, drops, relation)
        for (name,) in connection.execute(_FUNCTIONS, (SCHEMA, self._prefix)).fetchall():
            connection.execute(sql.SQL("DROP FUNCTION IF EXISTS {}()").format(sql.Identifier(SCHEMA, name)))
        if self.is_closed(connection) is not None:
            with connection.transaction():
                connection.execute("DELETE FROM cellplane_moves.touched WHERE move_id = %s", (self.move_id,))
                connection.execute(
                    "DELETE FROM cellplane_moves.marks WHERE stream = ANY(%s)", (list(stream_names(self.move_id)),)
                )
                connection.execute("DELETE FROM cellplane_moves.shapes WHERE move_id = %s", (self.move_id,))
                connection.execute("DELETE FROM cellplane_moves.guards WHERE move_id = %s", (self.move_id,))

    def _briefly(self, connection: psycopg.Connection[Any], statements: Sequence[sql.Composed], relation: str) -> None:
        """Change a table's triggers, in one transaction that never makes others wait for long."""
        for _ in range(self.settings.lock_tries):
            try:
                with connection.transaction():
                    self._wait_for_locks(connection, self.settings.lock_seconds)
                    for statement in statements:
                        connection.execute(statement)
                return
            except psycopg.errors.LockNotAvailable:
                continue
        raise NotInTimeError(
            f"{relation} was locked by others {self.settings.lock_tries} times for {self.settings.lock_seconds} s: "
            "end the transaction that holds it (pg_stat_activity names it), and ask again"
        )

    @staticmethod
    def _wait_for_locks(connection: psycopg.Connection[Any], seconds: float) -> None:
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(int(1000 * seconds)))

    @property
    def _prefix(self) -> str:
        # Triggers fire by name: behind all others, which may still change a key. Names of PostgreSQL have 63 bytes.
        return f"zz_cellplane_{self.move_id}_"

    def _named(self, table_name: str) -> str:
        return f"{self._prefix}{_digest(table_name)}"


def stream_names(move_id: str) -> tuple[str, str]:
    """What a move's two directions are called, there and back: publication, slot and subscription alike."""
    return f"cellplane_{move_id}", f"cellplane_{move_id}_back"


def named(table: Table) -> sql.SQL:
    """A table's name, to be put into a statement."""
    # It came from format('%I.%I') of the catalogs, so it is quoted already.
    return sql.SQL(table.name)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
