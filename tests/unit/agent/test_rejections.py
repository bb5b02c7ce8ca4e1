"""What happens when the proxy refuses a table, or does not answer."""

import asyncio
from pathlib import Path

import pytest

from unit.agent.fake_control import FakeControl
from unit.agent.fake_engine import FakeEngine
from unit.agent.running import running, sha256_of, table_of


def rejecting(epoch: int, reason: str = "no such cluster") -> FakeEngine:
    engine = FakeEngine()
    engine.rejects[epoch] = reason
    return engine


def test_a_rejection_is_reported_and_a_good_table_ends_it(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, rejecting(6)) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.publish(table_of(6))
            await agent.until(lambda: bool(control.last().get("rejected")), "the rejection is reported")
            assert control.last()["rejected"] == {"epoch": 6, "reason": "no such cluster"}
            assert control.last()["epoch"] == 5
            assert agent.stored() == ["table-5.cpt"]
            assert agent.sample("cellplane_agent_tables_rejected_total", by="proxy") == 1
            assert agent.sample("cellplane_agent_applied_epoch") == 5
            control.publish(table_of(7))
            await agent.until(lambda: control.last()["epoch"] == 7, "the next table is live")
            await agent.until(lambda: control.last()["rejected"] is None, "the report is clean")
            assert agent.engine.applied == [7]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("damaged", "epoch", "reason"),
    [
        (table_of(6)[:-1], 6, "truncated"),
        (table_of(6)[:-1] + b"x", 6, "corrupt"),
        (b"<html>" * 100, 0, "not a routing table"),
        (table_of(4), 4, "epoch 4 is not newer than 5"),
        (table_of(6) + bytes(1 << 20), 0, "larger than"),
    ],
    ids=["cut", "changed", "no table", "older", "too large"],
)
def test_a_table_that_the_agent_refuses_is_reported_too(
    tmp_path: Path, control: FakeControl, damaged: bytes, epoch: int, reason: str
) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, max_table_bytes=1 << 20) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.publish(damaged)
            await agent.until(lambda: bool(control.last().get("rejected")), "the rejection is reported")
            assert reason in control.last()["rejected"]["reason"]
            assert control.last()["rejected"]["epoch"] == epoch
            assert agent.sample("cellplane_agent_tables_rejected_total", by="agent") >= 1
            control.publish(table_of(7))
            await agent.until(lambda: control.last()["rejected"] is None, "the report is clean")
            assert agent.engine.applied == [7]

    asyncio.run(scenario())


def test_a_rejected_table_is_not_fetched_in_a_loop(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, rejecting(6), poll_wait_seconds=0.1) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.publish(table_of(6))
            await agent.until(lambda: agent.engine.tried == [6], "it is tried")
            asked = len(control.asked)
            await agent.until(lambda: len(control.asked) >= asked + 3, "it waits for another")
            assert {wanted for _, wanted in control.asked[asked + 1 :]} == {f'"{sha256_of(table_of(6))}"'}
            assert agent.engine.tried == [6]

    asyncio.run(scenario())


def test_after_a_rejection_the_live_table_may_come_back(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, rejecting(6), poll_wait_seconds=0.1) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.publish(table_of(6))
            await agent.until(lambda: agent.engine.tried == [6], "it is tried")
            control.publish(table_of(5))
            live = f'"{sha256_of(table_of(5))}"'
            asked = len(control.asked)
            await agent.until(lambda: live in {wanted for _, wanted in control.asked[asked:]}, "it waits from 5 on")
            assert agent.engine.tried == [6]

    asyncio.run(scenario())


def test_a_rejected_table_is_not_what_a_restart_begins_with(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, rejecting(6)) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.publish(table_of(6))
            await agent.until(lambda: bool(control.last().get("rejected")), "it is rejected")
        async with running(tmp_path, "http://127.0.0.1:9") as agent:
            await agent.until(lambda: agent.engine.started == [5], "the last good table")

    asyncio.run(scenario())


def test_a_long_reason_is_cut_to_what_a_report_may_hold(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, rejecting(6, "r" * 9000)) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.publish(table_of(6))
            await agent.until(lambda: bool(control.last().get("rejected")), "it is reported")
            assert control.last()["rejected"]["reason"] == "r" * 2000

    asyncio.run(scenario())


def test_a_proxy_that_does_not_answer_is_asked_again(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        engine = FakeEngine()
        engine.silent = 3
        async with running(tmp_path, control.url, engine) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.publish(table_of(6))
            await agent.until(lambda: agent.engine.applied == [6], "it is taken in the end")
            assert agent.engine.tried == [6, 6, 6, 6]
            assert agent.sample("cellplane_agent_tables_rejected_total", by="proxy") == 0

    asyncio.run(scenario())


def test_a_refused_table_is_tried_again_after_a_while(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, rejecting(6), refused_retry_seconds=0.2) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.publish(table_of(6))
            await agent.until(lambda: agent.engine.tried == [6], "it is tried")
            agent.engine.rejects.clear()
            await agent.until(lambda: agent.engine.applied == [6], "the reason was a passing one")

    asyncio.run(scenario())
