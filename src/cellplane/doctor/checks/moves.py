"""Checks of moves as the directory knows them: movers that are silent, and writes that wait for nobody."""

from collections.abc import Iterator

from cellplane.doctor.facts import Facts, MoveFact, known
from cellplane.doctor.finding import Check, Hit, error, ok, warning
from cellplane.doctor.settings import DoctorSettings

FLIPPED = "flipped"
"""The phase in which the way back is held open."""


def _moves(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    found = known(facts.moves)
    waiting = set(found.waiting)
    for tenant in sorted(waiting - {move.tenant for move in found.living}):
        yield warning(
            tenant,
            "its writes are held (`moving`), and no move of it is under way",
            f'Where no person holds them: `echo \'{{"id": "{tenant}", "state": "active"}}\' | '
            "cellplane tenant import -` lets it write.",
        )
    hits = [_move(each, settings, waits=each.tenant in waiting) for each in found.living]
    silent = [hit for hit in hits if hit is not None]
    yield from silent
    if not silent and waiting <= {move.tenant for move in found.living}:
        yield ok(f"moves under way whose movers speak, or are to pause: {len(found.living)}")


def _move(move: MoveFact, settings: DoctorSettings, *, waits: bool) -> Hit | None:
    is_silent = move.age_seconds is None or move.age_seconds > settings.mover_silent_seconds
    if not is_silent and move.phase == FLIPPED and move.reason:
        return warning(
            move.id,
            f"{move.tenant} is {move.target}'s, and its way back to {move.source} is barred: {move.reason}",
            f"`cellplane move status {move.id}` shows it; nothing is deleted before both cells are the same.",
        )
    if not is_silent or (move.paused and not waits):
        return None
    since = "has said nothing" if move.age_seconds is None else f"is silent for {move.age_seconds:.0f} s"
    said = f"the mover of {move.tenant} ({move.source} → {move.target}, {move.phase}) {since}"
    if move.reason:
        said += f" ({move.reason})"
    remedy = f"`cellplane move resume {move.id}` where it runs goes on; `cellplane move repair {move.id}` mends."
    if waits:
        return error(move.id, f"{said}, and the tenant's writes wait", remedy)
    return warning(move.id, said, remedy)


CHECKS = (
    Check(
        "CPD95",
        "moves",
        "Moves of tenants whose movers are silent and should not be, or whose way back is barred, and tenants whose "
        "writes are held without a move.",
        "`cellplane move status` shows all moves; `cellplane move resume MOVE`, where its mover runs, goes on.",
        _moves,
    ),
)
