"""Who leaves a cell that is split, or merged into another."""

import pytest

from cellplane.errors import ValidationError
from cellplane.model import TenantState
from cellplane.planning.halves import leaving
from unit.planning.test_rebalance import cell, loaded, tenant


def test_about_half_of_the_weight_leaves() -> None:
    weights = [50, 40, 30, 20, 10, 5, 3, 2]
    fleet = loaded([cell(1), cell(2)], [tenant(f"t{number}", 1, rps=rps) for number, rps in enumerate(weights)])
    gone = leaving(fleet, "cell-1", 0.5)
    weight = sum(weights[int(name[1:])] for name in gone)
    assert abs(weight - sum(weights) / 2) <= max(weights) / 10
    assert leaving(fleet, "cell-1", 0.5) == gone


@pytest.mark.parametrize("share", [0.1, 0.25, 0.9])
def test_any_share_may_leave(share: float) -> None:
    fleet = loaded([cell(1), cell(2)], [tenant(f"t{number:03}", 1, rps=1) for number in range(200)])
    assert len(leaving(fleet, "cell-1", share)) == pytest.approx(200 * share, abs=1)


def test_all_leave_whom_the_cell_serves_alone() -> None:
    fleet = loaded(
        [cell(1), cell(2)],
        [
            tenant("alone", 1),
            tenant("both", 1, 2),
            tenant("other", 2),
            tenant("moving", 1, state=TenantState.MOVING),
            tenant("last", 1, rps=0, gib=0),
        ],
    )
    assert sorted(leaving(fleet, "cell-1")) == ["alone", "last"]
    assert leaving(fleet, "cell-2") == ("other",)


def test_an_empty_cell_has_nobody_to_give() -> None:
    assert leaving(loaded([cell(1), cell(2)], [tenant("a", 1)]), "cell-2") == ()


def test_what_is_not_there_is_named() -> None:
    fleet = loaded([cell(1)], [tenant("a", 1)])
    with pytest.raises(ValidationError, match="no cell is named 'cell-9'"):
        leaving(fleet, "cell-9")
    with pytest.raises(ValidationError, match="share"):
        leaving(fleet, "cell-1", 0.0)
