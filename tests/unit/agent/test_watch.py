"""A proxy never stays down, and never outlives its agent's orderly end."""

import asyncio
from pathlib import Path

from unit.agent import fake_control
from unit.agent.fake_control import FakeControl
from unit.agent.running import running, table_of


def test_a_dead_proxy_is_started_again_with_the_live_table(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.publish(table_of(6))
            await agent.until(lambda: control.last().get("epoch") == 6, "the next table")
            agent.engine.die()
            await agent.until(lambda: agent.engine.started == [5, 6], "it is started again")
            assert agent.sample("cellplane_agent_proxy_restarts_total") == 1
            control.publish(table_of(7))
            await agent.until(lambda: agent.engine.applied == [6, 7], "it goes on")

    asyncio.run(scenario())


def test_a_proxy_that_does_not_come_up_again_is_tried_until_it_does(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            agent.engine.start_failures = 3
            agent.engine.die()
            await agent.until(lambda: agent.engine.started == [5, 5], "it is up in the end")
            assert agent.engine.starts_tried == 5

    asyncio.run(scenario())


def test_a_dead_proxy_is_started_again_without_a_control_plane(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.turn(fake_control.hang)
            control.report_misbehave = fake_control.hang
            agent.engine.die()
            await agent.until(lambda: agent.engine.started == [5, 5], "it is started again")

    asyncio.run(scenario())


def test_cancelling_stops_the_proxy(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            agent.task.cancel()
            await asyncio.wait([agent.task], timeout=5)
            assert agent.task.cancelled()
            assert agent.engine.stops == 1
            assert not agent.engine.alive()

    asyncio.run(scenario())


def test_cancelling_ends_an_agent_that_waits_for_its_first_table(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.turn(fake_control.hang)
        async with running(tmp_path, control.url, fetch_timeout_seconds=30) as agent:
            await agent.until(lambda: len(control.asked) == 1, "it asks")
            agent.task.cancel()
            await asyncio.wait([agent.task], timeout=5)
            assert agent.task.cancelled()
            assert agent.engine.started == []
            assert agent.engine.stops == 1

    asyncio.run(scenario())


def test_a_proxy_that_hangs_is_started_again(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, hung_seconds=0.2) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            await asyncio.sleep(0.4)
            assert agent.engine.kills == 0, "one that answers is left alone"
            agent.engine.state_fails = True
            await agent.until(lambda: agent.engine.kills == 1, "it is given up")
            agent.engine.state_fails = False
            await agent.until(lambda: agent.engine.started == [5, 5], "it is started again")
            assert agent.sample("cellplane_agent_proxy_restarts_total") >= 1

    asyncio.run(scenario())
