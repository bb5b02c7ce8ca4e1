"""Who goes to quarantine, where and for how long."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cellplane.model import Cell, CellStatus, Quarantine, QuarantinePolicy
from cellplane.placement.quarantine import Asked, LeftAlone, LeftAloneBy, is_forgotten, quarantine, released

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = QuarantinePolicy(
    ("eu-1", "eu-2", "us-1"), max_tenants=2, seconds=60, cap_seconds=200, forget_seconds=1_000, hold_seconds=30
)
CELLS = {name: Cell(name, "127.0.0.1", 1, jurisdiction=name[:2]) for name in POLICY.cells}


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def by_router(tenant: str = "acme", epoch: int = 9) -> Asked:
    return Asked(tenant, "it fails", {"share": 0.9}, seen_epoch=epoch)


def decided(
    asked: Asked,
    *known: Quarantine,
    now: float = 0,
    law: str = "eu",
    policy: QuarantinePolicy = POLICY,
    **status: CellStatus,
) -> Quarantine | LeftAlone:
    cells = {name: replace(cell, status=status.get(name[:2], cell.status)) for name, cell in CELLS.items()}
    return quarantine(asked, policy, cells, law, known={each.tenant: each for each in known}, now=at(now))


def away(tenant: str, cell: str = "eu-1", **fields: Any) -> Quarantine:
    return Quarantine(tenant, cell, at(0), at(60), "it fails", {"share": 0.9}, **fields)


def left(found: Quarantine | LeftAlone) -> LeftAloneBy:
    assert isinstance(found, LeftAlone)
    return found.by


def test_a_tenant_goes_to_the_emptiest_cell_of_its_law() -> None:
    assert decided(by_router()) == Quarantine("acme", "eu-1", at(0), at(60), "it fails", {"share": 0.9})
    for law, known, cell in (("eu", (away("beta"),), "eu-2"), ("us", (away("beta"),), "us-1")):
        found = decided(by_router(), *known, law=law)
        assert isinstance(found, Quarantine)
        assert found.cell == cell


@pytest.mark.parametrize(("law", "status"), [("ch", {}), ("us", {"us": CellStatus.MAINTENANCE})])
def test_where_there_is_no_cell_of_its_law_that_serves_it_is_left_alone(law: str, status: dict[str, Any]) -> None:
    assert left(decided(by_router(), law=law, **status)) is LeftAloneBy.NO_CELL
    assert left(decided(Asked("acme", "by hand"), law=law, **status)) is LeftAloneBy.NO_CELL


def test_a_fleet_without_quarantine_cells_says_so_first() -> None:
    for policy in (QuarantinePolicy(), QuarantinePolicy(automatic=False), QuarantinePolicy(max_tenants=1)):
        assert left(decided(by_router(), away("beta"), policy=policy)) is LeftAloneBy.NO_CELL


def test_a_cell_that_is_asked_for_is_of_the_tenants_law_too() -> None:
    found = decided(Asked("acme", "by hand", cell="eu-2"))
    assert isinstance(found, Quarantine)
    assert found.cell == "eu-2"
    assert left(decided(Asked("acme", "by hand", cell="us-1"))) is LeftAloneBy.NO_CELL


def test_at_most_so_many_are_away_in_the_whole_fleet_whoever_asks() -> None:
    full = (away("beta"), away("gamma", "us-1"))
    assert left(decided(by_router(), *full)) is LeftAloneBy.BOUND
    assert left(decided(Asked("acme", "by hand"), *full)) is LeftAloneBy.BOUND
    over = replace(full[0], ended=at(0))
    assert isinstance(decided(by_router(), over, full[1]), Quarantine)
    assert isinstance(decided(Asked("beta", "longer", seconds=900), *full), Quarantine), "it is one of them"


def test_what_is_found_again_changes_nothing() -> None:
    before = away("acme", epoch=20)
    for epoch in (9, 20, 30):
        assert decided(by_router(epoch=epoch), before, now=30) is before


def test_a_person_changes_time_and_reason_of_one_that_lasts() -> None:
    before = away("acme", "eu-2", times=3)
    found = decided(Asked("acme", "longer", seconds=900), before, now=30)
    assert found == Quarantine("acme", "eu-2", at(0), at(930), "longer", times=3)


def test_each_is_longer_than_the_one_before_up_to_a_cap_and_long_after_they_begin_anew() -> None:
    taken, now = [], 0.0
    known: list[Quarantine] = []
    for _ in range(4):
        found = decided(by_router(), *known, now=now)
        assert isinstance(found, Quarantine)
        taken.append((found.until - found.since).total_seconds())
        now = (found.until - BEGAN).total_seconds()
        known = [released(found, "over", at(now))]
    assert taken == [60, 120, 200, 200]
    found = decided(by_router(), *known, now=now + 1_000)
    assert isinstance(found, Quarantine)
    assert (found.times, found.until) == (1, at(now + 1_060))


def test_after_a_release_by_hand_only_a_person_sends_it_back_at_once() -> None:
    held = released(away("acme"), "by hand", at(10), hold_seconds=30)
    assert (held.lasts, held.ended, held.held_until) == (False, at(10), at(40))
    assert left(decided(by_router(), held, now=39)) is LeftAloneBy.HELD
    assert isinstance(decided(Asked("acme", "by hand"), held, now=11), Quarantine)
    assert isinstance(decided(by_router(), held, now=40), Quarantine)
    assert released(away("acme"), "over", at(60)).held_until is None


def test_what_was_found_before_its_last_quarantine_was_over_is_no_evidence() -> None:
    over = replace(released(away("acme"), "over", at(60)), epoch=20)
    assert left(decided(by_router(epoch=19), over, now=61)) is LeftAloneBy.STALE
    assert isinstance(decided(by_router(epoch=20), over, now=61), Quarantine)


def test_a_fleet_may_leave_it_to_people() -> None:
    policy = replace(POLICY, automatic=False)
    assert left(decided(by_router(), policy=policy)) is LeftAloneBy.BY_HAND
    assert isinstance(decided(Asked("acme", "by hand"), policy=policy), Quarantine)


def test_one_that_is_over_is_remembered_for_a_time_and_as_long_as_it_is_held() -> None:
    over = released(away("acme"), "over", at(60))
    assert [is_forgotten(over, POLICY, at(now)) for now in (60, 1_059, 1_060)] == [False, False, True]
    held = replace(over, held_until=at(5_000))
    assert [is_forgotten(held, POLICY, at(now)) for now in (4_999, 5_000)] == [False, True]
    assert not is_forgotten(away("acme"), POLICY, at(10**6))
