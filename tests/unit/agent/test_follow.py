"""How an agent follows what is published, and what it does not take."""

import asyncio
from pathlib import Path

import pytest

from unit.agent import fake_control
from unit.agent.fake_control import FakeControl, Misbehaviour
from unit.agent.running import running, sha256_of, table_of


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_epochs_are_applied_in_order_and_only_the_last_are_kept(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(1))
        async with running(tmp_path, control.url, kept_tables=2) as agent:
            await agent.until(lambda: agent.engine.epoch == 1, "the first table")
            for epoch in (2, 3, 5):
                control.publish(table_of(epoch))
                await agent.until(lambda epoch=epoch: agent.engine.epoch == epoch, "the next table")  # type: ignore[misc]
            assert agent.engine.started == [1]
            assert agent.engine.applied == [2, 3, 5]
            await agent.until(lambda: agent.sample("cellplane_agent_applied_epoch") == 5, "it is live")
            assert agent.stored() == ["table-3.cpt", "table-5.cpt"]
            assert agent.sample("cellplane_agent_tables_applied_total") == 4
            assert agent.sample("cellplane_agent_table_failures_total") == 0

    asyncio.run(scenario())


def test_it_asks_with_the_checksum_of_what_is_live(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(1))
        async with running(tmp_path, control.url, poll_wait_seconds=0.05) as agent:
            await agent.until(lambda: len(control.asked) >= 3, "it waits again and again")
            assert {wanted for _, wanted in control.asked[1:]} == {f'"{sha256_of(table_of(1))}"'}
            assert agent.engine.applied == []

    asyncio.run(scenario())


@pytest.mark.parametrize("data", [table_of(4), table_of(5, port=9999)], ids=["older", "same epoch, other bytes"])
def test_a_table_that_is_not_newer_is_refused_and_reported(tmp_path: Path, control: FakeControl, data: bytes) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.publish(data)
            await agent.until(lambda: bool(control.last().get("rejected")), "the refusal is reported")
            rejected = control.last()["rejected"]
            assert rejected["epoch"] in {4, 5}
            assert "not newer than 5" in rejected["reason"]
            assert control.last()["epoch"] == 5
            assert control.last()["sha256"] == sha256_of(table_of(5))
            assert agent.engine.tried == []
            assert agent.stored() == ["table-5.cpt"]
            assert (tmp_path / "tables" / "table-5.cpt").read_bytes() == table_of(5)
            assert agent.sample("cellplane_agent_tables_rejected_total", by="agent") >= 1
            control.publish(table_of(6))
            await agent.until(lambda: agent.engine.applied == [6], "a newer one is taken")
            await agent.until(
                lambda: control.last()["epoch"] == 6 and control.last()["rejected"] is None, "all is well again"
            )

    asyncio.run(scenario())


def test_a_control_plane_that_comes_back_to_the_live_table_ends_the_complaint(
    tmp_path: Path, control: FakeControl
) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, poll_wait_seconds=0.1) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.publish(table_of(4))
            await agent.until(lambda: bool(control.last().get("rejected")), "the refusal is reported")
            control.publish(table_of(5))
            await agent.until(lambda: control.last()["rejected"] is None, "the complaint ends")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "misbehave",
    [
        fake_control.body(b""),
        fake_control.body(b"garbage" * 1000),
        fake_control.body(table_of(6)[:-64]),
        fake_control.body(table_of(6) + bytes(64)),
        fake_control.body(flipped(table_of(6), 8)),
        fake_control.body(flipped(table_of(6), 16)),
        fake_control.body(flipped(table_of(6), -1 + len(table_of(6)))),
        fake_control.cut_short(table_of(6)),
        fake_control.status(500),
        fake_control.status(404),
        fake_control.close,
        fake_control.no_http,
        fake_control.hang,
    ],
    ids=[
        "empty",
        "garbage",
        "truncated",
        "extended",
        "other version",
        "flipped epoch",
        "flipped end",
        "cut short",
        "500",
        "404",
        "closes",
        "no http",
        "hangs",
    ],
)
def test_whatever_it_is_sent_the_live_table_goes_on(
    tmp_path: Path, control: FakeControl, misbehave: Misbehaviour
) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, poll_wait_seconds=0.1, fetch_timeout_seconds=0.1) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.turn(misbehave)
            await agent.until(lambda: agent.sample("cellplane_agent_table_failures_total") >= 2, "it is refused")
            assert agent.engine.alive()
            assert agent.engine.tried == []
            assert agent.stored() == ["table-5.cpt"]
            control.publish(table_of(6))
            await agent.until(lambda: agent.engine.applied == [6], "it recovers")

    asyncio.run(scenario())


def test_a_table_beyond_the_limit_is_not_taken(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, max_table_bytes=len(table_of(5))) as agent:
            await agent.until(lambda: agent.engine.started == [5], "a table at the limit is taken")
            control.publish(table_of(6) + b"x")
            await agent.until(lambda: agent.sample("cellplane_agent_table_failures_total") >= 1, "it is refused")
            assert agent.engine.tried == []
            assert agent.sample("cellplane_agent_tables_rejected_total", by="agent") >= 1

    asyncio.run(scenario())
