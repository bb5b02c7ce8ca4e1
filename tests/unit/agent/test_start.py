"""How an agent begins: on the last good table, or, the first time, on the first that it is given."""

import asyncio
from pathlib import Path

import pytest

from cellplane.errors import RouterError
from cellplane.router.tables import version_of
from cellplane.routing import RoutingTable
from unit.agent import fake_control
from unit.agent.fake_control import FakeControl, Misbehaviour
from unit.agent.fake_engine import FakeEngine
from unit.agent.running import running, table_of

DEAD = "http://127.0.0.1:9"


def test_a_first_start_waits_for_a_table_and_then_starts_the_proxy(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        async with running(tmp_path, control.url, poll_wait_seconds=0.0) as agent:
            await agent.until(lambda: len(control.asked) > 3, "it asks again while there is no table")
            assert agent.engine.started == []
            assert all(wanted is None for _, wanted in control.asked)
            control.publish(table_of(7))
            await agent.until(lambda: agent.engine.started == [7], "the proxy starts")
            assert agent.stored() == ["table-7.cpt"]
            assert agent.sample("cellplane_agent_table_failures_total") >= 3
            await agent.until(lambda: agent.sample("cellplane_agent_applied_epoch") == 7, "it is live")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "misbehave",
    [
        fake_control.status(500),
        fake_control.status(302),
        fake_control.body(b""),
        fake_control.body(b"garbage"),
        fake_control.body(table_of(3)[:-64]),
        fake_control.cut_short(table_of(3)),
        fake_control.close,
        fake_control.no_http,
        fake_control.hang,
    ],
    ids=["500", "302", "empty", "garbage", "truncated", "cut short", "closes", "no http", "hangs"],
)
def test_a_first_start_outlasts_a_bad_control_plane(
    tmp_path: Path, control: FakeControl, misbehave: Misbehaviour
) -> None:
    async def scenario() -> None:
        control.turn(misbehave)
        async with running(tmp_path, control.url, poll_wait_seconds=0.1, fetch_timeout_seconds=0.1) as agent:
            await agent.until(lambda: len(control.asked) >= 2, "it asks again")
            assert agent.engine.started == []
            assert agent.stored() == []
            control.publish(table_of(3))
            await agent.until(lambda: agent.engine.started == [3], "the proxy starts")

    asyncio.run(scenario())


def test_a_first_start_outlasts_not_modified(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.turn(fake_control.status(304))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: len(control.asked) >= 2, "it asks again")

    asyncio.run(scenario())


def test_with_the_control_plane_dead_it_starts_from_disk(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(7))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.started == [7], "the proxy starts")
        async with running(tmp_path, DEAD) as agent:
            await agent.until(lambda: agent.engine.started == [7], "the proxy starts without a control plane")
            await agent.until(lambda: agent.sample("cellplane_agent_table_failures_total") > 2, "it goes on trying")
            assert agent.engine.alive()

    asyncio.run(scenario())


def test_after_a_start_from_disk_it_catches_up(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(7))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.started == [7], "the proxy starts")
        control.publish(table_of(9))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.applied == [9], "the newer table is live")
            assert agent.engine.started == [7]

    asyncio.run(scenario())


def test_a_proxy_that_does_not_come_up_is_an_error(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        engine.start_failures = 1
        control.publish(table_of(7))
        async with running(tmp_path, control.url, engine) as agent:
            with pytest.raises(RouterError, match="come up"):
                await asyncio.wait_for(asyncio.shield(agent.task), 5)
        assert engine.stops == 0, "what an earlier agent left serving goes on"

    asyncio.run(scenario())


def test_a_first_table_that_the_proxy_cannot_start_with_gives_way_to_the_next(
    tmp_path: Path, control: FakeControl
) -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        engine.start_failures = 1
        control.publish(table_of(7))
        async with running(tmp_path, control.url, engine) as agent:
            await asyncio.wait([agent.task], timeout=5)
        control.publish(table_of(8))
        # The agent is started again by its supervisor. The proxy can work with 8 alone.
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: bool(agent.engine.started), "the proxy starts")
            assert agent.engine.started == [8]

    asyncio.run(scenario())


def test_it_goes_on_with_what_the_last_proxy_switched_to(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(7))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.started == [7], "the proxy starts")
        # As a dead agent leaves it: stored and switched to, but not noted.
        (tmp_path / "tables" / "table-8.cpt").write_bytes(table_of(8))
        engine = FakeEngine()
        engine.left_behind = version_of(RoutingTable(table_of(8)))
        async with running(tmp_path, DEAD, engine) as agent:
            await agent.until(lambda: agent.engine.started == [8], "it does not go back")

    asyncio.run(scenario())


@pytest.mark.parametrize("version", ["6-0123456789abcdef", "8-0123456789abcdef", "rubbish", "9-0123456789abcdef"])
def test_a_version_that_is_older_unknown_or_other_bytes_is_passed_over(
    tmp_path: Path, control: FakeControl, version: str
) -> None:
    async def scenario() -> None:
        for epoch in (6, 7):
            control.publish(table_of(epoch))
            async with running(tmp_path, control.url) as agent:
                await agent.until(lambda epoch=epoch: agent.engine.epoch == epoch, "it is live")  # type: ignore[misc]
                await agent.until(lambda: bool(control.last()), "it is noted")
        (tmp_path / "tables" / "table-8.cpt").write_bytes(table_of(8))
        engine = FakeEngine()
        engine.left_behind = version
        async with running(tmp_path, DEAD, engine) as agent:
            await agent.until(lambda: agent.engine.started == [7], "it starts with what was live")

    asyncio.run(scenario())


def test_a_live_table_that_the_proxy_no_longer_starts_with_gives_way_to_a_newer(
    tmp_path: Path, control: FakeControl
) -> None:
    async def scenario() -> None:
        control.publish(table_of(7))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.started == [7], "the proxy starts")
            await agent.until(lambda: bool(control.last()), "it is noted")
        control.publish(table_of(8))
        engine = FakeEngine()
        engine.cannot_start_with = {7}
        async with running(tmp_path, control.url, engine) as agent:
            await agent.until(lambda: agent.engine.started == [8], "it starts with the next")

    asyncio.run(scenario())


def test_a_damaged_live_table_is_fetched_again_rather_than_an_older_one_taken(
    tmp_path: Path, control: FakeControl
) -> None:
    async def scenario() -> None:
        for epoch in (6, 7):
            control.publish(table_of(epoch))
            async with running(tmp_path, control.url) as agent:
                await agent.until(lambda epoch=epoch: agent.engine.epoch == epoch, "it is live")  # type: ignore[misc]
                await agent.until(lambda epoch=epoch: control.last().get("epoch") == epoch, "it is noted")  # type: ignore[misc]
        (tmp_path / "tables" / "table-7.cpt").write_bytes(b"damaged")
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.started == [7], "the control plane still has it")
        (tmp_path / "tables" / "table-7.cpt").write_bytes(b"damaged")
        async with running(tmp_path, DEAD) as agent:
            await agent.until(lambda: agent.engine.started == [6], "an older table is better than none")

    asyncio.run(scenario())
