"""Nothing that a control plane or a disk does makes the agent spin or fall."""

import asyncio
import time
from pathlib import Path

import pytest

from unit.agent import fake_control
from unit.agent.fake_control import FakeControl
from unit.agent.running import Running, running, table_of


async def requests_per_second(control: FakeControl, seconds: float) -> float:
    before, began = len(control.asked), time.monotonic()
    await asyncio.sleep(seconds)
    return (len(control.asked) - before) / (time.monotonic() - began)


async def require_it_still_asks(agent: Running, control: FakeControl) -> None:
    before = len(control.asked)
    await agent.until(lambda: len(control.asked) > before, "it asks again")


def test_a_failing_control_plane_is_asked_no_more_often_than_the_cap_allows(
    tmp_path: Path, control: FakeControl
) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, retry_base_seconds=0.05, retry_cap_seconds=0.2) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.turn(fake_control.status(500))
            await agent.until(lambda: agent.sample("cellplane_agent_table_failures_total") >= 5, "the cap is reached")
            # With full jitter the mean pause is half of the cap: 10 in a second.
            assert await requests_per_second(control, 1.0) <= 25
            await require_it_still_asks(agent, control)

    asyncio.run(scenario())


def test_a_first_start_without_a_control_plane_does_not_spin(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.turn(fake_control.status(503))
        async with running(tmp_path, control.url, retry_base_seconds=0.05, retry_cap_seconds=0.2) as agent:
            await agent.until(lambda: agent.sample("cellplane_agent_table_failures_total") >= 5, "the cap is reached")
            assert await requests_per_second(control, 1.0) <= 25
            await require_it_still_asks(agent, control)

    asyncio.run(scenario())


@pytest.mark.parametrize("answer", ["not modified", "the same table"])
def test_a_control_plane_that_does_not_wait_does_not_make_the_agent_spin(
    tmp_path: Path, control: FakeControl, answer: str
) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, retry_base_seconds=0.05, retry_cap_seconds=0.2) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            same = fake_control.body(table_of(5)) if answer == "the same table" else fake_control.status(304)
            control.turn(same)
            await agent.until(lambda: len(control.asked) >= 5, "it asks")
            assert await requests_per_second(control, 0.5) <= 50

    asyncio.run(scenario())


def test_an_answer_that_never_ends_is_given_up(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, poll_wait_seconds=0.1, transfer_timeout_seconds=0.3) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.turn(fake_control.trickle)
            asked = len(control.asked)
            await agent.until(lambda: len(control.asked) >= asked + 3, "it asks again")

    asyncio.run(scenario())


@pytest.mark.parametrize("name", [".table-6.cpt.new", ".live.json.new"])
def test_a_disk_that_takes_no_file_leaves_the_live_table_serving(
    tmp_path: Path, control: FakeControl, name: str
) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: control.last().get("epoch") == 5, "the first table")
            # A folder in the way: opening the file fails, also for root.
            obstacle = tmp_path / "tables" / name
            obstacle.mkdir()
            control.publish(table_of(6))
            asked = len(control.asked)
            await agent.until(lambda: len(control.asked) >= asked + 2, "it tries again")
            assert agent.engine.alive()
            obstacle.rmdir()
            await agent.until(lambda: control.last()["epoch"] == 6, "it recovers")

    asyncio.run(scenario())
