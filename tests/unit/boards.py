"""Boards as a proxy's workers would leave them."""

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from cellplane.model import NO_POLICY, Capacity, Cell, CellStatus, Fleet, Pool, Tenant, TenantState, Topology
from cellplane.model.health import USUAL_HEALTH, Health
from cellplane.router.board import FIRST_BUCKET, LATENCY_BOUNDS_SECONDS, Board, Count
from cellplane.routing import PlacedTenants, RoutingTable, compile_overlay, compile_table, encode, encode_overlay


def table_of(
    members: Sequence[str],
    *,
    epoch: int = 1,
    others: Sequence[str] = (),
    down: Sequence[str] = (),
    concurrency: int | None = None,
    health: Health = USUAL_HEALTH,
    objective: float | None = None,
) -> RoutingTable:
    """A table of one pool.

    Args:
        others: cells of no pool.
        down: cells in maintenance.
        health: by what its cells are judged.
        objective: p99 of the pool, seconds.
    """
    cells = tuple(
        Cell(
            cell,
            "127.0.0.1",
            8000 + number,
            status=CellStatus.MAINTENANCE if cell in down else CellStatus.ACTIVE,
            capacity=Capacity(concurrency=concurrency),
        )
        for number, cell in enumerate(sorted({*members, *others}))
    )
    topology = Topology(
        Fleet("shop", health=health),
        cells,
        (Pool("default", tuple(members), p99_objective_seconds=objective),),
        (Tenant("acme", (members[0],)),),
    )
    return RoutingTable(encode(compile_table(topology, epoch)))


def sent_away(table: RoutingTable, members: Sequence[str]) -> RoutingTable:
    """The same table with acme in quarantine, in the last of these cells, which are all of it."""
    cells = tuple(Cell(cell.id, "127.0.0.1", 1) for cell in table.cells)
    topology = Topology(Fleet("shop"), cells, (Pool("default", tuple(members)),))
    placed = PlacedTenants(["acme"], ["default"], [(members[-1],)], [TenantState.QUARANTINED], [NO_POLICY])
    base = table.base.epoch, table.sha256
    return RoutingTable(table.base, encode_overlay(compile_overlay(topology, base, table.epoch + 1, placed, [])))


def board_of(folder: Path, table: RoutingTable, workers: int = 1) -> Board:
    return Board.of_table(folder / "boards", table, workers)


def count(board: Board, cell: str, what: Count, amount: int = 1, *, worker: int = 0) -> None:
    board._counts[worker, board.cells.index(cell), what] += amount


def serve(board: Board, cell: str, requests: int, *, errors: int = 0, seconds: float = 0.01, worker: int = 0) -> None:
    """Requests of a cell that have ended, each after so long."""
    count(board, cell, Count.REQUESTS, requests, worker=worker)
    count(board, cell, Count.ERRORS, errors, worker=worker)
    count(board, cell, Count.BUSY_US, round(requests * seconds * 1e6), worker=worker)
    bucket = FIRST_BUCKET + bisect_right(LATENCY_BOUNDS_SECONDS, seconds)
    board._counts[worker, board.cells.index(cell), bucket] += requests


def note_tenant(
    board: Board, cell: str, place: int, tenant: str, *, requests: int, errors: int, busy_us: int, worker: int = 0
) -> None:
    """What a worker writes of a tenant, whole."""
    words = board._tenants[worker, board.cells.index(cell), place]
    words[2:6] = requests, errors, busy_us, len(tenant)
    words[8:] = 0
    words[8:].view("u1")[: len(tenant)] = bytearray(tenant, "ascii")
