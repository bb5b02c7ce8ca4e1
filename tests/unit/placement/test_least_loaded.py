"""Which cell a new tenant of an explicit pool gets, why, or why none; and the guard of shards."""

from typing import Any

import pytest

from cellplane.errors import ValidationError
from cellplane.model import Capacity, Cell, CellStatus, Load, Tenant
from cellplane.placement import CellChoice, CellReason, CellState, NoCell, check_share, least_loaded

FULL = Capacity(tenants=100, rps=1000.0, storage_gib=500.0)
ACME = Tenant("acme")

Candidate = tuple[Cell, CellState]


def candidate(
    number: int, load: Load, capacity: Capacity = FULL, *, is_healthy: bool = True, **fields: Any
) -> Candidate:
    cell = Cell(f"cell-{number}", "h", 1, capacity=capacity, **{"jurisdiction": "eu", **fields})
    return cell, CellState(load, is_healthy)


def chosen(candidates: list[Candidate], tenant: Tenant = ACME, *, is_dedicated: bool = False) -> CellChoice | NoCell:
    cells, states = [cell for cell, _ in candidates], {cell.id: state for cell, state in candidates}
    return least_loaded(tenant, cells, states, is_dedicated=is_dedicated)


def chosen_cell(candidates: list[Candidate], tenant: Tenant = ACME) -> str:
    choice = chosen(candidates, tenant)
    assert isinstance(choice, CellChoice)
    return choice.cell


def test_the_largest_of_the_three_utilisations_counts() -> None:
    choice = chosen(
        [
            candidate(1, Load(tenants=10, rps=100.0, storage_gib=450.0)),
            candidate(2, Load(tenants=10, rps=800.0, storage_gib=50.0)),
            candidate(3, Load(tenants=69, rps=100.0, storage_gib=50.0)),
        ]
    )
    assert choice == CellChoice("cell-3", 0.7, "least loaded (70.0% with the tenant) of 3 cells that fit, 0 do not")


def test_the_tenant_itself_counts() -> None:
    small = candidate(1, Load(rps=0.0), Capacity(rps=100.0))
    large = candidate(2, Load(rps=300.0), Capacity(rps=1000.0))
    light, heavy = (chosen_cell([small, large], Tenant("acme", load=Load(rps=rps))) for rps in (10.0, 80.0))
    assert (light, heavy) == ("cell-1", "cell-2")


def test_among_equals_the_fewest_tenants_then_the_first_by_id() -> None:
    by_rps = Capacity(rps=100.0)
    even = [candidate(number, Load(tenants=5, rps=50.0), by_rps) for number in (3, 1, 2)]
    assert chosen(even) == chosen(even[::-1])
    assert chosen_cell(even) == "cell-1"
    assert chosen_cell([*even, candidate(4, Load(tenants=4, rps=50.0), by_rps)]) == "cell-4"


def test_a_cell_that_declares_nothing_is_the_last_choice() -> None:
    unknown = candidate(1, Load(tenants=7), Capacity())
    assert chosen_cell([unknown, candidate(2, Load(tenants=98))]) == "cell-2"
    emptier, full = candidate(3, Load(tenants=6), Capacity()), candidate(2, Load(tenants=100))
    assert chosen([unknown, emptier, full]) == CellChoice(
        "cell-3", None, "fewest tenants (6) of 2 cells that fit, 1 do not; none of them declares a capacity"
    )


def test_a_cell_of_which_nothing_is_known_is_empty_and_healthy() -> None:
    (known, state), (unknown, _) = candidate(1, Load(tenants=1)), candidate(2, Load())
    choice = least_loaded(ACME, [known, unknown], {known.id: state})
    assert isinstance(choice, CellChoice)
    assert (choice.cell, choice.utilisation) == ("cell-2", 0.01)


@pytest.mark.parametrize("status", [status for status in CellStatus if status is not CellStatus.ACTIVE])
def test_only_an_active_cell_takes_new_tenants(status: CellStatus) -> None:
    refused = chosen([candidate(1, Load(), status=status)])
    assert isinstance(refused, NoCell)
    assert refused.cells == (CellReason("cell-1", f"is {status.value}"),)


def test_a_refusal_says_why_of_every_cell() -> None:
    refused = chosen(
        [
            candidate(5, Load(), jurisdiction="us", is_healthy=False, status=CellStatus.DRAINING),
            candidate(1, Load(), status=CellStatus.LOCKED),
            candidate(2, Load(), is_healthy=False),
            candidate(3, Load(), jurisdiction="us"),
            candidate(4, Load(tenants=100, rps=990.0, storage_gib=499.5)),
        ],
        Tenant("acme", jurisdiction="eu", load=Load(rps=20.0, storage_gib=1.0)),
    )
    assert isinstance(refused, NoCell)
    assert refused.reason.startswith("none of 5 cells takes the tenant")
    assert refused.cells == (
        CellReason("cell-1", "is locked"),
        CellReason("cell-2", "is not healthy"),
        CellReason("cell-3", "is under us, not eu"),
        CellReason("cell-4", "would hold 101 of 100 tenants, would hold 1010 of 1000 rps, would hold 500.5 of 500 GiB"),
        CellReason("cell-5", "is draining, is not healthy, is under us, not eu"),
    )


def test_a_dedicated_cell_takes_one_tenant() -> None:
    empty, busy = candidate(1, Load()), candidate(2, Load(tenants=1))
    choice = chosen([busy, empty], is_dedicated=True)
    assert isinstance(choice, CellChoice)
    assert choice.cell == "cell-1"
    assert chosen([busy], is_dedicated=True) == NoCell(
        "none of 1 cells takes the tenant: add a cell, raise a capacity, or unlock one",
        (CellReason("cell-2", "is dedicated, and has its tenant"),),
    )


def test_a_cell_may_be_filled_to_its_cap() -> None:
    choice = chosen([candidate(1, Load(tenants=99))])
    assert isinstance(choice, CellChoice)
    assert choice.utilisation == 1.0


def test_a_tenant_without_a_jurisdiction_may_be_anywhere() -> None:
    assert chosen_cell([candidate(1, Load(), jurisdiction="us")]) == "cell-1"


# The guard.


def test_a_tenant_of_a_third_of_a_cell_may_have_a_shard_of_three_and_not_of_four() -> None:
    capacities = {"cell-1": Capacity(rps=300.0, storage_gib=90.0), "cell-2": Capacity(rps=600.0)}
    load = Load(tenants=1, rps=100.0, storage_gib=30.0)
    assert check_share(load, capacities, shard_size=3) is None
    refused = check_share(load, capacities, shard_size=4)
    assert refused is not None
    assert "more than 1/4 of the capacity of 1 of 2 cells" in refused.reason
    assert refused.cells == (CellReason("cell-1", "100 rps is more than 1/4 of 300, 30 GiB is more than 1/4 of 90"),)


def test_what_a_cell_does_not_declare_limits_nothing() -> None:
    assert check_share(Load(rps=1e9, storage_gib=1e9), {"cell-1": Capacity(tenants=1)}, shard_size=8) is None


@pytest.mark.parametrize(
    ("load", "capacity", "shard_size", "field"),
    [
        (Load(rps=float("nan")), Capacity(), 2, "load.rps"),
        (Load(), Capacity(rps=-1.0), 2, "capacities[cell-1].rps"),
        (Load(), Capacity(), 0, "shard_size"),
        (Load(), Capacity(), 9, "shard_size"),
    ],
)
def test_a_guard_of_nonsense_is_refused(load: Load, capacity: Capacity, shard_size: int, field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        check_share(load, {"cell-1": capacity}, shard_size=shard_size)
    assert refused.value.field == field
