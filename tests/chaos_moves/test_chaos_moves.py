"""A short slice of `make chaos-move`, and that it finds what is planted in real databases."""

from collections.abc import Iterator

import psycopg
import pytest

from chaos_moves.fleet import CONTROL, ROUTER, MovesFleet
from chaos_moves.report import Report
from chaos_moves.run import MOVER, POINTS, SOURCE, TARGET, VICTIMS, Runs, plan_of

SEED = 3
SLICE = (
    ("move.fenced", MOVER),
    ("move.flipped", TARGET),
    ("move.back.fenced", SOURCE),
    ("move.stayed", CONTROL),
)


class Spoiler:
    """Does to a tenant's rows what it is told, once, when a move has ended."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def __call__(self, fleet: MovesFleet, tenant: str, cell: str) -> None:
        with psycopg.connect(fleet.databases[cell]) as connection:
            while self.statements:
                connection.execute(self.statements.pop().encode(), {"tenant": tenant})


@pytest.fixture(scope="module")
def spoiler() -> Spoiler:
    return Spoiler()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, spoiler: Spoiler) -> Iterator[Runs]:
    with Runs(tmp_path_factory.mktemp("fleet"), spoil=spoiler) as made:
        yield made


def test_nothing_is_lost_whatever_is_killed_in_a_move(runs: Runs) -> None:
    report = Report([SEED], ["one each"], [victim for _, victim in SLICE])
    for point, victim in SLICE:
        report.add(runs.run(plan_of(SEED, point, victim)))
    assert report.passed, report.failures
    assert len(report.endings) == 3, "moves were done, aborted and rolled back"


LOSE = """
DELETE FROM entries WHERE tenant_id = %(tenant)s
AND key = (SELECT min(key) FROM entries WHERE tenant_id = %(tenant)s)"""
DUPLICATE = """
INSERT INTO log SELECT tenant_id, gen_random_uuid(), number, key, cell, at FROM log
WHERE tenant_id = %(tenant)s AND number = 7"""


def test_a_planted_lost_and_a_planted_duplicated_write_are_found(runs: Runs, spoiler: Spoiler) -> None:
    spoiler.statements = [LOSE, DUPLICATE]
    outcome = runs.run(plan_of(SEED, "move.writes.held", ROUTER))
    assert (outcome.verdict.lost, outcome.verdict.duplicated) == (1, 1), outcome.said()
    assert (outcome.verdict.stale, outcome.verdict.two_writers, outcome.left) == (0, 0, [])
    assert outcome.is_ended
    report = Report([SEED], ["move.writes.held"], [ROUTER])
    report.add(outcome)
    assert not report.passed


@pytest.mark.long
def test_every_point_and_victim(runs: Runs) -> None:
    report = Report([SEED + 1], POINTS, VICTIMS)
    for point in POINTS:
        for victim in VICTIMS:
            report.add(runs.run(plan_of(SEED + 1, point, victim)))
    assert report.passed, report.failures


def test_points_are_those_of_the_steps() -> None:
    assert {"move.fenced", "move.flipped", "move.back.fenced", "move.stayed", "move.forgotten"} <= set(POINTS)
    assert len(POINTS) >= 17
