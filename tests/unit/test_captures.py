"""The agent's end of what the module hands over: read, paired, compared, counted; never more than it may."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from cellplane.router.captures import SOCKET, Captures
from cellplane.router.settings import RouterSettings
from cellplane.router.shadow_metrics import ShadowMetrics

NOTHING: dict[str, int] = dict.fromkeys(("match", "mismatch", "unanswered", "too_large", "skipped"), 0)


class Clock:
    """Seconds that pass with each look, or as a test wants."""

    def __init__(self, step_seconds: float = 0.0) -> None:
        self.now = 100.0
        self._step_seconds = step_seconds

    def __call__(self) -> float:
        self.now += self._step_seconds
        return self.now


def half(pair: str, side: str, body: bytes = b"1", **more: str) -> bytes:
    said = {"pair": pair, "side": side, "tenant": "acme", "shadow": "cell-9", "type": "application/json", **more}
    said |= {"cell": "cell-1"} if side == "cell" else {}
    said |= {"status": "200", "length": str(len(body)), "digest": body.hex()}
    return "".join(f"{name}={value}\n" for name, value in said.items()).encode() + b"\n" + body


def settings_of(folder: Path, **changes: Any) -> RouterSettings:
    settings = RouterSettings(router_id="r", control_url="http://127.0.0.1:1", state_dir=folder, port=1)
    return replace(settings, **changes)


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in an event loop."""

    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


async def hear(captures: Captures, folder: Path, *datagrams: bytes) -> dict[str, Any]:
    """Tell it these, and give what it comes to for the two cells."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, str(folder / SOCKET))
            await asyncio.sleep(0.01)
    (told,) = captures.to_json() or [{}]
    return told


def counted(told: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in told.items() if value and name in NOTHING}


@in_loop
async def test_halves_become_counts_samples_and_metrics(tmp_path: Path) -> None:
    captures = Captures(tmp_path, settings_of(tmp_path), Clock(), lambda: 1_000.0)
    captures.open()
    try:
        assert (tmp_path / SOCKET).stat().st_mode & 0o777 == 0o600
        told = await hear(captures, tmp_path, half("a", "cell"), half("a", "shadow"), b"nonsense")
        assert counted(told) == {"match": 1}
        told = await hear(captures, tmp_path, half("b", "shadow", b"2"), half("b", "cell"))
        assert counted(told) == {"match": 1, "mismatch": 1}
        assert told["tenants"] == [{"tenant": "acme", **NOTHING, "match": 1, "mismatch": 1}]
        assert [sample["at"] for sample in told["samples"]] == [1_000.0]
        registry = CollectorRegistry()
        registry.register(ShadowMetrics(captures.report))
        labels = {"cell": "cell-1", "shadow": "cell-9", "outcome": "mismatch"}
        assert registry.get_sample_value("cellplane_router_shadow_comparisons_total", labels) == 1
    finally:
        captures.close()
    assert not (tmp_path / SOCKET).exists()


@in_loop
async def test_what_nobody_else_answers_is_counted_in_time(tmp_path: Path) -> None:
    clock = Clock()
    captures = Captures(tmp_path, settings_of(tmp_path, compare_wait_seconds=20), clock)
    captures.open()
    try:
        assert await hear(captures, tmp_path, half("a", "cell")) == {}
        clock.now += 20
        assert captures.waiting_seconds == 20
        told = await hear(captures, tmp_path)
        assert captures.waiting_seconds == 0
        assert counted(told) == {"unanswered": 1}
        assert told["tenants"] == [{"tenant": "acme", **NOTHING, "unanswered": 1}]
    finally:
        captures.close()


@in_loop
async def test_comparing_takes_a_part_of_the_time_and_skips_the_rest(tmp_path: Path) -> None:
    clock = Clock(step_seconds=0.02)
    captures = Captures(tmp_path, settings_of(tmp_path, compare_share=0.1, compare_burst_seconds=0.1), clock)
    captures.open()
    try:
        pairs = [half(str(number), side) for number in range(40) for side in ("cell", "shadow")]
        report = await hear(captures, tmp_path, *pairs)
        told = counted(report)
        assert report["tenants"] == [{"tenant": "acme", **NOTHING, **told}]
        assert told["match"] + told["skipped"] == 40
        assert 5 <= told["match"] <= 25
        clock.now += 10
        again = counted(await hear(captures, tmp_path, half("x", "cell"), half("x", "shadow")))
        assert again["match"] == told["match"] + 1
    finally:
        captures.close()


@in_loop
async def test_what_an_agent_that_died_left_behind_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        left.bind(str(tmp_path / SOCKET))
    captures = Captures(tmp_path, settings_of(tmp_path), Clock())
    captures.open()
    try:
        assert counted(await hear(captures, tmp_path, half("a", "cell"), half("a", "shadow"))) == {"match": 1}
    finally:
        captures.close()


@in_loop
async def test_its_folder_may_have_a_path_longer_than_a_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long" * 40)
    captures = Captures(folder, settings_of(tmp_path), Clock())
    captures.open()
    try:
        monkeypatch.chdir(folder)
        assert counted(await hear(captures, Path(), half("a", "cell"), half("a", "shadow"))) == {"match": 1}
    finally:
        captures.close()
