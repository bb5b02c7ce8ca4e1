"""Moves one tenant between two SQLite files."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

from cellplane.moves.errors import (
    MoveError,
    NotEmptyError,
    NotInTimeError,
    NotMovableError,
    NotTheSameError,
    StoreError,
)
from cellplane.moves.mover import DataMover, Estimate, Facts, Lag, Verdict, require_move_id
from cellplane.moves.settings import MoverSettings
from cellplane.moves.sqlite.carrying import End, Way
from cellplane.moves.sqlite.catalog import bytes_in, columns_of, read_tables, whose
from cellplane.moves.sqlite.cleaning import delete_tenant, forget_notes
from cellplane.moves.sqlite.comparing import Comparison
from cellplane.moves.sqlite.copying import Copy
from cellplane.moves.sqlite.files import CellFile, Connection, path_of
from cellplane.moves.sqlite.guard import Guard
from cellplane.moves.sqlite.surroundings import carry_sequences, missing_shared, require_shared, wait_for_outbox
from cellplane.moves.sqlite.words import statement
from cellplane.moves.tables import Survey, Table, survey


@dataclass(frozen=True)
class SqliteMover(DataMover):
    """Moves by triggers that note what changes, as ``DataMover`` says.

    No server runs between the files: the mover itself brings what is noted, in its calls, and nothing goes on between
    them. ``follow``, ``compare`` and ``finish`` bring what was written at the source, all that is there when they are
    called, and ``lag`` what it can in a moment. Behind the flip, ``reconnect``, which is called again and again while
    the way back is held, brings some of what was written at the target, compares it, and forgets it there;
    ``compare_back`` and ``finish_back`` bring the rest. While no mover runs notes remain where they are, a few bytes
    for each change, and nothing is lost: the way back takes as much longer.

    Args:
        tenant_id: whose rows.
        move_id: of the move: at most 20 lower case letters and digits.
        source_url: of the file that has the tenant, ``sqlite:///PATH``; it may be written, and so may its folder.
        target_url: of the one that is to have it, as ``source_url``.
        settings: limits and times.
        monotonic: seconds.
        pause: waits so many seconds.
    """

    tenant_id: str
    move_id: str
    source_url: str
    target_url: str
    settings: MoverSettings = field(default_factory=MoverSettings)
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        require_move_id(self.move_id)
        if path_of(self.source_url).resolve() == path_of(self.target_url).resolve():
            raise MoveError(f"source and target are one file, {path_of(self.source_url)}: name the target's own")

    @cached_property
    def _guard(self) -> Guard:
        return Guard(self.tenant_id, self.move_id, self.settings)

    @cached_property
    def _there(self) -> Way:
        return Way("there", self._guard, self.settings, self.monotonic, self.pause)

    @cached_property
    def _back(self) -> Way:
        return Way("back", self._guard, self.settings, self.monotonic, self.pause)

    def estimate(self) -> Estimate:
        """See ``DataMover``."""
        with self._opened() as (source, target):
            found = self._survey(source, target)
            rows = {table.name: self._rows_of(source.connection, table) for table in found.tables}
            # A schema that differs cannot be asked.
            missing = () if found.refusals else missing_shared(source, target, found, self.tenant_id, self.settings)
            size = sum(self._bytes_a_row(source.connection, table) * rows[table.name] for table in found.tables)
        return Estimate(tuple(rows), sum(rows.values()), round(size), (*map(str, found.refusals), *missing))

    def prepare(self) -> None:
        """See ``DataMover``."""
        with self._opened() as (source, target):
            found = self._movable(source, target)
            if missing := missing_shared(source, target, found, self.tenant_id, self.settings):
                raise NotTheSameError("; ".join(missing))
            # The target first: nobody else may write there what the copy would take for its own.
            with self._writing(target):
                self._guard.install(target.connection, found.tables, closed=True)
            self._claim(target, found)
            with self._writing(source):
                self._guard.install(source.connection, found.tables, closed=False)

    def copy(self, told: Callable[[int, int], None] = lambda _rows, _bytes: None) -> tuple[int, int]:
        """See ``DataMover``."""
        with self._opened() as (source, target):
            found = self._movable(source, target)
            if not self._guard.is_claimed(target.connection):
                raise MoveError(f"the target is not prepared for {self.tenant_id}: prepare it first")
            # What an attempt before may have left: its moment is over.
            with self._writing(target):
                self._there.end(target.connection)
            delete_tenant(target, found.tables, self._guard, self.settings, pause=self.pause)
            copy = Copy(self._there, self.settings, told, self.monotonic, self.pause)
            rows, size = copy.run(source, target, found.tables)
            require_shared(target, found, self.tenant_id, self.settings)
        return rows, size

    def follow(self) -> None:
        """See ``DataMover``."""
        with self._opened() as (source, target):
            found = self._movable(source, target)
            self._catch_up(self._there, source, target, found.tables, self.settings.coming_seconds)
            if self._back.position(source.connection) is None:
                with self._writing(source):
                    self._back.begin(source.connection, self._back.head(target.connection))
            self._catch_up(self._back, target, source, found.tables, self.settings.coming_seconds)

    def reconnect(self) -> None:
        """See ``DataMover``. Behind the flip it brings back some of what was written, so that little is ever left."""
        with self._opened() as (source, target):
            closed = self._guard.is_closed(source.connection), self._guard.is_closed(target.connection)
            if closed == (True, False) and self._back.position(source.connection) is not None:
                # What cannot be brought now stays noted. Who wants the way back hears why; who gives it up need not.
                with suppress(NotMovableError, NotInTimeError):
                    self._bring_some_back(source, target)

    def lag(self) -> Lag:
        """See ``DataMover``."""
        with self._opened() as (source, target):
            return self._lag(source, target, self._movable(source, target), self._there)

    def lag_back(self) -> Lag:
        """See ``DataMover``."""
        with self._opened() as (source, target):
            return self._lag(target, source, self._movable(source, target), self._back)

    def compare(self, told: Callable[[int], None] = lambda _: None) -> Verdict:
        """See ``DataMover``."""
        with self._opened() as (source, target):
            found = self._movable(source, target)
            verdict = self._comparison(source, target, self._there, told).all_rows(found.tables).verdict
            require_shared(target, found, self.tenant_id, self.settings)
            return verdict

    def compare_back(self, told: Callable[[int], None] = lambda _: None) -> Verdict:
        """See ``DataMover``."""
        with self._opened() as (source, target):
            found = self._movable(source, target)
            return self._comparison(target, source, self._back, told).all_rows(found.tables).verdict

    def recopy(self, differences: Sequence[str]) -> None:
        """See ``DataMover``."""
        with self._opened() as (source, target):
            found = self._movable(source, target)
            comparison = self._comparison(source, target, self._there)
            wanted = [each for each in comparison.all_rows(found.tables).differences if str(each) in set(differences)]
            comparison.note(wanted, found.tables)
            self._there.catch_up(source, target, found.tables, self.settings.coming_seconds)

    def fence(self, epoch: int) -> None:
        """See ``DataMover``."""
        self._fence(self._source, epoch)

    def finish(self, within_seconds: float) -> Verdict:
        """See ``DataMover``."""
        with self._opened() as (source, target):
            return self._finish(source, target, self._movable(source, target), within_seconds)

    def open_target(self, epoch: int) -> None:
        """See ``DataMover``."""
        with self._opened() as (source, target):
            self._open(target, source, epoch)

    def reopen_source(self, *, alone: bool = False) -> None:
        """See ``DataMover``."""
        if alone:
            with self._source.opened() as connection:
                self._open_where_closed(End(self._source, connection))
            return
        with self._opened() as (source, target):
            self._open(source, target)

    def fence_target(self, epoch: int) -> None:
        """See ``DataMover``."""
        self._fence(self._target, epoch)

    def finish_back(self, within_seconds: float) -> Verdict:
        """See ``DataMover``."""
        with self._opened() as (source, target):
            return self._finish(target, source, self._movable(source, target), within_seconds)

    def part(self) -> None:
        """See ``DataMover``."""
        # Each end for itself, so that one which cannot be opened keeps nothing at the other.
        troubles = []
        for file, way in ((self._target, self._there), (self._source, self._back)):
            try:
                with file.opened() as connection, file.writing(connection):
                    way.end(connection)
            except StoreError as error:
                troubles.append(str(error))
        if troubles:
            raise StoreError(f"not all of the move {self.move_id} is removed, ask again: {'; '.join(troubles)}")

    def leave_source(self) -> None:
        """See ``DataMover``."""
        with self._source.opened() as connection:
            source = End(self._source, connection)
            self._open_where_closed(source)
            with self._writing(source):
                self._back.end(connection)
            forget_notes(source, self.move_id, self.settings)
            with self._writing(source):
                self._guard.remove(connection)

    def _open_where_closed(self, source: End) -> None:
        if self._guard.is_closed(source.connection):
            with self._writing(source):
                self._guard.open(source.connection)

    def clean_source(self, told: Callable[[int], None] = lambda _: None) -> int:
        """See ``DataMover``."""
        with self._opened() as (source, _):
            return self._clean(source, told)

    def clean_target(self, told: Callable[[int], None] = lambda _: None) -> int:
        """See ``DataMover``."""
        with self._opened() as (_, target):
            return self._clean(target, told)

    def forget(self) -> None:
        """See ``DataMover``."""
        with self._opened() as ends:
            for end in ends:
                forget_notes(end, self.move_id, self.settings)
                with self._writing(end):
                    self._guard.remove(end.connection)

    def facts(self) -> Facts:
        """See ``DataMover``."""
        with self._opened() as (source, target):
            follows = self._there.position(target.connection) is not None
            follows_back = self._back.position(source.connection) is not None
            leftovers = [
                *([f"stream there of {self.move_id} at target"] if follows else []),
                *([f"stream back of {self.move_id} at source"] if follows_back else []),
            ]
            return Facts(
                self._guard.is_closed(source.connection),
                self._guard.is_closed(target.connection),
                follows,
                follows_back,
                tuple(leftovers),
            )

    def close(self) -> None:
        """See ``DataMover``. No file is open between two calls."""

    def _lag(self, written: End, read: End, found: Survey, way: Way) -> Lag:
        seconds = way.lag_seconds(written, read, found.tables)
        return Lag(seconds, None, self._comparison(written, read, way).touched())

    def _bring_some_back(self, source: End, target: End) -> None:
        tables = self._movable(source, target).tables
        batches = self.settings.hold_batches
        self._back.catch_up(target, source, tables, self.settings.wait_seconds, batches)
        self._comparison(target, source, self._back).touched_rows(tables, batches)

    def _catch_up(self, way: Way, written: End, read: End, tables: Sequence[Table], within_seconds: float) -> float:
        """Bring what is there now, and a mark behind it, which proves that it can be."""
        way.mark(written)
        return way.catch_up(written, read, tables, within_seconds)

    def _fence(self, file: CellFile, epoch: int) -> None:
        with file.opened() as connection:
            tables = self._tables(connection)
            try:
                with file.writing(connection, self.settings.fence_seconds):
                    was_open = self._guard.is_closed(connection) is False
                    self._guard.close(connection, epoch)
                    if was_open:
                        self._guard.require(connection, tables)
            except NotInTimeError as error:
                raise NotInTimeError(
                    f"a transaction that writes {self.tenant_id}'s file went on for more than "
                    f"{self.settings.fence_seconds} s: {error}"
                ) from error

    def _finish(self, written: End, read: End, found: Survey, within_seconds: float) -> Verdict:
        """The last write is at the other end, what is not compared is the same, and the other numbers on from here."""
        if not self._guard.is_closed(written.connection):
            raise MoveError(f"{self.tenant_id} is still written: fence it first")
        began = self.monotonic()
        way, other = self._there, self._back
        if written.file is self._target:
            way, other = other, way
        self._guard.require(written.connection, found.tables)
        self._catch_up(way, written, read, found.tables, within_seconds)
        wait_for_outbox(written, self.tenant_id, self.settings, within_seconds - (self.monotonic() - began))
        comparison = self._comparison(written, read, way)
        compared = comparison.touched_rows(found.tables)
        compared.differences += comparison.replaced_rows(found.tables, other.name).differences
        counted = () if compared.differences else comparison.counted(found.tables)
        verdict = compared.verdict
        if counted:
            # Rows went without a note; they are named.
            every = comparison.all_rows(found.tables).verdict
            verdict = replace(every, differences=every.differences or counted)
        carry_sequences(written, read, found.tables, self.settings)
        return verdict

    def _open(self, opened: End, other: End, epoch: int = 0) -> None:
        if not self._guard.is_closed(other.connection):
            raise MoveError(f"the {other.file.where} takes writes of {self.tenant_id}: close it before the other opens")
        with self._writing(opened):
            self._guard.open(opened.connection, epoch)

    def _clean(self, end: End, told: Callable[[int], None]) -> int:
        if not self._guard.is_closed(end.connection):
            raise MoveError(f"the {end.file.where} takes writes of {self.tenant_id}: nothing of it is deleted there")
        facts = self.facts()
        if facts.follows or facts.follows_back:
            raise MoveError("the cells still follow each other, and deletions would follow too: part them first")
        if end.file is self._target and not self._guard.is_claimed(end.connection):
            # What of the tenant is there, no move brought.
            return 0
        tables = [table for table in self._tables(end.connection) if self._is_carried(end, table)]
        return delete_tenant(end, tables, self._guard, self.settings, pause=self.pause, told=told)

    def _is_carried(self, end: End, table: Table) -> bool:
        """Whether the move has carried a table. Of no other is a row deleted, as it may be the only one."""
        if self._guard.watches(end.connection, table):
            return True
        if self._has_rows(end.connection, table):
            raise MoveError(
                f"{table.name} appeared in the {end.file.where} while {self.tenant_id} moved, and has rows of it that "
                "were not carried: they are not deleted; bring them to the cell that has the tenant, delete them here, "
                "then resume the move"
            )
        return False

    def _has_rows(self, connection: Connection, table: Table) -> bool:
        words = statement("SELECT 1 FROM", table.name, "WHERE", self._whose, "LIMIT 1")
        return connection.execute(words, (self.tenant_id,)).fetchone() is not None

    def _claim(self, target: End, found: Survey) -> None:
        """Before anything is copied, and once: what of the tenant is at the target is nobody else's."""
        if self._guard.is_claimed(target.connection):
            return
        # Looked for without a lock: the guard is closed.
        for table in found.tables:
            if self._has_rows(target.connection, table):
                with self._writing(target):
                    self._guard.remove(target.connection)
                raise NotEmptyError(
                    f"the target has rows of {self.tenant_id} in {table.name} already, and no move brought them: find "
                    "out whose they are, then delete them or name another cell"
                )
        with self._writing(target):
            self._guard.claim(target.connection)

    def _rows_of(self, connection: Connection, table: Table) -> int:
        words = statement("SELECT count(*) FROM", table.name, "WHERE", self._whose)
        return int(connection.execute(words, (self.tenant_id,)).fetchone()[0])

    def _bytes_a_row(self, connection: Connection, table: Table) -> float:
        """Of a row as it is copied: the mean of those that are found first."""
        words = statement(
            "SELECT avg(", bytes_in(table), ") FROM (SELECT", columns_of(table), "FROM", table.name,
            "WHERE", self._whose, "LIMIT ?)",
        )  # fmt: skip
        return float(connection.execute(words, (self.tenant_id, self.settings.carry_rows)).fetchone()[0] or 0)

    @cached_property
    def _whose(self) -> str:
        return whose(self.settings.tenant_column)

    def _movable(self, source: End, target: End) -> Survey:
        found = self._survey(source, target)
        if found.refusals:
            raise NotMovableError(tuple(map(str, found.refusals)))
        return found

    def _survey(self, source: End, target: End) -> Survey:
        return survey(self._read(source.connection), self._read(target.connection), self.settings.tenant_column)

    def _tables(self, connection: Connection) -> tuple[Table, ...]:
        tables = self._read(connection)
        return survey(tables, tables, self.settings.tenant_column).tables

    def _read(self, connection: Connection) -> tuple[Table, ...]:
        return read_tables(connection, self.settings.tenant_column, self.settings.left_out)

    def _comparison(
        self, written: End, read: End, way: Way, told: Callable[[int], None] = lambda _: None
    ) -> Comparison:
        return Comparison(written, read, way, self.settings, self.monotonic, told)

    @cached_property
    def _source(self) -> CellFile:
        return CellFile(path_of(self.source_url), "source", self.settings, self.monotonic, self.pause)

    @cached_property
    def _target(self) -> CellFile:
        return CellFile(path_of(self.target_url), "target", self.settings, self.monotonic, self.pause)

    @contextmanager
    def _opened(self) -> Iterator[tuple[End, End]]:
        with self._source.opened() as source, self._target.opened() as target:
            yield End(self._source, source), End(self._target, target)

    @contextmanager
    def _writing(self, end: End) -> Iterator[None]:
        with end.file.writing(end.connection):
            yield
