"""Which cell is asked for where one more is needed, and within which limits."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.errors import LimitReachedError, ProvisionError
from cellplane.model import Capacity, Cell, CellStatus
from cellplane.provision import CellRequest
from cellplane.provision.limits import require_room
from cellplane.provision.settings import ProvisionLimits
from cellplane.provision.siblings import like, next_id, one_more
from conformance.memory_provisioner import MemoryProvisioner


def sibling(number: int, zone: str = "", **changes: object) -> Cell:
    cell = Cell(f"cell-{number}", "127.0.0.1", 1, region="eu-1", jurisdiction="eu", zone=zone, release="r1")
    return replace(cell, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("taken", "found"),
    [
        ([], "cell-1"),
        (["cell-1", "cell-2", "cell-3"], "cell-4"),
        (["cell-1", "cell-10", "cell-2"], "cell-11"),
        (["cell-3"], "cell-4"),
        (["cell-01", "cell-x", "cell-", "mycell-7", "cell-0"], "cell-1"),
    ],
)
def test_the_next_id_is_behind_all_others(taken: list[str], found: str) -> None:
    assert next_id(taken) == found


def test_a_new_cell_is_what_most_of_its_siblings_are() -> None:
    large = Capacity(rps=900)
    siblings = [sibling(1, capacity=large), sibling(2, capacity=large, release="r2"), sibling(3, release="r2")]
    siblings.append(sibling(4, region="us-1", jurisdiction="us"))
    expected = CellRequest("cell-9", "eu-1", "", "eu", large, "r2", "default", "ask")
    assert like(siblings, "cell-9", pool="default", ask_id="ask") == expected


def test_a_new_cell_is_in_the_zone_with_the_fewest_so_that_growing_keeps_them_even() -> None:
    cells = [sibling(1, "a"), sibling(2, "b"), sibling(3, "c")]
    for number in range(4, 10):
        cells.append(replace(sibling(number), zone=like(cells, f"cell-{number}", pool="default").zone))
    assert sorted(cell.zone for cell in cells) == ["a"] * 3 + ["b"] * 3 + ["c"] * 3


def test_a_retired_cell_is_nobodys_model_unless_all_are() -> None:
    retired = sibling(1, release="r0", status=CellStatus.RETIRED)
    assert like([retired, sibling(2)], "cell-3", pool="default").release == "r1"
    assert like([retired], "cell-3", pool="default").release == "r0"


def test_a_cell_is_not_its_own_sibling() -> None:
    with pytest.raises(ProvisionError, match="pool default has no cells that another could be like"):
        like([sibling(1)], "cell-1", pool="default")


def test_an_id_that_only_the_control_plane_knows_is_not_given_out() -> None:
    provisioner = MemoryProvisioner(ProvisionLimits())
    made = one_more(provisioner, [sibling(1)], ["cell-1", "cell-7"], pool="default", ask_id="ask")
    assert made.id == "cell-8"


def test_an_ask_is_fulfilled_anew_once_its_cell_was_destroyed() -> None:
    provisioner = MemoryProvisioner(ProvisionLimits())

    def ask() -> str:
        return one_more(provisioner, [sibling(1)], ["cell-1", "cell-2"], pool="default", ask_id="ask").id

    first = ask()
    provisioner.destroy(first)
    assert (first, ask(), len(provisioner.describe_all())) == ("cell-3", "cell-3", 1)


amounts = st.none() | st.integers(1, 1000)
capacities = st.builds(Capacity, tenants=amounts, rps=amounts, storage_gib=amounts, concurrency=amounts)


@given(
    limits=st.builds(ProvisionLimits, max_cells=st.integers(1, 6), max_total=capacities),
    asked=st.lists(capacities, max_size=10),
)
def test_whatever_is_asked_the_limits_hold(limits: ProvisionLimits, asked: list[Capacity]) -> None:
    known: list[CellRequest] = []
    for number, capacity in enumerate(asked):
        wanted = CellRequest(f"cell-{number}", capacity=capacity)
        try:
            require_room(limits, known, wanted)
        except LimitReachedError:
            continue
        known.append(wanted)
    assert len(known) <= limits.max_cells
    for name in Capacity.__dataclass_fields__:
        limit = getattr(limits.max_total, name)
        if limit is not None:
            assert sum(getattr(each.capacity, name) for each in known) <= limit
    for each in known:
        require_room(limits, known, each)
