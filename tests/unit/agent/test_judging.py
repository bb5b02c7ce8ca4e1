"""The agent judges cells by the board, and tells what it thinks of them."""

import asyncio
from pathlib import Path

from cellplane.router.board import BreakerState
from cellplane.routing import RoutingTable
from unit.agent.fake_control import FakeControl
from unit.agent.fake_engine import FakeEngine
from unit.agent.running import running, table_of
from unit.boards import board_of


def test_what_is_thought_of_cells_is_reported_and_shown(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        engine = FakeEngine()
        engine.board = board_of(tmp_path, RoutingTable(table_of(5)))
        async with running(tmp_path / "state", control.url, engine, judge_interval_seconds=0.01) as agent:
            await agent.until(lambda: bool(control.reports) and "score" in control.last()["cells"]["cell-1"], "a score")
            expected = {"hosts": 1, "healthy_hosts": 1, "score": 100.0, "breaker": "closed", "gray": False}
            assert control.last()["cells"] == {"cell-1": expected}
            assert agent.sample("cellplane_router_cell_health_score", cell="cell-1") == 100

    asyncio.run(scenario())


def test_a_board_of_the_next_table_is_left_alone_until_that_is_live(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        engine = FakeEngine()
        # What a proxy has while it switches: the board of a table that the agent does not call live yet.
        board = engine.board = board_of(tmp_path, RoutingTable(table_of(6)))
        board.set_breaker("cell-1", BreakerState.OPEN)
        async with running(tmp_path / "state", control.url, engine, judge_interval_seconds=0.01) as agent:
            await agent.until(lambda: len(control.reports) > 3, "it goes on")
            assert "score" not in control.last()["cells"]["cell-1"]
            assert board.breaker("cell-1") == (BreakerState.OPEN, 0.0)
            control.publish(table_of(6))
            await agent.until(lambda: board.breaker("cell-1")[0] is BreakerState.CLOSED, "it is judged")

    asyncio.run(scenario())
