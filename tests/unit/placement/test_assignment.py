"""Which cell a new tenant of an explicit pool gets, why, or why none."""

from dataclasses import replace
from typing import Any

import pytest

from cellplane.errors import ValidationError
from cellplane.model import Capacity, Cell, CellStatus, Load
from cellplane.placement import Candidate, CellChoice, CellReason, NoCell, check_share, least_loaded

FULL = Capacity(tenants=100, rps=1000.0, storage_gib=500.0)


def candidate(
    number: int,
    load: Load,
    capacity: Capacity = FULL,
    *,
    status: CellStatus = CellStatus.ACTIVE,
    jurisdiction: str = "eu",
    is_healthy: bool = True,
) -> Candidate:
    cell = Cell(f"cell-{number}", "h", 1, status=status, jurisdiction=jurisdiction)
    return Candidate(cell, capacity, load, is_healthy)


def test_the_largest_of_the_three_utilisations_counts() -> None:
    choice = least_loaded(
        [
            candidate(1, Load(tenants=10, rps=100.0, storage_gib=450.0)),
            candidate(2, Load(tenants=10, rps=800.0, storage_gib=50.0)),
            candidate(3, Load(tenants=69, rps=100.0, storage_gib=50.0)),
        ],
        Load(),
    )
    assert choice == CellChoice("cell-3", 0.7, "least loaded (70.0% with the tenant) of 3 cells that fit, 0 do not")


def test_the_tenant_itself_counts() -> None:
    small = candidate(1, Load(rps=0.0), Capacity(rps=100.0))
    large = candidate(2, Load(rps=300.0), Capacity(rps=1000.0))
    light, heavy = (least_loaded([small, large], Load(rps=rps)) for rps in (10.0, 80.0))
    assert isinstance(light, CellChoice)
    assert isinstance(heavy, CellChoice)
    assert (light.cell, heavy.cell) == ("cell-1", "cell-2")


def test_among_equals_the_fewest_tenants_then_the_first_by_id() -> None:
    by_rps = Capacity(rps=100.0)
    even = [candidate(number, Load(tenants=5, rps=50.0), by_rps) for number in (3, 1, 2)]
    assert least_loaded(even, Load()) == least_loaded(even[::-1], Load())
    choice = least_loaded(even, Load())
    assert isinstance(choice, CellChoice)
    assert choice.cell == "cell-1"
    emptier = least_loaded([*even, candidate(4, Load(tenants=4, rps=50.0), by_rps)], Load())
    assert isinstance(emptier, CellChoice)
    assert emptier.cell == "cell-4"


def test_a_cell_that_declares_nothing_is_the_last_choice() -> None:
    unknown = candidate(1, Load(tenants=7), Capacity())
    busy = candidate(2, Load(tenants=98))
    first = least_loaded([unknown, busy], Load())
    assert isinstance(first, CellChoice)
    assert first.cell == "cell-2"
    full = replace(busy, load=Load(tenants=100))
    second = least_loaded([unknown, replace(unknown, cell=Cell("cell-3", "h", 1), load=Load(tenants=6)), full], Load())
    assert second == CellChoice(
        "cell-3", None, "fewest tenants (6) of 2 cells that fit, 1 do not; none of them declares a capacity"
    )


@pytest.mark.parametrize("status", [status for status in CellStatus if status is not CellStatus.ACTIVE])
def test_only_an_active_cell_takes_new_tenants(status: CellStatus) -> None:
    refused = least_loaded([candidate(1, Load(), status=status)], Load())
    assert isinstance(refused, NoCell)
    assert refused.cells == (CellReason("cell-1", f"is {status.value}"),)


def test_a_refusal_says_why_of_every_cell() -> None:
    refused = least_loaded(
        [
            candidate(5, Load(), jurisdiction="us", is_healthy=False, status=CellStatus.DRAINING),
            candidate(1, Load(), status=CellStatus.LOCKED),
            candidate(2, Load(), is_healthy=False),
            candidate(3, Load(), jurisdiction="us"),
            candidate(4, Load(tenants=100, rps=990.0, storage_gib=499.5)),
        ],
        Load(rps=20.0, storage_gib=1.0),
        jurisdiction="eu",
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


def test_a_cell_may_be_filled_to_its_cap() -> None:
    choice = least_loaded([candidate(1, Load(tenants=99))], Load())
    assert isinstance(choice, CellChoice)
    assert choice.utilisation == 1.0


def test_a_tenant_without_a_jurisdiction_may_be_anywhere() -> None:
    assert isinstance(least_loaded([candidate(1, Load(), jurisdiction="us")], Load()), CellChoice)


@pytest.mark.parametrize(
    ("candidates", "needed", "field"),
    [
        ([], Load(), "candidates"),
        ([candidate(1, Load())], Load(rps=-1.0), "needed.rps"),
        ([candidate(1, Load()), candidate(1, Load())], Load(), "candidates[1].cell.id"),
        ([candidate(1, Load(tenants=-1))], Load(), "candidates[0].load.tenants"),
        ([candidate(1, Load(), Capacity(storage_gib=0.0))], Load(), "candidates[0].capacity.storage_gib"),
        ([candidate(1, Load(), jurisdiction="EU")], Load(), "candidates[0].cell.jurisdiction"),
    ],
)
def test_bad_candidates_are_refused_with_their_path(candidates: list[Candidate], needed: Load, field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        least_loaded(candidates, needed)
    assert refused.value.field == field


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


# The model.


@pytest.mark.parametrize("name", ["tenants", "rps", "storage_gib"])
@pytest.mark.parametrize("amount", [0, -1, float("nan"), float("inf"), 1e13])
def test_a_capacity_is_more_than_nothing(name: str, amount: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        Capacity(**{name: amount}).validate("cells[3].capacity")
    assert refused.value.field == f"cells[3].capacity.{name}"


@pytest.mark.parametrize("name", ["tenants", "rps", "storage_gib"])
@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf"), 1e13])
def test_a_load_is_a_number(name: str, amount: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        Load(**{name: amount}).validate("load")
    assert refused.value.field == f"load.{name}"


def test_sound_amounts_pass() -> None:
    Capacity().validate("capacity")
    FULL.validate("capacity")
    Load().validate("load")
    assert Load(1, 2.0, 3.0) + Load(4, 5.0, 6.0) == Load(5, 7.0, 9.0)
