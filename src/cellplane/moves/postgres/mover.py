"""Moves one tenant between two PostgreSQL databases."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from cellplane.moves.errors import (
    MoveError,
    NotEmptyError,
    NotInTimeError,
    NotMovableError,
    NotTheSameError,
    StoreError,
)
from cellplane.moves.mover import DataMover, Estimate, Facts, Lag, Verdict, require_move_id
from cellplane.moves.postgres.catalog import read_tables
from cellplane.moves.postgres.cleaning import delete_tenant
from cellplane.moves.postgres.comparing import SAME_WORDS, Comparison
from cellplane.moves.postgres.copying import Copied, Copy
from cellplane.moves.postgres.guard import Guard, named, stream_names
from cellplane.moves.postgres.ranges import BY_INDEX
from cellplane.moves.postgres.shapes import Shape
from cellplane.moves.postgres.shared import Shared
from cellplane.moves.postgres.stream import Stream
from cellplane.moves.settings import MoverSettings
from cellplane.moves.tables import Survey, Table, survey

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class PostgresMover(DataMover):
    """Moves by logical replication, as ``DataMover`` says. It keeps its connections, and what it read of the tables,
    until something fails or it is closed: while writes wait there is time for neither.

    Args:
        tenant_id: whose rows.
        move_id: of the move: at most 20 lower case letters and digits.
        source_url: of the database that has the tenant: of a role that may create triggers and publications, use
            replication and set ``session_replication_role``.
        target_url: of the one that is to have it, as ``source_url``; its role may create subscriptions.
        settings: limits and times.
        monotonic: seconds.
        pause: waits so many seconds.
        source_seen_from_target: libpq's words for the source, as the target's server reaches it; None: ``source_url``.
        target_seen_from_source: the other way round.
    """

    tenant_id: str
    move_id: str
    source_url: str = field(repr=False)
    target_url: str = field(repr=False)
    settings: MoverSettings = field(default_factory=MoverSettings)
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    source_seen_from_target: str | None = field(default=None, repr=False)
    target_seen_from_source: str | None = field(default=None, repr=False)

    _kept: dict[str, Connection] = field(default_factory=dict, init=False, repr=False)
    """URL → connection."""

    _surveys: list["_Seen"] = field(default_factory=list, init=False, repr=False)
    """What was read of the tables last: one, or none yet."""

    def __post_init__(self) -> None:
        require_move_id(self.move_id)

    @property
    def _source_conninfo(self) -> str:
        return self.source_seen_from_target or make_conninfo(self.source_url)

    @property
    def _target_conninfo(self) -> str:
        return self.target_seen_from_source or make_conninfo(self.target_url)

    @cached_property
    def _guard(self) -> Guard:
        return Guard(self.tenant_id, self.move_id, self.settings)

    @cached_property
    def _shared(self) -> Shared:
        return Shared(self.tenant_id, self.move_id, self.settings)

    @cached_property
    def _there(self) -> Stream:
        return self._stream(stream_names(self.move_id)[0])

    @cached_property
    def _back(self) -> Stream:
        return self._stream(stream_names(self.move_id)[1])

    def _stream(self, name: str) -> Stream:
        return Stream(name, self.tenant_id, self.settings, self.monotonic, self.pause)

    def close(self) -> None:
        """See ``DataMover``."""
        self._surveys.clear()
        while self._kept:
            self._kept.popitem()[1].close()

    def estimate(self) -> Estimate:
        """See ``DataMover``."""
        with self._connected() as (source, target):
            found = self._survey(source, target)
            share = self._share_of_rows(source, found)
            # A schema that differs cannot be asked.
            missing = () if found.refusals else self._shared.missing(source, target, found)
        rows = sum(table.rows_estimate for table in found.tables)
        return Estimate(
            tuple(table.name for table in found.tables),
            round(share * rows),
            round(share * sum(table.bytes_estimate for table in found.tables)),
            (*map(str, found.refusals), *missing),
        )

    def prepare(self) -> None:
        """See ``DataMover``."""
        with self._connected() as (source, target):
            found = self._movable(source, target)
            _require_none(self._shared.missing(source, target, found))
            # The target first: nobody else may write there what the copy would take for its own.
            self._guard.install(target, found.tables, closed=True)
            self._claim(target, found)
            self._guard.install(source, found.tables, closed=False)

    def copy(self, told: Callable[[int, int], None] = lambda _rows, _bytes: None) -> tuple[int, int]:
        """See ``DataMover``."""

        def heard(copied: Copied) -> None:
            told(copied.rows, copied.bytes)

        with self._connected() as (source, target):
            found = self._moving(source, target)
            self._note(self._ends(source, target))
            # What an attempt before may have left: its moment is over, and so is its slot's.
            self._there.unsubscribe(target)
            self._there.unpublish(source)
            if not self._guard.is_claimed(target):
                raise MoveError(f"the target is not prepared for {self.tenant_id}: prepare it first")
            delete_tenant(target, found.tables, self.tenant_id, self.settings, pause=self.pause)
            self._there.publish(source, found.tables)
            with ExitStack() as stack:
                slots = stack.enter_context(self._opened(self.source_url, replication="database"))
                snapshot = self._there.begin_with_snapshot(slots, lambda: heard(Copied()))
                reader = stack.enter_context(self._opened(self.source_url))
                done = Copy(self.tenant_id, self.settings, heard, self.monotonic, self.pause).run(
                    reader, target, found.tables, snapshot
                )
            self._shared.require_carried(target, found)
            self._there.subscribe(target, self._source_conninfo)
        return done.rows, done.bytes

    def follow(self) -> None:
        """See ``DataMover``."""
        with self._connected() as (source, target):
            found = self._moving(source, target)
            self._reconnect(source, target)
            self._there.keep_up(source, target)
            self._back.publish(target, found.tables)
            self._back.begin_here(target)
            self._back.subscribe(source, self._target_conninfo)
            self._back.keep_up(target, source)

    def reconnect(self) -> None:
        """See ``DataMover``."""
        with self._connected() as (source, target):
            self._reconnect(source, target)

    def _reconnect(self, source: Connection, target: Connection) -> None:
        self._there.tell_no_truncate(source)
        self._back.tell_no_truncate(target)
        self._there.reconnect(target, self._source_conninfo)
        self._back.reconnect(source, self._target_conninfo)

    def lag(self) -> Lag:
        """See ``DataMover``."""
        with self._connected() as (source, target):
            self._reconnect(source, target)
            # Read now rather than while writes wait.
            found = self._moving(source, target)
            _require_none(self._shared.missing_since(source, target, found))
            return self._lag(source, target, self._there)

    def compare(self, told: Callable[[int], None] = lambda _: None) -> Verdict:
        """See ``DataMover``."""
        with self._connected() as (source, target):
            found = self._moving(source, target)
            comparison = self._comparison(source, target, told)
            return self._compared(
                source, target, comparison, found.tables, also=lambda: self._shared.require_carried(target, found)
            )

    def compare_back(self, told: Callable[[int], None] = lambda _: None) -> Verdict:
        """See ``DataMover``."""
        with self._connected() as (source, target):
            comparison = self._comparison(target, source, told, self._back)
            return self._compared(source, target, comparison, self._carried(source, target))

    def recopy(self, differences: Sequence[str]) -> None:
        """See ``DataMover``."""
        with self._connected() as (source, target):
            tables = {table.name: table for table in self._moving(source, target).tables}
            comparison = self._comparison(source, target)
            found = comparison.all_rows(tuple(tables.values()))
            wanted = [each for each in found.differences if str(each) in set(differences)]
            for name, table in tables.items():
                keys = [each.key for each in wanted if each.table == name]
                if keys:
                    comparison.recopy(table, keys)

    def fence(self, epoch: int) -> None:
        """See ``DataMover``."""
        with self._open(self.source_url) as source:
            self._guard.close(source, epoch)

    def finish(self, within_seconds: float) -> Verdict:
        """See ``DataMover``."""
        with self._connected() as (source, target):
            return self._finish(source, target, self._there, within_seconds)

    def open_target(self, epoch: int) -> None:
        """See ``DataMover``."""
        with self._connected() as (source, target):
            self._only_one(source, "source")
            self._guard.open(target, epoch)

    def reopen_source(self, *, alone: bool = False) -> None:
        """See ``DataMover``."""
        if alone:
            with self._open(self.source_url) as source:
                self._open_where_closed(source)
            return
        with self._connected() as (source, target):
            self._only_one(target, "target")
            self._guard.open(source)

    def lag_back(self) -> Lag:
        """See ``DataMover``."""
        with self._connected() as (source, target):
            self._reconnect(source, target)
            found = self._moving(source, target)
            _require_none(self._shared.missing_since(target, source, found))
            return self._lag(target, source, self._back)

    def fence_target(self, epoch: int) -> None:
        """See ``DataMover``."""
        with self._open(self.target_url) as target:
            self._guard.close(target, epoch)

    def finish_back(self, within_seconds: float) -> Verdict:
        """See ``DataMover``."""
        with self._connected() as (source, target):
            return self._finish(target, source, self._back, within_seconds)

    def part(self) -> None:
        """See ``DataMover``."""
        # Each end for itself, so that one which cannot be reached keeps nothing at the other.
        troubles = []
        for url, read, written in (
            (self.target_url, self._there, self._back),
            (self.source_url, self._back, self._there),
        ):
            try:
                with self._open(url) as connection:
                    read.unsubscribe(connection)
                    written.unpublish(connection)
            except StoreError as error:
                troubles.append(str(error))
        if troubles:
            raise StoreError(f"not all of the move {self.move_id} is removed, ask again: {'; '.join(troubles)}")

    def leave_source(self) -> None:
        """See ``DataMover``."""
        with self._open(self.source_url) as source:
            # Before all else: the guard's triggers go only when nobody holds their tables.
            self._open_where_closed(source)
            self._back.unsubscribe(source)
            self._there.unpublish(source)
            self._guard.remove(source)

    def _open_where_closed(self, source: Connection) -> None:
        if self._guard.is_closed(source):
            self._guard.open(source)

    def clean_source(self, told: Callable[[int], None] = lambda _: None) -> int:
        """See ``DataMover``."""
        return self._clean(self.source_url, "source", told)

    def clean_target(self, told: Callable[[int], None] = lambda _: None) -> int:
        """See ``DataMover``."""
        return self._clean(self.target_url, "target", told)

    def forget(self) -> None:
        """See ``DataMover``."""
        with self._connected() as connections:
            for connection in connections:
                self._guard.remove(connection)

    def facts(self) -> Facts:
        """See ``DataMover``."""
        with self._connected() as (source, target):
            leftovers = [
                f"{kind} {name} at {where}"
                for where, connection in (("source", source), ("target", target))
                for kind, query in _LEFTOVERS
                for (name,) in connection.execute(query.encode(), (list(stream_names(self.move_id)),))
            ]
            return Facts(
                self._guard.is_closed(source),
                self._guard.is_closed(target),
                f"subscription {self._there.name} at target" in leftovers,
                f"subscription {self._back.name} at source" in leftovers,
                tuple(leftovers),
            )

    def _lag(self, written: Connection, read: Connection, stream: Stream) -> Lag:
        seconds = stream.lag_seconds(written, read)
        untested = self._comparison(written, read, stream=stream).touched()
        if not self._is_noted(self._ends(*self._source_first(written, read, stream))):
            # What changed without a note may be anything.
            untested += self.settings.noted_max
        return Lag(seconds, stream.lag_bytes(written), untested)

    def _finish(self, written: Connection, read: Connection, stream: Stream, within_seconds: float) -> Verdict:
        """The last write is at the other end, what is not compared is the same, and the other numbers on from here."""
        if not self._guard.is_closed(written):
            raise MoveError(f"{self.tenant_id} is still written: fence it first")
        began = self.monotonic()
        stream.catch_up(written, read, within_seconds)
        # Replication applies without waiting for the disk: who is asked from now on may die, and must still know it.
        self._guard.sync(read)
        self._wait_for_outbox(written, within_seconds - (self.monotonic() - began))
        ends = self._source_first(written, read, stream)
        found = self._moving(*ends)
        if not self._is_noted(self._ends(*ends)):
            raise NotInTimeError(
                f"tables of {self.tenant_id} were changed since their rows were compared, by a migration or a new "
                "partition: they are compared anew before writes are held again"
            )
        comparison = self._comparison(written, read, stream=stream)
        verdict = comparison.touched_rows(found.tables).verdict
        _require_none(self._shared.missing_since(written, read, found))
        for table in found.tables:
            for sequence in table.sequences:
                self._carry(written, read, sequence)
        return verdict

    def _source_first(self, written: Connection, read: Connection, stream: Stream) -> tuple[Connection, Connection]:
        return (written, read) if stream is self._there else (read, written)

    def _wait_for_outbox(self, written: Connection, within_seconds: float) -> None:
        """What is to be told outside is told by this cell before the other tells more: in the order of the tenant."""
        there = written.execute("SELECT to_regclass(%s) IS NOT NULL", (self.settings.outbox,)).fetchone()
        if there != (True,):
            return
        began = self.monotonic()
        waits = sql.SQL("SELECT 1 FROM {} WHERE tenant_id = %s LIMIT 1").format(sql.SQL(self.settings.outbox))
        while written.execute(waits, (self.tenant_id,)).fetchone():
            if self.monotonic() - began > within_seconds:
                raise NotInTimeError(
                    f"the outbox still has events of {self.tenant_id}: does its relay run, and the stream take them?"
                )
            self.pause(self.settings.poll_seconds)

    def _carry(self, written: Connection, read: Connection, sequence: str) -> None:
        row = written.execute(
            sql.SQL(
                "SELECT last_value, is_called, seqincrement FROM {}, pg_sequence WHERE seqrelid = %s::regclass"
            ).format(sql.SQL(sequence)),
            (sequence,),
        ).fetchone()
        assert row is not None
        last, is_called, step = row
        if is_called:
            beyond = last + step * self.settings.sequence_margin
            read.execute(
                sql.SQL("SELECT setval(%s::regclass, {}(last_value, %s)) FROM {}").format(
                    sql.SQL("greatest" if step > 0 else "least"),
                    sql.SQL(sequence),
                ),
                (sequence, beyond),
            )

    def _only_one(self, other: Connection, name: str) -> None:
        if not self._guard.is_closed(other):
            raise MoveError(f"the {name} takes writes of {self.tenant_id}: close it before the other opens")

    def _clean(self, url: str, name: str, told: Callable[[int], None]) -> int:
        with self._open(url) as connection:
            if not self._guard.is_closed(connection):
                raise MoveError(f"the {name} takes writes of {self.tenant_id}: nothing of it is deleted there")
            facts = self.facts()
            if facts.follows or facts.follows_back:
                raise MoveError("the cells still follow each other, and deletions would follow too: part them first")
            if url == self.target_url and not self._guard.is_claimed(connection):
                # What of the tenant is there, no move brought.
                return 0
            tables = self._brought(connection, name)
            return delete_tenant(connection, tables, self.tenant_id, self.settings, pause=self.pause, told=told)

    def _brought(self, connection: Connection, name: str) -> list[Table]:
        """The tables that the move has carried: of no other is a row deleted, as it may be the only one."""
        watched = self._guard.look(connection).tables
        carried = []
        for table in self._tables(connection):
            if watched[table.name].triggers:
                carried.append(table)
            elif self._has_rows(connection, table):
                raise MoveError(
                    f"{table.name} appeared in the {name} while {self.tenant_id} moved, and has rows of it that were "
                    "not carried: they are not deleted; bring them to the cell that has the tenant, delete them here, "
                    "then resume the move"
                )
        return carried

    def _has_rows(self, connection: Connection, table: Table) -> bool:
        whose = sql.SQL("{} = {}").format(sql.Identifier(self.settings.tenant_column), sql.Literal(self.tenant_id))
        row = connection.execute(sql.SQL("SELECT 1 FROM {} WHERE {} LIMIT 1").format(named(table), whose)).fetchone()
        return row is not None

    def _claim(self, target: Connection, found: Survey) -> None:
        """Before anything is copied, and once: what of the tenant is at the target is nobody else's."""
        if self._guard.is_claimed(target):
            return
        for table in found.tables:
            if self._has_rows(target, table):
                self._guard.remove(target)
                raise NotEmptyError(
                    f"the target has rows of {self.tenant_id} in {table.name} already, and no move brought them: find "
                    "out whose they are, then delete them or name another cell"
                )
        self._guard.claim(target)

    def _share_of_rows(self, source: Connection, found: Survey) -> float:
        """The tenant's share of the largest table, as the planner of the database thinks."""
        largest = max(found.tables, key=lambda table: table.rows_estimate, default=None)
        if largest is None or largest.rows_estimate == 0:
            return 0.0
        row = source.execute(
            sql.SQL("EXPLAIN (FORMAT JSON) SELECT 1 FROM {} WHERE {} = {}").format(
                named(largest), sql.Identifier(self.settings.tenant_column), sql.Literal(self.tenant_id)
            )
        ).fetchone()
        assert row is not None
        return min(1.0, float(row[0][0]["Plan"]["Plan Rows"]) / largest.rows_estimate)

    def _movable(self, source: Connection, target: Connection) -> Survey:
        found = self._survey(source, target)
        if found.refusals:
            raise NotMovableError(tuple(map(str, found.refusals)))
        return found

    def _moving(self, source: Connection, target: Connection) -> Survey:
        """What is moved, behind ``prepare``.

        Raises:
            MoveError: tables are there whose rows somebody may write without the move's knowing of it.
        """
        found = self._movable(source, target)
        for end in self._ends(source, target):
            if not any(watched.triggers for watched in end.shape.tables.values()):
                raise MoveError(f"the {end.name} is not prepared for {self.tenant_id}: prepare it first")
            if unwatched := self._guard.unwatched(end.shape):
                raise MoveError(
                    f"{', '.join(unwatched)} in the {end.name} appeared, or lost what watches it, since the move was "
                    "prepared: rows that were written there are not carried; before the flip abort the move and begin "
                    "another, behind it release it, and move the tenant back by another"
                )
        return found

    def _carried(self, source: Connection, target: Connection) -> list[Table]:
        """The tables of the move, also where others have appeared at both ends since."""
        tables = self._movable(source, target).tables
        ends = self._ends(source, target)
        return [table for table in tables if any(end.shape.tables[table.name].triggers for end in ends)]

    def _compared(
        self,
        source: Connection,
        target: Connection,
        comparison: Comparison,
        tables: Sequence[Table],
        also: Callable[[], None] | None = None,
    ) -> Verdict:
        # As they were before it: what changes meanwhile counts as not compared.
        before = self._ends(source, target)
        was_noted = self._is_noted(before)
        if also is not None:
            # Until all is looked at: whoever dies has compared nothing.
            for end in before:
                self._guard.forget_shape(end.connection)
        verdict = comparison.all_rows(tables).verdict
        if also is not None:
            # Behind it: rows whose notes are gone are at the other end by now.
            also()
        if verdict.is_same or was_noted:
            self._note(before)
        return verdict

    def _note(self, ends: "tuple[_End, _End]") -> None:
        for end in ends:
            self._guard.note(end.connection, end.shape)

    def _is_noted(self, ends: "tuple[_End, _End]") -> bool:
        return all(self._guard.is_noted(end.connection, end.shape) for end in ends)

    def _ends(self, source: Connection, target: Connection) -> "tuple[_End, _End]":
        """How the tables were when they were surveyed last."""
        shapes = self._surveys[0].shapes
        return _End("source", source, shapes[0]), _End("target", target, shapes[1])

    def _survey(self, source: Connection, target: Connection) -> Survey:
        # First: what changes while it is read is read again.
        shapes = self._guard.look(source), self._guard.look(target)
        digests = tuple(shape.digest for shape in shapes)
        if self._surveys and digests == tuple(shape.digest for shape in self._surveys[0].shapes):
            found = self._surveys[0].found
        else:
            left_out = self.settings.left_out
            tables = read_tables(source, left_out), read_tables(target, left_out)
            found = survey(*tables, self.settings.tenant_column)
        self._surveys[:] = [_Seen(shapes, found)]
        return found

    def _tables(self, connection: Connection) -> tuple[Any, ...]:
        tables = read_tables(connection, self.settings.left_out)
        return survey(tables, tables, self.settings.tenant_column).tables

    def _comparison(
        self,
        source: Connection,
        target: Connection,
        told: Callable[[int], None] = lambda _: None,
        stream: Stream | None = None,
    ) -> Comparison:
        return Comparison(
            self.tenant_id,
            self.move_id,
            source,
            target,
            stream or self._there,
            self.settings,
            self.monotonic,
            self.pause,
            told,
        )

    @contextmanager
    def _connected(self) -> Iterator[tuple[Connection, Connection]]:
        with self._open(self.source_url) as source, self._open(self.target_url) as target:
            yield source, target

    @contextmanager
    def _open(self, url: str) -> Iterator[Connection]:
        """The connection that is kept; none is kept where something failed, or its server was started anew."""
        try:
            if url not in self._kept or not _lives(self._kept[url]):
                self._kept[url] = self._connect(url)
                self._kept[url].execute(b"; ".join(words.encode() for words in BY_INDEX))
            yield self._kept[url]
        except BaseException as error:
            self.close()
            if isinstance(error, psycopg.Error):
                raise self._said(url, error) from error
            raise

    @contextmanager
    def _opened(self, url: str, **options: Any) -> Iterator[Connection]:
        """A connection of its own."""
        try:
            with self._connect(url, **options) as connection:
                yield connection
        except psycopg.Error as error:
            raise self._said(url, error) from error

    def _connect(self, url: str, **options: Any) -> Connection:
        connection = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=self.settings.connect_seconds,
            application_name=f"cellplane move {self.move_id}",
            prepare_threshold=None,
            **options,
        )
        if not options:
            connection.execute(b"; ".join(words.encode() for words in SAME_WORDS))
        return connection

    def _said(self, url: str, error: psycopg.Error) -> StoreError:
        where = "source" if url == self.source_url else "target"
        return StoreError(f"the {where}'s database: {str(error).strip() or type(error).__name__}")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read of the tables."""

    shapes: tuple[Shape, Shape]
    """At source and target."""

    found: Survey


@dataclass(frozen=True, slots=True)
class _End:
    """One of both databases."""

    name: str
    connection: Connection
    shape: Shape


_LEFTOVERS = (
    ("publication", "SELECT pubname FROM pg_publication WHERE pubname = ANY(%s)"),
    ("subscription", "SELECT subname FROM pg_subscription WHERE subname = ANY(%s)"),
    ("slot", "SELECT slot_name FROM pg_replication_slots WHERE slot_name = ANY(%s)"),
)


def _require_none(missing: tuple[str, ...]) -> None:
    if missing:
        raise NotTheSameError("; ".join(missing))


def _lives(connection: Connection) -> bool:
    try:
        connection.execute(b"SELECT 1")
    except psycopg.OperationalError:
        connection.close()
        return False
    return True
