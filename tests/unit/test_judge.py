"""The judge: from what workers counted to breakers on the board, with time passed in."""

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cellplane.health.concentration import Concentration, Harm
from cellplane.health.peers import GrayEvent
from cellplane.health.pool_breakers import BreakerChange, BreakerEvent
from cellplane.model.health import BreakerSettings, Health, HealthThresholds
from cellplane.router.board import BreakerState, Count
from cellplane.router.judge import CellHealth, Judge, JudgeEvent, JudgeSettings, comparable_cells
from cellplane.routing import RoutingTable
from unit.boards import board_of, count, note_tenant, sent_away, serve, table_of

MEMBERS = ("cell-1", "cell-2", "cell-3", "cell-4")
RPS = 60
HEALTH = Health(breaker=BreakerSettings(jitter_share=0.0))
CLOSED, OPEN = (BreakerState.CLOSED, 0.0), (BreakerState.OPEN, 0.0)
HALF_OPEN = (BreakerState.HALF_OPEN, 0.05)
AVOIDED = (BreakerState.AVOIDED, 0.0)


@dataclass
class Court:
    """A judge, the board that it looks at once a second, and cells of which each does what it is told."""

    folder: Path
    table: RoutingTable
    judge: Judge = field(default_factory=lambda: Judge(JudgeSettings(), random.Random(7)))
    now: float = 1_000.0
    error_rates: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    events: list[JudgeEvent] = field(default_factory=list)
    sent: dict[str, tuple[int, int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.board = board_of(self.folder, self.table)

    def pass_seconds(self, seconds: int) -> None:
        """Each cell gets what its breaker lets through, and is judged, second by second."""
        for _ in range(seconds):
            self.now += 1
            for cell in self.board.cells:
                state, share = self.board.breaker(cell)
                requests = {BreakerState.CLOSED: RPS, BreakerState.HALF_OPEN: round(RPS * share)}.get(state, 0)
                errors = round(requests * self.error_rates.get(cell, 0.0))
                serve(self.board, cell, requests, errors=errors, seconds=self.seconds.get(cell, 0.01))
            for cell in self.sent:
                self.send(cell)
            self.events += self.judge.tick(self.board, self.table, self.now)

    def send(self, cell: str) -> None:
        """A second of requests of acme to a cell: so many, of which so many fail, each after so long."""
        requests, errors, seconds = self.sent[cell]
        serve(self.board, cell, requests, errors=errors, seconds=seconds)
        known = next((each for each in self.board.tenants(cell) if each.tenant == "acme"), None)
        before = (known.requests, known.errors, known.busy_seconds) if known is not None else (0, 0, 0.0)
        busy_us = round((before[2] + requests * seconds) * 1e6)
        note_tenant(
            self.board, cell, 0, "acme", requests=before[0] + requests, errors=before[1] + errors, busy_us=busy_us
        )

    def switch(self, table: RoutingTable) -> None:
        """A new base, whose board has the breakers of the one before, as an engine makes it."""
        before, self.table = self.board, table
        self.board = board_of(self.folder, table)
        for cell in set(self.board.cells).intersection(before.cells):
            self.board.set_breaker(cell, *before.breaker(cell))

    def breakers(self) -> dict[str, tuple[BreakerState, float]]:
        return {cell: self.board.breaker(cell) for cell in self.board.cells}

    def changes(self) -> list[tuple[str, BreakerChange]]:
        return [(event.cell, event.change) for event in self.events if isinstance(event, BreakerEvent)]


@pytest.fixture
def court(tmp_path: Path) -> Court:
    return Court(tmp_path, table_of(MEMBERS, health=HEALTH))


def test_of_a_cell_without_requests_nothing_is_known_and_nothing_is_wrong(court: Court) -> None:
    court.judge.tick(court.board, court.table, court.now)
    assert court.judge.health() == {cell: CellHealth(100.0, 0.0, "", False, "closed") for cell in MEMBERS}


def test_a_cell_that_fails_is_taken_out_probed_and_brought_back(court: Court) -> None:
    court.pass_seconds(15)
    assert set(court.breakers().values()) == {CLOSED}
    court.error_rates["cell-2"] = 1.0
    court.pass_seconds(12)
    assert court.breakers() == {**dict.fromkeys(MEMBERS, CLOSED), "cell-2": OPEN}
    health = court.judge.health()["cell-2"]
    assert (health.breaker, health.worst) == ("open", "error rate")
    court.error_rates.clear()
    opened_at = next(event.at for event in court.events if isinstance(event, BreakerEvent))
    court.pass_seconds(round(opened_at + HEALTH.breaker.open_seconds - court.now) - 1)
    assert court.breakers()["cell-2"] == OPEN
    court.pass_seconds(1)
    assert court.breakers()["cell-2"] == HALF_OPEN
    # Three probes a second, and after five seconds six, of which twenty have to be good.
    court.pass_seconds(4)
    assert court.breakers()["cell-2"] == HALF_OPEN
    court.pass_seconds(1)
    assert court.breakers()["cell-2"] == (BreakerState.HALF_OPEN, 0.1)
    court.pass_seconds(1)
    assert court.breakers()["cell-2"] == CLOSED
    assert court.changes() == [
        ("cell-2", BreakerChange.OPENED),
        ("cell-2", BreakerChange.HALF_OPENED),
        ("cell-2", BreakerChange.CLOSED),
    ]
    # What it did is still in the windows by which peers are compared: for a while it is avoided where there is another.
    court.pass_seconds(120)
    assert court.board.breaker("cell-2") == CLOSED
    assert court.judge.health()["cell-2"] == CellHealth(100.0, 1.0, "", False, "closed")


def test_a_cell_whose_probes_fail_waits_twice_as_long(court: Court) -> None:
    court.error_rates["cell-2"] = 1.0
    court.pass_seconds(60)
    events = [event for event in court.events if isinstance(event, BreakerEvent)]
    opened, half_opened = BreakerChange.OPENED, BreakerChange.HALF_OPENED
    assert [event.change for event in events[:4]] == [opened, half_opened, opened, half_opened]
    assert events[1].at - events[0].at == HEALTH.breaker.open_seconds
    assert events[3].at - events[2].at == 2 * HEALTH.breaker.open_seconds


def test_what_makes_most_cells_ill_takes_out_no_more_than_a_third(court: Court) -> None:
    court.error_rates = dict.fromkeys(MEMBERS, 1.0)
    court.pass_seconds(30)
    assert list(court.breakers().values()).count(CLOSED) == 3
    kept = {cell for cell, change in court.changes() if change is BreakerChange.KEPT_CLOSED}
    assert len(kept) == 3


def test_of_two_cells_none_is_taken_out(tmp_path: Path) -> None:
    court = Court(tmp_path, table_of(MEMBERS[:2], health=HEALTH))
    court.error_rates["cell-1"] = 1.0
    court.pass_seconds(30)
    assert set(court.breakers().values()) == {CLOSED}


def test_a_gray_cell_is_avoided_and_comes_back_when_it_is_as_its_peers(court: Court) -> None:
    court.seconds["cell-3"] = 0.2
    court.pass_seconds(40)
    assert set(court.breakers().values()) == {CLOSED}
    court.pass_seconds(20)
    assert court.breakers() == {**dict.fromkeys(MEMBERS, CLOSED), "cell-3": AVOIDED}
    health = court.judge.health()["cell-3"]
    assert (health.is_gray, health.breaker) == (True, "closed")
    assert [(event.cell, event.is_gray) for event in court.events if isinstance(event, GrayEvent)] == [("cell-3", True)]
    court.seconds.clear()
    court.pass_seconds(120)
    assert set(court.breakers().values()) == {CLOSED}
    assert not court.judge.health()["cell-3"].is_gray


def test_cells_are_judged_by_what_the_table_says(tmp_path: Path) -> None:
    court = Court(tmp_path, table_of(MEMBERS, health=HEALTH))
    court.seconds = dict.fromkeys(MEMBERS, 0.5)
    court.pass_seconds(15)
    assert court.judge.health()["cell-1"].score == 100
    stricter = Health(score=HealthThresholds(p99_objective_seconds=0.2, p99_bad_ratio=2.0))
    court.switch(table_of(MEMBERS, health=stricter, epoch=2))
    court.pass_seconds(5)
    assert (court.judge.health()["cell-1"].score, court.judge.health()["cell-1"].worst) == (0.0, "latency")
    court.switch(table_of(MEMBERS, health=stricter, objective=0.6, epoch=3))
    court.pass_seconds(15)
    assert court.judge.health()["cell-1"].score == 100


def test_more_under_way_than_a_cell_can_do_costs_its_score_and_its_breaker(tmp_path: Path) -> None:
    court = Court(tmp_path, table_of(MEMBERS, health=HEALTH, concurrency=10))
    court.pass_seconds(15)
    assert court.judge.health()["cell-1"].score == 100
    count(court.board, "cell-1", Count.IN_FLIGHT, 10)
    court.pass_seconds(15)
    health = court.judge.health()["cell-1"]
    assert (health.score, health.worst) == (40.0, "saturation")
    count(court.board, "cell-1", Count.IN_FLIGHT, 30)
    court.pass_seconds(15)
    assert court.breakers()["cell-1"] != CLOSED


def say(court: Court, cell: str, reports: int, lag_ms: int = 0xFFFF_FFFF, use: int = 0xFFFF) -> None:
    court.board._loads[court.board.cells.index(cell)] = reports << 48 | use << 32 | lag_ms


def test_what_a_cell_says_of_its_load_counts_while_it_is_news(court: Court) -> None:
    say(court, "cell-2", 1, lag_ms=155_000)
    court.pass_seconds(10)
    assert court.judge.health()["cell-2"].score == 100, "it was said before anybody looked"
    for report in range(2, 7):
        say(court, "cell-2", report, lag_ms=155_000)
        court.pass_seconds(1)
    health = court.judge.health()["cell-2"]
    assert (health.score, health.worst) == (50.0, "queue lag")
    court.pass_seconds(20)
    assert court.judge.health()["cell-2"].score == 100
    for report in range(7, 20):
        say(court, "cell-2", report, lag_ms=0, use=9_500)
        court.pass_seconds(1)
    health = court.judge.health()["cell-2"]
    assert (health.score, health.worst) == (50.0, "saturation")
    assert court.judge.health()["cell-1"].score == 100


def test_a_count_that_lost_its_beginning_is_none_under_way(tmp_path: Path) -> None:
    court = Court(tmp_path, table_of(MEMBERS, health=HEALTH, concurrency=10))
    court.board._counts[0, 0, Count.IN_FLIGHT] = 2**64 - 3
    court.pass_seconds(15)
    assert court.judge.health()["cell-1"].score == 100


def test_a_new_table_begins_its_counts_at_zero_and_forgets_nobodys_health(court: Court) -> None:
    court.error_rates["cell-2"] = 1.0
    court.pass_seconds(8)
    assert court.breakers()["cell-2"] == OPEN
    court.switch(table_of(MEMBERS, health=HEALTH, epoch=2))
    court.error_rates.clear()
    court.pass_seconds(2)
    assert court.breakers() == {**dict.fromkeys(MEMBERS, CLOSED), "cell-2": OPEN}
    court.pass_seconds(150)
    assert set(court.breakers().values()) == {CLOSED}


def test_cells_that_leave_and_join_change_nothing_for_the_others(court: Court) -> None:
    court.error_rates["cell-2"] = 1.0
    court.seconds["cell-3"] = 0.2
    court.pass_seconds(58)
    assert court.board.breaker("cell-3") == AVOIDED
    assert court.judge.health()["cell-2"].breaker != "closed"
    before = len(court.events)
    court.switch(table_of(["cell-0", "cell-1", "cell-2", "cell-3"], health=HEALTH, epoch=2))
    court.pass_seconds(1)
    health = court.judge.health()
    assert set(health) == {"cell-0", "cell-1", "cell-2", "cell-3"}
    assert (health["cell-0"].breaker, health["cell-3"].is_gray) == ("closed", True)
    assert health["cell-2"].breaker != "closed"
    assert court.board.breaker("cell-3") == AVOIDED
    assert [event for event in court.events[before:] if event.cell in {"cell-1", "cell-3"}] == []
    court.pass_seconds(30)
    assert court.board.breaker("cell-3") == AVOIDED


def test_a_cell_that_serves_nobody_is_not_judged(tmp_path: Path) -> None:
    court = Court(tmp_path, table_of(MEMBERS, health=HEALTH, down=["cell-4"]))
    court.pass_seconds(3)
    assert set(court.judge.health()) == set(MEMBERS[:3])


def test_after_a_pause_rates_begin_anew(court: Court) -> None:
    court.pass_seconds(15)
    serve(court.board, "cell-2", 10_000, errors=10_000)
    court.now += 3_600
    court.pass_seconds(5)
    assert set(court.breakers().values()) == {CLOSED}
    assert court.judge.health()["cell-2"].score == 100


def test_a_judge_that_begins_on_an_old_board_takes_what_was_counted_for_the_past(court: Court) -> None:
    serve(court.board, "cell-2", 10_000, errors=10_000)
    court.pass_seconds(15)
    assert set(court.breakers().values()) == {CLOSED}


def test_a_board_of_another_table_is_not_judged(court: Court) -> None:
    with pytest.raises(AssertionError, match="by the table"):
        court.judge.tick(court.board, table_of(MEMBERS, health=HEALTH, epoch=2), court.now)


def test_cells_of_a_pool_are_compared_and_all_others_with_each_other() -> None:
    table = table_of(["cell-2", "cell-1"], others=["other-1", "other-2"])
    assert comparable_cells(table) == [("cell-1", "cell-2"), ("other-1", "other-2")]


def test_a_board_is_written_only_where_cells_are_judged(tmp_path: Path) -> None:
    court = Court(tmp_path, table_of(MEMBERS, health=HEALTH, down=["cell-4"]))
    court.board.set_breaker("cell-4", BreakerState.OPEN)
    court.pass_seconds(3)
    assert court.breakers() == {**dict.fromkeys(MEMBERS, CLOSED), "cell-4": OPEN}


def suspected(court: Court) -> list[tuple[str, str, Harm]]:
    return [(found.tenant, found.cell, found.harm) for found, _ in court.judge.suspects()]


def test_a_tenant_whose_requests_alone_fail_is_suspected_and_its_cell_is_not_taken_out_for_it(court: Court) -> None:
    court.pass_seconds(15)
    court.sent["cell-2"] = (40, 40, 0.01)
    court.pass_seconds(6)
    assert suspected(court) == [("acme", "cell-2", Harm.ERRORS)]
    court.pass_seconds(60)
    assert court.judge.health()["cell-2"].score < 20
    assert court.board.breaker("cell-2") == CLOSED
    assert court.changes() == []
    told = [event for event in court.events if isinstance(event, Concentration)]
    assert [(event.tenant, event.cell) for event in told] == [("acme", "cell-2")]


def test_where_the_others_fail_too_nobody_is_suspected_and_the_cell_is_taken_out(court: Court) -> None:
    court.pass_seconds(15)
    court.sent["cell-2"] = (40, 40, 0.01)
    court.error_rates["cell-2"] = 0.5
    court.pass_seconds(12)
    assert suspected(court) == []
    assert court.changes() == [("cell-2", BreakerChange.OPENED)]


def test_a_tenant_that_takes_nearly_all_of_what_a_cell_can_do_is_suspected(tmp_path: Path) -> None:
    court = Court(tmp_path, table_of(MEMBERS, concurrency=10))
    court.pass_seconds(15)
    court.sent["cell-3"] = (5, 0, 2.0)
    court.pass_seconds(20)
    assert suspected(court) == [("acme", "cell-3", Harm.BUSY_TIME)]


def test_what_counts_against_a_tenant_is_of_the_table_that_was_live_then(court: Court) -> None:
    court.pass_seconds(15)
    court.sent["cell-2"] = (40, 40, 0.01)
    court.pass_seconds(8)
    ((_, epoch),) = court.judge.suspects()
    assert epoch == court.table.epoch


def test_who_is_away_is_suspected_no_more_and_its_cell_stays_spared_until_it_is_well(court: Court) -> None:
    court.pass_seconds(15)
    court.sent["cell-2"] = (40, 40, 0.01)
    court.pass_seconds(6)
    assert suspected(court)
    del court.sent["cell-2"]
    court.table = sent_away(court.table, MEMBERS)
    court.pass_seconds(1)
    assert suspected(court) == []
    court.pass_seconds(30)
    assert court.changes() == []
    assert court.judge.health()["cell-2"].score == 100


def test_a_cell_that_is_well_again_suspects_nobody(court: Court) -> None:
    court.pass_seconds(15)
    court.sent["cell-2"] = (40, 40, 0.01)
    court.pass_seconds(8)
    del court.sent["cell-2"]
    court.pass_seconds(12)
    assert suspected(court) == []
