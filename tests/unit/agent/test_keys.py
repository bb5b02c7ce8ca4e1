"""Files of keys on the router's disk: followed while it runs, and never a reason to stop."""

import asyncio
from pathlib import Path

import pytest

from cellplane.errors import RouterError
from cellplane.router.engine import TableRejectedError
from unit.agent.fake_control import FakeControl
from unit.agent.running import running, table_of


def test_changed_keys_are_taken_and_failures_are_counted_and_said_once(
    tmp_path: Path, control: FakeControl, capfd: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            refused = [TableRejectedError("no such key"), TableRejectedError("no such key"), RouterError("silent")]
            agent.engine.keys += [*refused, OSError("disk full"), True]
            await agent.until(lambda: not agent.engine.keys, "all were looked at")
            before = agent.engine.refreshes
            await agent.until(lambda: agent.engine.refreshes > before, "it goes on looking")
            assert agent.sample("cellplane_agent_key_failures_total") == 4
            control.publish(table_of(6))
            await agent.until(lambda: agent.engine.applied == [6], "tables are taken meanwhile")

    asyncio.run(scenario())
    said = capfd.readouterr().err
    assert [said.count(word) for word in ("no such key", "silent", "disk full", "keys_live")] == [1, 1, 1, 1]
