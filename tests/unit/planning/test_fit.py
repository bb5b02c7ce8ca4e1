"""Whether cells are worth it."""

from dataclasses import replace

import pytest

from cellplane.errors import ValidationError
from cellplane.planning.fit import PHASES, Situation, Verdict, begin_with, judge

CALM = Situation(tenants=500, engineers=6)
PAINFUL = Situation(tenants=5_000, engineers=10, noise_incidents=3, deploy_incidents=1, noisiest_share=0.35)


def points(situation: Situation) -> int:
    return judge(situation).points


def test_a_product_without_pain_needs_no_cells() -> None:
    answer = judge(CALM)
    assert answer.verdict is Verdict.NO
    assert [reason.points for reason in answer.reasons] == [-2]
    assert begin_with(answer.verdict) is None


def test_a_product_in_pain_with_a_team_is_a_yes() -> None:
    answer = judge(PAINFUL)
    assert answer.verdict is Verdict.YES
    assert answer.points == 7
    assert begin_with(answer.verdict) is PHASES[1]
    assert answer.cells_by_hand == 25


@pytest.mark.parametrize("lacking", [{"stable_key": False}, {"automated_deploys": False}, {"engineers": 2}])
def test_what_is_lacking_blocks_a_yes(lacking: dict[str, int]) -> None:
    answer = judge(replace(PAINFUL, jurisdictions=2, database_share=0.9, **lacking))  # type: ignore[arg-type]
    assert answer.points >= 4
    assert any(reason.blocks for reason in answer.reasons)
    assert answer.verdict is Verdict.NOT_YET
    assert begin_with(answer.verdict) is PHASES[0]


def test_a_little_pain_is_not_yet() -> None:
    assert judge(replace(CALM, noise_incidents=1)).verdict is Verdict.NOT_YET


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"tenants": 99}, -3),
        ({"tenants": 1_000}, 1),
        ({"noise_incidents": 3}, 4),
        ({"deploy_incidents": 2}, 3),
        ({"deploy_incidents": 3}, 4),
        ({"noisiest_share": 0.0}, -1),
        ({"noisiest_share": 0.05}, 0),
        ({"noisiest_share": 0.1}, 1),
        ({"noisiest_share": 0.3}, 2),
        ({"jurisdictions": 3}, 3),
        ({"database_share": 0.7}, 2),
        ({"engineers": 4}, -1),
        ({"engineers": 8}, 1),
        ({"cross_tenant_queries": True}, -1),
        ({"extra_usd_month": 1.0}, -2),
    ],
)
def test_each_answer_moves_the_points_by_what_the_documentation_says(
    changed: dict[str, float], difference: int
) -> None:
    assert points(replace(CALM, **changed)) - points(CALM) == difference  # type: ignore[arg-type]


def test_revenue_that_three_cells_keep_is_compared_with_their_cost() -> None:
    answer = judge(replace(PAINFUL, incident_hours=2, revenue_usd_hour=3_000, extra_usd_month=5_000))
    assert answer.loss_usd_quarter == pytest.approx(24_000)
    assert answer.saved_usd_quarter == pytest.approx(16_000)
    assert any("pay for themselves" in reason.text and reason.points == 2 for reason in answer.reasons)


@pytest.mark.parametrize(
    "changed",
    [
        {"tenants": 0},
        {"engineers": 0},
        {"noise_incidents": -1},
        {"deploy_incidents": -1},
        {"noisiest_share": 1.1},
        {"jurisdictions": 0},
        {"database_share": float("nan")},
        {"incident_hours": -1},
        {"revenue_usd_hour": -1},
        {"extra_usd_month": -1},
    ],
)
def test_a_situation_that_cannot_be_names_its_field(changed: dict[str, float]) -> None:
    with pytest.raises(ValidationError) as caught:
        judge(replace(CALM, **changed))  # type: ignore[arg-type]
    assert [caught.value.field] == list(changed)


def test_the_way_has_three_phases_each_with_what_to_have_before() -> None:
    assert [phase.cells for phase in PHASES] == ["1 cell", "2 to 3 cells", "4 cells and more"]
    assert all(phase.before for phase in PHASES)
