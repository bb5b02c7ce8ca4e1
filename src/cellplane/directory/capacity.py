"""What is kept of how full cells are: their locks, the course of their utilisation, and which cells were asked for."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from sqlalchemy import Column, Connection, delete, func, insert, select

from cellplane.capacity.growth import Asked
from cellplane.capacity.locks import Hold, Lock
from cellplane.capacity.trend import Sample
from cellplane.directory import schema
from cellplane.directory.database import Database
from cellplane.directory.leadership import Leadership

DAY_SECONDS = 86_400.0


class SampleKind(Enum):
    """Of what there are samples."""

    CELL = "cell"
    POOL = "pool"


@dataclass(frozen=True, slots=True)
class CellAsk:
    """The last cell that a pool asked for.

    Attributes:
        pool: name of the pool.
        id: of the ask, by which a provisioner knows it again.
        at: when, seconds of the database's clock.
        reason: why, for people.
        cell: id of the cell that is there by it; None as long as there is none.
        failure: why there is none, for people; empty where nothing failed.
        done_at: when the cell was in its pool, or the ask was given up; None as long as it is under way.
    """

    pool: str
    id: str
    at: float
    reason: str
    cell: str | None = None
    failure: str = ""
    done_at: float | None = None


@dataclass(frozen=True, slots=True)
class KnownCapacity:
    """What is kept, at one moment.

    Attributes:
        now: that moment, seconds of the database's clock.
        locks: by cell.
        asks: by pool.
        last_sample_at: where the span of the last samples begins, seconds; 0 for none.
    """

    now: float
    locks: Mapping[str, Lock] = field(default_factory=dict)
    asks: Mapping[str, CellAsk] = field(default_factory=dict)
    last_sample_at: int = 0

    def asks_seen(self) -> dict[str, Asked]:
        """What pools asked for last, by name, as ``capacity.growth`` takes it."""
        return {
            pool: Asked(ask.at, ask.done_at is not None, ask.cell if ask.failure else None)
            for pool, ask in self.asks.items()
        }


class CapacityBook:
    """Reads and writes it. What is written is the leader's, but for people's orders.

    Args:
        database: of the directory.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> KnownCapacity:
        """All that is kept, but the samples themselves."""
        with self._database.reading() as connection:
            now = self._database.now(connection).timestamp()
            last = connection.execute(select(func.max(_SAMPLES.c.at))).scalar_one_or_none()
            return KnownCapacity(now, read_locks(connection), _read_asks(connection), last or 0)

    def samples(self, kind: SampleKind, names: Collection[str]) -> dict[str, list[Sample]]:
        """How full these were, in the order of time; of pools, how much of their room was used up."""
        found: dict[str, list[Sample]] = {name: [] for name in names}
        query = (
            select(_SAMPLES.c.name, _SAMPLES.c.at, _SAMPLES.c.share)
            .where(_SAMPLES.c.kind == kind.value, _SAMPLES.c.name.in_(sorted(names)))
            .order_by(_SAMPLES.c.at)
        )
        with self._database.reading() as connection:
            for name, at, share in connection.execute(query):
                found[name].append(Sample(at / DAY_SECONDS, share))
        return found

    def keep_locks(self, locks: Mapping[str, Lock], seen: Mapping[str, Lock], leadership: Leadership) -> None:
        """Keep these locks, where nobody changed them since they were seen; of cells that are gone none.

        Args:
            locks: of all cells that are there.
            seen: as they were when these were made of them.

        Raises:
            FencedError: another process leads.
        """
        with self._database.writing() as connection:
            leadership.require(connection)
            now = read_locks(connection)
            changed = {
                cell: lock for cell, lock in locks.items() if lock != now.get(cell) and now.get(cell) == seen.get(cell)
            }
            write_locks(connection, changed)
            _replace(connection, _LOCKS.c.cell, now.keys() - locks.keys())

    def add_samples(
        self,
        cells: Mapping[str, float],
        pools: Mapping[str, float],
        leadership: Leadership,
        *,
        span_seconds: float,
        keep_days: float,
    ) -> None:
        """Keep how full these are now, and forget what is old. What has a sample of this span already keeps that one.

        Raises:
            FencedError: another process leads.
        """
        with self._database.writing() as connection:
            leadership.require(connection)
            now = self._database.now(connection).timestamp()
            at = span_of(now, span_seconds)
            connection.execute(delete(_SAMPLES).where(_SAMPLES.c.at < now - keep_days * DAY_SECONDS))
            query = select(_SAMPLES.c.kind, _SAMPLES.c.name).where(_SAMPLES.c.at == at)
            there = {(kind, name) for kind, name in connection.execute(query)}
            values = [
                {"kind": kind.value, "name": name, "at": at, "share": share}
                for kind, shares in ((SampleKind.CELL, cells), (SampleKind.POOL, pools))
                for name, share in shares.items()
                if (kind.value, name) not in there
            ]
            if values:
                connection.execute(insert(_SAMPLES), values)

    def keep_ask(self, ask: CellAsk, leadership: Leadership) -> None:
        """Keep a pool's ask, in the place of its last one.

        Raises:
            FencedError: another process leads.
        """
        with self._database.writing() as connection:
            leadership.require(connection)
            write_ask(connection, ask)


def span_of(now: float, span_seconds: float) -> int:
    """Where the span of time begins that a moment is in, seconds."""
    return int(now // span_seconds * span_seconds)


def read_locks(connection: Connection) -> dict[str, Lock]:
    """The locks, by cell."""
    return {
        row.cell: Lock(is_locked=row.is_locked, hold=Hold(row.hold), low_since_seconds=row.low_since)
        for row in connection.execute(select(_LOCKS))
    }


def write_locks(connection: Connection, locks: Mapping[str, Lock]) -> None:
    """Put these locks in the place of those that their cells had."""
    _replace(connection, _LOCKS.c.cell, locks.keys())
    if locks:
        values = [
            {"cell": cell, "is_locked": lock.is_locked, "hold": lock.hold.value, "low_since": lock.low_since_seconds}
            for cell, lock in sorted(locks.items())
        ]
        connection.execute(insert(_LOCKS), values)


def write_ask(connection: Connection, ask: CellAsk) -> None:
    """Put an ask in the place of its pool's last one."""
    _replace(connection, _ASKS.c.pool, [ask.pool])
    values = asdict(ask)
    connection.execute(insert(_ASKS).values(ask=values.pop("id"), **values))


def _replace(connection: Connection, column: Column[Any], names: Collection[str]) -> None:
    connection.execute(delete(column.table).where(column.in_(sorted(names))))


def _read_asks(connection: Connection) -> dict[str, CellAsk]:
    return {
        row.pool: CellAsk(row.pool, row.ask, row.at, row.reason, row.cell, row.failure, row.done_at)
        for row in connection.execute(select(_ASKS))
    }


_LOCKS, _SAMPLES, _ASKS = schema.cell_locks, schema.capacity_samples, schema.cell_asks
