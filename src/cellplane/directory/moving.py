"""Moving: what movers report of the moves of tenants, and what people want of these, in one transaction.

A mover lives outside of the control plane and tells each phase that it reaches. What is kept here decides nothing of a
tenant: whose it is stands in its assignment. It is there so that people and other systems see all moves in one place,
and so that a tenant has one at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from cellplane.directory import schema
from cellplane.errors import ConflictError, NotFoundError
from cellplane.moves.move import FOLLOWERS, WISHES, Phase, Wish, may_become

MAX_LIVING = 10_000
"""Most moves that have not ended: an evacuation of a large cell, planned at once."""

MAX_ENDED = 10_000
"""Most moves that have ended and are remembered; beyond that the oldest are forgotten. The log keeps them all."""

KIND = "move"
"""What the log calls them."""

WISHED = "wish"
"""What it calls that somebody wants another thing; else an entry is called by the phase that was reached."""

ENDING = frozenset({Phase.ABORTING, Phase.RETURNED, Phase.RELEASED})
"""Phases of a move that only cleans up: another one of the tenant finds what it left, and refuses by itself."""

_TABLE = schema.moves
_OF_THE_ROW = frozenset({"number", "version", "wish_epoch"})

Logger = Callable[[str, str, str, dict[str, Any] | None, dict[str, Any] | None], int]


@dataclass(frozen=True, slots=True)
class SaidMove:
    """What a mover says of a move when it reaches a phase.

    Attributes:
        id: at most 20 lower case letters and digits.
        tenant: who moves.
        source: the cell that has it.
        target: the cell that is to have it.
        phase: what is reached.
        reason: of its end.
        hold_seconds: how long the source keeps up with the target behind the flip.
        flipped_epoch: by which the tenant is the target's; None before the flip.
        pause_seconds: for how long writes waited; None where that is not known.
    """

    id: str
    tenant: str
    source: str
    target: str
    phase: Phase
    reason: str = ""
    hold_seconds: float = 0.0
    flipped_epoch: int | None = None
    pause_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class MoveRecord:
    """A move as the directory holds it.

    Attributes:
        said: what its mover said last.
        number: the epoch of the entry by which it began to be known; moves are listed by it.
        began: when that was, UTC, ISO 8601.
        reached: when its phase was.
        ended: when nothing followed any more; None as long as it lives.
        wish: what people want of it.
        wish_epoch: the epoch of the entry by which they last wanted something; 0 for none.
        version: the epoch of its last change.
    """

    said: SaidMove
    number: int
    began: str
    reached: str
    ended: str | None = None
    wish: Wish = Wish.RUN
    wish_epoch: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveFilter:
    """Which moves; None takes any.

    Attributes:
        tenant: those of this tenant.
        cell: those from this cell, or to it.
        phase: those that have reached this, and no more.
        living: those that have not ended, or, with False, the others.
    """

    tenant: str | None = None
    cell: str | None = None
    phase: Phase | None = None
    living: bool | None = None


ANY_MOVE = MoveFilter()


class Moving:
    """Moves in one transaction.

    Args:
        connection: inside a transaction that may write.
        log: notes a change (kind, id, action, before, after), and returns its epoch.
        now: the time, UTC.
    """

    def __init__(self, connection: Connection, log: Logger, now: datetime) -> None:
        self._connection = connection
        self._log = log
        self._now = now.isoformat(timespec="milliseconds")

    def reach(self, said: SaidMove) -> MoveRecord:
        """Note what a move has reached. The same again changes nothing.

        Raises:
            ConflictError: this cannot follow what was reached, the tenant has another move, or there are too many.
        """
        before = read_move(self._connection, said.id)
        if before is None:
            self._require_alone(said)
        elif not self._is_news(before, said):
            return before
        ended = self._now if said.phase.is_end else None
        if before is None:
            after = MoveRecord(said, 0, self._now, self._now, ended)
        else:
            after = replace(before, said=said, reached=self._now, ended=ended)
        after = self._write(before, after, said.phase.value)
        if ended is not None:
            self._forget()
        return after

    def want(self, move_id: str, wish: Wish) -> MoveRecord:
        """Note what people want of a move.

        Raises:
            NotFoundError: there is no such move.
            ConflictError: it is too late, or too early, for that.
        """
        before = read_move(self._connection, move_id)
        if before is None:
            raise NotFoundError(f"no move is named {move_id!r}")
        said = before.said
        if said.phase not in WISHES[wish]:
            raise ConflictError(f"move {move_id!r} is {said.phase.value}: {_advice(said, wish)}")
        # Also the same again: at its own machine somebody may want another thing since. A mover knows by the number of
        # the entry that it is a new wish.
        return self._write(before, replace(before, wish=wish), WISHED)

    def _is_news(self, before: MoveRecord, said: SaidMove) -> bool:
        """Whether a known move has a new phase.

        Raises:
            ConflictError: it cannot have it.
        """
        known = before.said
        if (known.tenant, known.source, known.target) != (said.tenant, said.source, said.target):
            raise ConflictError(
                f"move {said.id!r} is {known.tenant!r}'s from {known.source!r} to {known.target!r}: another move needs "
                "another id"
            )
        if said.phase is known.phase:
            return False
        if known.phase.is_end and known.phase in FOLLOWERS[said.phase]:
            # Its mover died before it noted the end for itself, and makes the last step again.
            return False
        if not may_become(known.phase, said.phase):
            raise ConflictError(f"move {said.id!r} is {known.phase.value}, and cannot become {said.phase.value}")
        return True

    def _require_alone(self, said: SaidMove) -> None:
        if said.phase.is_end or said.phase in ENDING:
            return
        living = select(_TABLE).where(_TABLE.c.ended.is_(None), _TABLE.c.phase.not_in([each.value for each in ENDING]))
        row = self._connection.execute(living.where(_TABLE.c.tenant == said.tenant).limit(1)).mappings().first()
        if row is not None:
            raise ConflictError(
                f"tenant {said.tenant!r} is moving already, from {row['source']!r} to {row['target']!r} ({row['id']}, "
                f"{row['phase']}): wait for that move, or abort it with `cellplane move abort {row['id']}`"
            )
        count = self._connection.execute(select(func.count()).where(_TABLE.c.ended.is_(None))).scalar_one()
        if count >= MAX_LIVING:
            raise ConflictError(f"{count} moves are under way already, which is the limit: wait until some have ended")

    def _write(self, before: MoveRecord | None, after: MoveRecord, action: str) -> MoveRecord:
        old = None if before is None else _logged(before)
        epoch = self._log(KIND, after.said.tenant, action, old, _logged(after))
        after = replace(
            after,
            number=after.number or epoch,
            version=epoch,
            wish_epoch=epoch if action == WISHED else after.wish_epoch,
        )
        self._connection.execute(delete(_TABLE).where(_TABLE.c.id == after.said.id))
        self._connection.execute(insert(_TABLE).values(**_row_of(after)))
        return after

    def _forget(self) -> None:
        ended = select(_TABLE.c.number).where(_TABLE.c.ended.is_not(None))
        last = self._connection.execute(ended.order_by(_TABLE.c.number.desc()).offset(MAX_ENDED).limit(1)).scalar()
        if last is not None:
            self._connection.execute(delete(_TABLE).where(_TABLE.c.ended.is_not(None), _TABLE.c.number <= last))


def read_move(connection: Connection, move_id: str) -> MoveRecord | None:
    """A move; None where it is not known."""
    row = connection.execute(select(_TABLE).where(_TABLE.c.id == move_id)).mappings().first()
    return None if row is None else _record_of(dict(row))


def read_moves(
    connection: Connection, wanted: MoveFilter, *, limit: int, after: int = 0, before: int | None = None
) -> tuple[MoveRecord, ...]:
    """Moves in the order in which they began, behind a number; with ``before`` those before it, the last first."""
    query = select(_TABLE).where(_TABLE.c.number > after).limit(limit)
    if before is None:
        query = query.order_by(_TABLE.c.number)
    else:
        query = query.where(_TABLE.c.number < before).order_by(_TABLE.c.number.desc())
    if wanted.tenant is not None:
        query = query.where(_TABLE.c.tenant == wanted.tenant)
    if wanted.cell is not None:
        query = query.where((_TABLE.c.source == wanted.cell) | (_TABLE.c.target == wanted.cell))
    if wanted.phase is not None:
        query = query.where(_TABLE.c.phase == wanted.phase.value)
    if wanted.living is not None:
        query = query.where(_TABLE.c.ended.is_(None) if wanted.living else _TABLE.c.ended.is_not(None))
    return tuple(_record_of(dict(row)) for row in connection.execute(query).mappings())


def _advice(said: SaidMove, wish: Wish) -> str:
    """What to do where a wish cannot be met."""
    if said.phase.is_end:
        return "it has ended; move the tenant anew"
    if said.phase in ENDING:
        return "it cleans up, and then it ends"
    if wish is Wish.ROLLBACK:
        return f"{said.tenant!r} is {said.source!r}'s still; abort it"
    if said.phase is Phase.FLIPPED:
        return f"{said.tenant!r} is {said.target!r}'s already; roll it back"
    return "writes wait for it; wait a moment"


def _row_of(record: MoveRecord) -> dict[str, Any]:
    said = record.said
    return {
        "id": said.id,
        "number": record.number,
        "tenant": said.tenant,
        "source": said.source,
        "target": said.target,
        "hold_seconds": said.hold_seconds,
        "phase": said.phase.value,
        "reason": said.reason,
        "flipped_epoch": said.flipped_epoch,
        "pause_seconds": said.pause_seconds,
        "began": record.began,
        "reached": record.reached,
        "ended": record.ended,
        "wish": record.wish.value,
        "wish_epoch": record.wish_epoch,
        "version": record.version,
    }


def _logged(record: MoveRecord) -> dict[str, Any]:
    """What the log says of it: no numbers that are its own."""
    return {name: value for name, value in _row_of(record).items() if name not in _OF_THE_ROW}


def _record_of(row: dict[str, Any]) -> MoveRecord:
    said = SaidMove(
        row["id"],
        row["tenant"],
        row["source"],
        row["target"],
        Phase(row["phase"]),
        row["reason"],
        row["hold_seconds"],
        row["flipped_epoch"],
        row["pause_seconds"],
    )
    return MoveRecord(
        said,
        row["number"],
        row["began"],
        row["reached"],
        row["ended"],
        Wish(row["wish"]),
        row["wish_epoch"],
        row["version"],
    )
