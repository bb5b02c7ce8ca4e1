"""A mover tells a real control plane of its moves, and does what people want by way of it."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cellplane.cli.commands import cli
from cellplane.client import Client
from cellplane.errors import CellplaneError, UnreachableError
from cellplane.moves.book import MoveBook, Progress
from cellplane.moves.driver import Driver, eta_seconds
from cellplane.moves.move import Move, Phase, Wish
from cellplane.moves.reports import ControlPlaneReports, RefusedMoveError, Reports
from cellplane.moves.routes import HELD
from cellplane.moves.settings import CutoverSettings, DriverSettings, ReportSettings
from cellplane.moves.steps import Steps
from support.moving import SOURCE, TARGET, TENANT, World, WorldMover, WorldRecords, WorldRoutes
from unit.control.serving import Api, eventually, serving

QUICK = ReportSettings(progress_seconds=0.0, phase_seconds=20.0, retry_min_seconds=0.01, retry_max_seconds=0.05)
PLANNED = Move("m1", TENANT, SOURCE, TARGET, True, 0.0, rows_expected=100, bytes_expected=5_000)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with serving(tmp_path / "state") as api:
        monkeypatch.setenv("CELLPLANE_TOKEN", api.token)
        api.fill()
        api.put_epoch(f"/v1/tenants/{TENANT}", {"cell": SOURCE})
        yield api


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    with Client(url_of(api), "mover", api.token) as client:
        yield client


def url_of(api: Api) -> str:
    return f"http://127.0.0.1:{api.port}"


def calm() -> World:
    """A world in which nothing happens by itself, and nobody is late or cut off."""
    return World(lambda below: 1 if below in {3, 8} else 0)


class Watched(Reports):
    """Passes on what is told, and notes it among what becomes of the tenant's writes."""

    def __init__(self, reports: Reports, world: World, noted: list[str]) -> None:
        self._reports = reports
        self._world = world
        self._noted = noted

    def reached(self, move: Move) -> None:
        self._noted.append(f"{'held: ' if self._world.directory.holds else ''}{move.phase.value}")
        self._reports.reached(move)

    def going(self, move: Move, progress: Progress) -> None:
        self._noted.append(f"{'held: ' if self._world.directory.holds else ''}{progress.doing.split()[0]}…")
        self._reports.going(move, progress)


class Mover:
    """Moves a tenant of a world of its own, and tells a control plane."""

    def __init__(
        self, book: MoveBook, client: Client, world: World | None = None, ticks: Iterator[int] | None = None
    ) -> None:
        self.world = world or calm()
        self.noted: list[str] = []
        self.book = book
        reports = ControlPlaneReports(client, book, QUICK)
        seconds = ticks or count(1)
        self.driver = Driver(
            book,
            WorldRoutes(self.world),
            self._steps_of,
            DriverSettings(),
            lambda: float(next(seconds)),
            lambda _: None,
            Watched(reports, self.world, self.noted),
        )

    def _steps_of(self, move: Move) -> Steps:
        world = self.world
        return Steps(move, WorldMover(world), WorldRoutes(world), WorldRecords(world), CutoverSettings(), lambda: 0.0)

    def until(self, phase: Phase) -> Move:
        for _ in range(100):
            move = self.book.get("m1")
            if move.phase is phase:
                return move
            self.driver.advance("m1")
        raise AssertionError(f"it is {self.book.get('m1')}")


def told(api: Api) -> list[str]:
    found = api.get("/v1/events", kind="move", after=0).json()["items"]
    return [each["event"].removeprefix("tenant.move.") for each in found]


def test_every_phase_is_told_and_nobody_while_writes_wait(api: Api, client: Client, tmp_path: Path) -> None:
    book = MoveBook(tmp_path / "moves")
    book.add(PLANNED)
    mover = Mover(book, client)
    mover.until(Phase.DONE)
    way = ["planned", "prepared", "copied", "following", "verified", "fenced", "flipped", "released", "done"]
    assert told(api) == way
    assert [each for each in mover.noted if each.startswith("held")] == []
    assert [each for each in mover.noted if not each.endswith("…")] == way
    lag, cut_over = mover.noted.index("waiting…"), mover.noted.index("fenced")
    assert lag == cut_over - 1, "the lag is told before writes are held"
    assert mover.noted[cut_over + 1] == "flipped", "and then nothing"
    found = api.get("/v1/moves/m1").json()
    assert (found["phase"], found["living"], found["flipped_epoch"]) == ("done", False, book.get("m1").flipped_epoch)


def test_who_finds_writes_waiting_lets_them_go_before_anybody_is_told(api: Api, client: Client, tmp_path: Path) -> None:
    book = MoveBook(tmp_path / "moves")
    book.add(PLANNED)
    mover = Mover(book, client)
    mover.until(Phase.VERIFIED)
    mover.driver.reports.reached(replace(PLANNED, phase=Phase.FENCED))
    # Its mover died behind the fence.
    book.put(replace(book.get("m1"), phase=Phase.FENCED))
    mover.world.directory.state, mover.world.stores[SOURCE].closed = HELD, True
    mover.noted.clear()
    mover.until(Phase.DONE)
    assert [each for each in mover.noted if each.startswith("held")] == []
    assert mover.noted[0] == "verified"


def test_a_mover_that_dies_anywhere_tells_each_phase_once_all_the_same(
    api: Api, client: Client, tmp_path: Path
) -> None:
    book = MoveBook(tmp_path / "moves")
    book.add(PLANNED)
    world = calm()
    rng = random.Random(7)

    class Death(BaseException):
        pass

    def dying(what: Any) -> Any:
        def done(*arguments: Any) -> None:
            if rng.random() < 0.3:
                raise Death
            what(*arguments)
            if rng.random() < 0.3:
                raise Death

        return done

    deaths, ticks = 0, count(1)
    while not book.get("m1").phase.is_end:
        mover = Mover(book, client, world, ticks)
        # Before and behind what it tells, and what it keeps.
        reports: Any = mover.driver.reports
        reports.reached = dying(reports.reached)
        try:
            mover.driver.advance("m1")
        except Death:
            deaths += 1
        assert deaths < 100
    assert deaths > 3
    assert told(api) == [
        *["planned", "prepared", "copied", "following", "verified", "fenced", "flipped", "released", "done"]
    ]


def test_how_far_it_is_comes_with_what_was_expected(api: Api, client: Client, tmp_path: Path) -> None:
    book = MoveBook(tmp_path / "moves")
    book.add(PLANNED)
    reports = ControlPlaneReports(client, book, QUICK)
    reports.reached(PLANNED)
    reports.going(PLANNED, Progress("copying", 25, 1_000, 100, 5_000, 0.25, 12.0))
    progress = api.get("/v1/moves/m1").json()["progress"]
    assert {name: progress[name] for name in ("doing", "rows", "rows_expected", "bytes_expected", "eta_seconds")} == {
        "doing": "copying",
        "rows": 25,
        "rows_expected": 100,
        "bytes_expected": 5_000,
        "eta_seconds": 12.0,
    }
    assert eta_seconds(25, 100, 5.0) == 15.0
    assert eta_seconds(90, 100, 5.0, 100, 400) == 15.0, "by bytes, where some are expected"
    assert eta_seconds(25, 100, 5.0, 500, 400) == 15.0, "and by rows where there are more than that"
    assert [eta_seconds(*each) for each in ((0, 100, 5.0), (100, 100, 5.0), (9, 0, 5.0), (9, 100, 0.0))] == [None] * 4


def test_an_abort_that_was_asked_for_elsewhere_is_done(api: Api, client: Client, tmp_path: Path) -> None:
    book = MoveBook(tmp_path / "moves")
    book.add(PLANNED)
    mover = Mover(book, client)
    mover.until(Phase.FOLLOWING)
    asked = run(api, "abort", "m1")
    assert asked.exit_code == 0, asked.output
    assert "m1 is asked to abort: its mover hears of it within seconds" in asked.output
    assert "to abort (not heard yet)" in asked.output
    mover.until(Phase.ABORTED)
    assert told(api)[-4:] == ["wish", "following", "aborting", "aborted"]
    assert mover.world.stores[TARGET].rows == {}


def test_a_pause_and_a_rollback_are_heard_and_what_is_wanted_here_wins_later(
    api: Api, client: Client, tmp_path: Path
) -> None:
    book = MoveBook(tmp_path / "moves")
    book.add(replace(PLANNED, hold_seconds=1_000.0))
    mover = Mover(book, client)
    mover.until(Phase.COPIED)
    assert run(api, "pause", "m1").exit_code == 0
    mover.driver.advance("m1")
    mover.driver.advance("m1")
    assert book.get("m1").phase in {Phase.COPIED, Phase.FOLLOWING}
    assert book.wish("m1") is Wish.PAUSE
    phase = book.get("m1").phase
    mover.driver.advance("m1")
    assert book.get("m1").phase is phase, "it pauses"
    book.ask("m1", Wish.RUN)
    mover.until(Phase.FLIPPED)
    assert book.wish("m1") is Wish.RUN, "the pause was heard once"
    mover.driver.advance("m1")
    assert run(api, "rollback", "m1").exit_code == 0
    mover.until(Phase.ROLLED_BACK)
    assert told(api)[-3:] == ["wish", "returned", "rolled-back"]


def test_a_move_that_the_directory_has_something_against_ends_before_it_begins(
    api: Api, client: Client, tmp_path: Path
) -> None:
    api.put_epoch(f"/v1/cells/{TARGET}", {"address": "127.0.0.1", "port": 8002, "status": "locked"})
    book = MoveBook(tmp_path / "moves")
    book.add(PLANNED)
    mover = Mover(book, client)
    with pytest.raises(RefusedMoveError, match="is locked"):
        mover.driver.advance("m1")
    assert book.get("m1").phase is Phase.REFUSED
    assert mover.world.stores[TARGET].closed is None, "nothing was touched"
    assert told(api) == []


def test_a_phase_is_told_again_until_the_control_plane_is_back(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving(state) as api:
        api.fill()
        api.put_epoch(f"/v1/tenants/{TENANT}", {"cell": SOURCE})
        port, token = api.port, api.token
    book = MoveBook(tmp_path / "moves")
    book.add(PLANNED)
    seconds = iter(range(1_000))
    with Client(f"http://127.0.0.1:{port}", "mover", token) as client:
        waited: list[float] = []
        impatient = ControlPlaneReports(
            client, book, ReportSettings(phase_seconds=5.0), lambda: float(next(seconds)), waited.append
        )
        with pytest.raises(UnreachableError):
            impatient.reached(PLANNED)
        assert 1 < len(waited) < 10, "it is tried for a while, and no longer"
        impatient.going(PLANNED, Progress("copying"))  # of which nobody depends
    with serving(state) as api:
        moved = Client(f"http://127.0.0.1:{api.port}", "mover", token)
        with moved:
            ControlPlaneReports(moved, book, QUICK).reached(PLANNED)
            assert told(api) == ["planned"]


def run(api: Api, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["move", *arguments, "--control", url_of(api)])


def test_moves_elsewhere_are_shown(api: Api, client: Client, tmp_path: Path) -> None:
    assert "No tenant was moved." in run(api, "status").output
    book = MoveBook(tmp_path / "moves")
    book.add(PLANNED)
    reports = ControlPlaneReports(client, book, QUICK)
    reports.reached(PLANNED)
    assert run(api, "status").output == (f"m1 {TENANT}: {SOURCE} → {TARGET}, planned, nobody has said how far it is\n")
    reports.going(PLANNED, Progress("copying", 25, 1_000_000, 100, 5_000_000, 0.25, 12.0))
    assert run(api, "status", "m1").output == (
        f"m1 {TENANT}: {SOURCE} → {TARGET}, planned, copying: 25 of some 100 rows, 1.0 MB of 5.0, about 12 s left, "
        "250 ms behind\n"
    )
    assert run(api, "release", "m1").exit_code == 0
    assert "to release (not heard yet)" in run(api, "status").output
    refused = run(api, "rollback", "m1")
    assert refused.exit_code == 1
    assert "abort it" in refused.output
    asked = run(api, "resume", "m1", "--json")
    assert '"wish": "run"' in asked.output
    assert isinstance(refused.exception, SystemExit)
    assert issubclass(RefusedMoveError, CellplaneError)


def test_the_doctor_tells_of_writes_that_wait_for_nobody(api: Api) -> None:
    def found() -> str:
        arguments = ["doctor", "--control", url_of(api), "--state", "/nonexistent", "--only", "CPD95"]
        return CliRunner().invoke(cli, arguments).output

    assert "moves under way whose movers speak, or are to pause: 0" in found()
    api.put_epoch(f"/v1/tenants/{TENANT}", {"state": "moving"})
    eventually(lambda: "its writes are held (`moving`), and no move of it is under way" in found(), "it is found")
    assert f'{{"id": "{TENANT}", "state": "active"}}' in found()
