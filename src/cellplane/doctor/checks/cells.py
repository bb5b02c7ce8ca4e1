"""Checks of cells: reached or not, from here and by routers; well or not; with room for new tenants or not."""

from collections.abc import Iterator

from cellplane.capacity.headroom import of_pool
from cellplane.doctor.facts import CellFact, CellUseFact, Facts, PoolNeedFact, known
from cellplane.doctor.finding import Check, Hit, error, ok, skipped, warning
from cellplane.doctor.settings import DoctorSettings
from cellplane.model import CellStatus

_BREAKER_CLOSED = "closed"


def serving(cells: tuple[CellFact, ...]) -> tuple[CellFact, ...]:
    """The cells to which tenants are sent."""
    return tuple(cell for cell in cells if CellStatus(cell.status).serves)


def _reached(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    cells = serving(known(facts.cells))
    failures = {each.cell: each.failure for each in known(facts.probes)}
    if not cells:
        yield skipped("no cell serves")
        return
    well = 0
    aside = []
    for cell in cells:
        failure = failures.get(cell.id, "it was not asked in time")
        place = f"{cell.id} ({cell.address}:{cell.port})"
        if cell.healthy is False:
            here = f"from here {failure}" if failure else "from here it answers: look at the network between"
            yield error(place, f"no router reaches it; {here}")
        elif failure and cell.healthy is None:
            yield error(place, f"from here {failure}, and no router has said whether it reaches it")
        else:
            well += 1
            if failure:
                aside.append(f"{cell.id}: {failure}")
    if well == len(cells):
        # A cell's port is its routers' alone, where the network is as it should be.
        note = f"; not from here, which may be meant: {', '.join(aside[:3])}" if aside else ""
        yield ok(f"cells that serve and are reached: {well} of {len(cells)}{note}")


def _judged(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    cells = [cell for cell in serving(known(facts.cells)) if cell.score is not None]
    if not cells:
        yield skipped("no router has judged a cell yet")
        return
    ill = [cell for cell in cells if cell.breaker != _BREAKER_CLOSED or cell.gray]
    for cell in ill:
        what = [f"its breaker is {cell.breaker}"] if cell.breaker != _BREAKER_CLOSED else []
        what += ["it is worse than its peers, though its health check is good"] if cell.gray else []
        yield warning(cell.id, f"{' and '.join(what)}; its score is {cell.score:.0f} of 100")
    if not ill:
        yield ok(f"cells with which routers find nothing wrong: {len(cells)} of {len(cells)}")


def _has_room(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    topology = known(facts.fleet).topology
    cells = {cell.id: cell for cell in topology.cells}
    fine = 0
    for pool in topology.pools:
        room = of_pool(pool, cells, {})
        if room.cells == 0:
            yield error(
                f"pool {pool.name}",
                f"none of its {len(pool.cells)} cells serves: its tenants get 503, and nobody new is placed there",
                "`cellplane cell activate` one of them, or let its tenants go to another pool.",
            )
        elif room.open_cells == 0:
            where = f"new tenants go to {pool.overflow!r}" if pool.overflow else "new tenants find no cell"
            yield (warning if pool.overflow else error)(
                f"pool {pool.name}", f"all of its {room.cells} cells that serve are locked: {where}"
            )
        else:
            fine += 1
    if fine == len(topology.pools):
        yield ok(f"pools with a cell that takes new tenants: {fine} of {fine}")


def _lasts(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    capacity = known(facts.capacity)
    full = [(cell.utilisation, cell.cell) for cell in capacity.cells if cell.utilisation is not None]
    wrong = [*_short(capacity.pools), *_stuck(capacity.cells, settings)]
    yield from wrong
    if wrong:
        return
    if full:
        share, fullest = max(full)
        yield ok(
            f"cells that say how full they are: {len(full)} of {len(capacity.cells)}; the fullest is {fullest}, "
            f"{share:.0%}"
        )
    else:
        yield skipped("no cell says how full it is: docs/capacity.md tells how they do")


def _short(pools: tuple[PoolNeedFact, ...]) -> Iterator[Hit]:
    for pool in pools:
        if pool.failure:
            yield warning(f"pool {pool.name}", f"the cell that it asked for was not made: {pool.failure}")
        elif pool.wants and pool.kept:
            yield warning(f"pool {pool.name}", f"it needs one more cell: {pool.wants}; {pool.kept}")


def _stuck(cells: tuple[CellUseFact, ...], settings: DoctorSettings) -> Iterator[Hit]:
    for cell in cells:
        age_seconds = cell.report_age_seconds
        if cell.kept_open:
            yield warning(cell.cell, cell.kept_open)
        if age_seconds is not None and age_seconds > settings.cell_report_seconds:
            yield warning(
                cell.cell, f"it has not said for {age_seconds:.0f} s how full it is: it is neither locked nor opened"
            )


CHECKS = (
    Check(
        "CPD20",
        "cells reached",
        "Whether cells that serve answer at their health address: as routers see it, and from this machine. What "
        "routers reach and this machine does not may be meant: a cell's port is for its routers.",
        "Look at the cell's own log; docs/operations.md, “A cell is down”.",
        _reached,
    ),
    Check(
        "CPD21",
        "cells judged",
        "Cells whose answers routers find bad: with an open breaker, or worse than their peers.",
        "Look at the cell's own log and database; docs/health.md says how cells are judged.",
        _judged,
    ),
    Check(
        "CPD22",
        "room",
        "Pools without a cell that serves, or of which all cells that do are locked.",
        "Unlock a cell (`cellplane cell unlock CELL`), add one to the pool, or name an `overflow`.",
        _has_room,
    ),
    Check(
        "CPD23",
        "capacity",
        "Pools that need one more cell and get none, cells that are full and stay open, and cells that say no more how "
        "full they are.",
        "`cellplane capacity` shows all of it; `cellplane cell create`, or `cellplane plan rebalance`.",
        _lasts,
    ),
)
