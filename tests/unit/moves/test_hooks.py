"""Hooks are asked before a phase, told after it, and told again where they could not be."""

import hashlib
import hmac
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cellplane.moves.carriers.cargo import Cargo
from cellplane.moves.driver import Driver
from cellplane.moves.errors import HookError, MoveError
from cellplane.moves.hooks import NAMES, FileHookRecord, HookCall, Hooks, HttpHook, PythonHook
from cellplane.moves.move import Move, Phase, Wish
from cellplane.moves.settings import CutoverSettings, DriverSettings, HookSettings
from cellplane.moves.steps import Steps
from support.http_server import answering_with
from support.moving import SOURCE, TARGET, TENANT, World, WorldBook, WorldMover, WorldRecords, WorldRoutes

MOVE = Move("m1", TENANT, SOURCE, TARGET, was_pinned=True, hold_seconds=5.0, phase=Phase.PREPARED)
CALL = HookCall("before_copy", "m1.before_copy.1", MOVE, 0)
QUICK = HookSettings(seconds=5.0, pause_seconds=0.01)


class Endpoint(BaseHTTPRequestHandler):
    """Answers as it is told, and notes what it was asked."""

    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((dict(self.headers), body))
        status, text = self.server.answers.pop(0)
        if status == 0:
            self.server.stop.wait(10)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def endpoint(*answers: tuple[int, str]) -> Iterator[tuple[str, ThreadingHTTPServer]]:
    stop = threading.Event()
    with answering_with(Endpoint, answers=list(answers), asked=[], stop=stop) as server:
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook?token=secret", server
        finally:
            stop.set()


def asked(server: Any) -> list[tuple[dict[str, str], bytes]]:
    found: list[tuple[dict[str, str], bytes]] = server.asked
    return found


def test_an_endpoint_is_told_what_moves_and_can_verify_who_says_so(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("between us\n")
    with endpoint((204, "")) as (url, server):
        HttpHook(url, secret, clock=lambda: 1_700_000_000.9).call(CALL, QUICK)
    [(headers, body)] = asked(server)
    assert json.loads(body) == {
        "hook": "before_copy",
        "key": "m1.before_copy.1",
        "move": "m1",
        "tenant": TENANT,
        "source": SOURCE,
        "target": TARGET,
        "phase": "prepared",
        "epoch": 0,
    }
    expected = hmac.new(b"between us", b"1700000000." + body, hashlib.sha256).hexdigest()
    assert headers["X-Cellplane-Signature"] == f"t=1700000000,v1={expected}"
    assert headers["Idempotency-Key"] == "m1.before_copy.1"


def test_a_refusal_is_said_with_its_text_at_once_and_without_what_the_url_hides() -> None:
    with endpoint((409, "not\nbefore noon")) as (url, server):
        with pytest.raises(HookError, match=r"before_copy: .*/hook answered 409: not before noon") as raised:
            HttpHook(url).call(CALL, QUICK)
        assert len(asked(server)) == 1
    assert "secret" not in str(raised.value)
    assert "token" not in repr(HttpHook(url))


def test_what_may_pass_is_asked_for_again_a_few_times() -> None:
    with endpoint((503, ""), (429, ""), (200, "")) as (url, server):
        HttpHook(url).call(CALL, QUICK)
        assert len({headers["Idempotency-Key"] for headers, _ in asked(server)}) == 1
    with endpoint(*[(500, "broken")] * 4) as (url, server):
        with pytest.raises(HookError, match="answered 500: broken"):
            HttpHook(url).call(CALL, QUICK)
        assert len(asked(server)) == 4
    with pytest.raises(HookError, match="cannot be reached"):
        HttpHook("http://127.0.0.1:9/").call(CALL, QUICK)


def test_one_that_is_silent_while_writes_wait_is_given_up_after_one_try() -> None:
    with endpoint((0, "")) as (url, server):
        with pytest.raises(HookError, match=r"did not answer within 0.2 s"):
            HttpHook(url).call(CALL, replace(QUICK, held_seconds=0.2).held())
        assert len(asked(server)) == 1


def test_a_secret_that_is_empty_or_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, said in (("empty", "empty file"), ("nowhere", "cannot be read")):
        with pytest.raises(HookError, match=said):
            HttpHook("http://127.0.0.1:9/", tmp_path / name).call(CALL, QUICK)


def fine(document: dict[str, object]) -> None:
    assert document["tenant"] == TENANT


def refuses(_: dict[str, object]) -> None:
    raise RuntimeError("the ledger is open")


def hangs(_: dict[str, object]) -> None:
    threading.Event().wait(2)


def test_a_python_function_is_called_and_what_it_raises_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    PythonHook("test_hooks:fine").call(CALL, QUICK)
    with pytest.raises(HookError, match="test_hooks:refuses raised RuntimeError: the ledger is open"):
        PythonHook("test_hooks:refuses").call(CALL, QUICK)
    with pytest.raises(HookError, match=r"did not return within 0.05 s"):
        PythonHook("test_hooks:hangs").call(CALL, replace(QUICK, seconds=0.05))
    for wrong in ("test_hooks:nothing", "nowhere:fine", "test_hooks", "test_hooks:TENANT"):
        with pytest.raises(MoveError, match=r"expected package.module:function"):
            PythonHook(wrong).call(CALL, QUICK)


class Told:
    """A hook that notes its calls, and fails as it is told."""

    def __init__(self) -> None:
        self.calls: list[HookCall] = []
        self.fails: dict[str, int] = {}

    def call(self, call: HookCall, _: HookSettings) -> None:
        self.calls.append(call)
        if self.fails.get(call.hook, 0) > 0:
            self.fails[call.hook] -= 1
            raise HookError(f"{call.hook}: no")

    @property
    def names(self) -> list[str]:
        return [call.hook for call in self.calls]


class Moved:
    """A move in a made-up world, with a hook at each point."""

    def __init__(self, path: Path) -> None:
        self.world = World(lambda count: count - 1)
        self.book = WorldBook(Move("m1", TENANT, SOURCE, TARGET, True, 3.0))
        self.told = Told()
        hooks = Hooks(dict.fromkeys(NAMES, (self.told,)), FileHookRecord(path / "hooks.json"))

        def steps_of(move: Move) -> Steps:
            records = WorldRecords(self.world)
            cutover = CutoverSettings()
            mover, routes = WorldMover(self.world), WorldRoutes(self.world)
            return Steps(move, mover, routes, records, cutover, lambda: 0.0, cargo=Cargo(), hooks=hooks)

        ticks = iter(range(1, 1_000_000))
        self.driver = Driver(
            self.book,  # type: ignore[arg-type]  # as a book, in memory
            WorldRoutes(self.world),
            steps_of,
            DriverSettings(),
            lambda: float(next(ticks)),
            lambda _: self.world.happen(),
        )

    def until(self, *phases: Phase) -> None:
        for _ in range(100):
            if self.book.move.phase in phases:
                return
            self.driver.advance("m1")
        raise AssertionError(f"it stays {self.book.move.phase}")


FORTH = [
    f"{when}_{phase}" for phase in ("prepare", "copy", "follow", "verify", "fence") for when in ("before", "after")
]


@pytest.fixture
def moved(tmp_path: Path) -> Moved:
    return Moved(tmp_path)


def test_each_phase_is_asked_for_before_and_told_after_in_order(moved: Moved) -> None:
    moved.until(Phase.DONE)
    assert moved.told.names == [*FORTH, "before_flip", "after_flip", "before_release", "after_release"]
    flipped = next(call for call in moved.told.calls if call.hook == "after_flip")
    assert flipped.epoch == moved.book.move.flipped_epoch > 0
    assert len({call.key for call in moved.told.calls}) == len(moved.told.calls)


def test_an_abort_and_a_rollback_have_their_own(moved: Moved, tmp_path: Path) -> None:
    moved.until(Phase.COPIED)
    moved.book.ask("m1", Wish.ABORT)
    moved.until(Phase.ABORTED)
    assert moved.told.names[-2:] == ["before_abort", "after_abort"]
    back = Moved(tmp_path / "2")
    (tmp_path / "2").mkdir()
    back.until(Phase.FLIPPED)
    back.book.ask("m1", Wish.ROLLBACK)
    back.until(Phase.ROLLED_BACK)
    assert back.told.names[-2:] == ["before_rollback", "after_rollback"]


@pytest.mark.parametrize("hook", ["before_fence", "after_fence", "before_flip"])
def test_who_refuses_around_the_flip_leaves_the_tenant_where_it_is_with_its_writes(moved: Moved, hook: str) -> None:
    moved.told.fails[hook] = 1
    with pytest.raises(HookError, match=f"{hook}: no"):
        moved.until(Phase.DONE)
    assert moved.book.move.phase is Phase.VERIFIED
    assert moved.book.move.reason == f"{hook}: no"
    assert not moved.world.directory.holds
    assert not moved.world.stores[SOURCE].closed
    moved.until(Phase.DONE)
    repeated = [call.key for call in moved.told.calls if call.hook == hook]
    assert len(repeated) == 2
    assert len(set(repeated)) == 2, "each time that writes are held is another"


def test_what_could_not_be_told_is_told_by_whoever_goes_on_and_nothing_is_done_twice(moved: Moved) -> None:
    moved.told.fails = {"after_copy": 2, "after_flip": 1, "after_release": 1}
    failures = 0
    for _ in range(100):
        if moved.book.move.phase is Phase.DONE:
            break
        try:
            moved.driver.advance("m1")
        except HookError:
            failures += 1
    assert failures == 3, "behind the flip nobody waits for who is to be told of it"
    names = moved.told.names
    assert names.count("before_copy") == 1, "the copy was not made again"
    assert [names.count(name) for name in ("after_copy", "after_flip", "after_release")] == [3, 2, 2]
    for name in ("after_copy", "after_flip", "after_release"):
        assert len({call.key for call in moved.told.calls if call.hook == name}) == 1


def test_a_hook_that_never_can_be_told_does_not_keep_a_move_from_being_aborted(moved: Moved) -> None:
    moved.told.fails = {"after_copy": 1_000}
    with pytest.raises(HookError):
        moved.until(Phase.FOLLOWING)
    moved.book.ask("m1", Wish.ABORT)
    moved.until(Phase.ABORTED)
    assert moved.world.directory.cell == SOURCE


@pytest.mark.parametrize(("wish", "end"), [(Wish.ROLLBACK, Phase.ROLLED_BACK), (Wish.RELEASE, Phase.DONE)])
def test_who_never_can_be_told_of_the_flip_bars_neither_way_and_no_slot_stays(
    moved: Moved, wish: Wish, end: Phase
) -> None:
    moved.until(Phase.VERIFIED)
    moved.book.put(replace(moved.book.move, hold_seconds=1_000.0))
    moved.told.fails = {"after_flip": 1_000, "after_rollback": 1_000}
    moved.until(Phase.FLIPPED)
    assert moved.book.move.reason == "after_flip: no"
    before = len(moved.told.calls)
    moved.driver.advance("m1")
    assert moved.book.move.reason == "after_flip: no", "it stays to be seen"
    moved.book.ask("m1", wish)
    moved.driver.advance("m1")
    assert moved.book.move.phase is (Phase.RETURNED if wish is Wish.ROLLBACK else Phase.RELEASED)
    assert len(moved.told.calls) < before + 5
    with pytest.raises(HookError):
        moved.until(end)
    assert all(store.sends is None and store.closed is None for store in moved.world.stores.values())
    moved.told.fails = {}
    moved.until(end)
    assert moved.told.names[-1] in {"after_rollback", "after_release"}


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_each_hook_after_a_phase_was_told_in_the_end(moved: Moved, seed: int) -> None:
    rng = random.Random(seed)
    moved.told.fails = {name: rng.randrange(3) for name in NAMES}
    for _ in range(200):
        if moved.book.move.phase.is_end:
            break
        try:
            moved.driver.advance("m1")
        except HookError:
            continue
    assert moved.book.move.phase is Phase.DONE, f"seed {seed}"
    assert {f"after_{phase}" for phase in ("prepare", "copy", "follow", "verify", "fence", "flip", "release")} <= set(
        moved.told.names
    )
