"""An agent at work on a fake proxy, with intervals that suit a test."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from cellplane.model import Cell, Fleet, Pool, Tenant, Topology
from cellplane.router.agent import Agent
from cellplane.router.metrics import AgentMetrics
from cellplane.router.settings import RouterSettings
from cellplane.router.sources import Sources
from cellplane.router.trust import TrustedKeys
from cellplane.routing import (
    PlacedTenants,
    RoutingTable,
    compile_overlay,
    compile_table,
    encode,
    encode_overlay,
)
from unit.agent.fake_engine import FakeEngine


@cache
def table_of(epoch: int, port: int = 8001) -> bytes:
    """A table of this epoch; another port makes other bytes."""
    cells = (Cell("cell-1", "127.0.0.1", port),)
    return encode(compile_table(Topology(Fleet("shop"), cells, (Pool("default", ("cell-1",)),)), epoch))


def overlay_on(base: bytes, epoch: int, tenant: str = "acme") -> bytes:
    """A base, followed by an overlay that pins a tenant."""
    table = RoutingTable(base)
    cells = tuple(Cell(cell.id, cell.address, cell.port) for cell in table.cells)
    fleet = Topology(Fleet("shop"), cells, (Pool("default", tuple(cell.id for cell in cells)),))
    pinned = PlacedTenants.of(replace(fleet, tenants=(Tenant(tenant, ("cell-1",)),)))
    return base + encode_overlay(compile_overlay(fleet, (table.epoch, table.sha256), epoch, pinned, ()))


def sha256_of(data: bytes) -> str:
    return RoutingTable(data).sha256


@dataclass
class Running:
    """An agent, its proxy, and the task that it runs in."""

    engine: FakeEngine
    metrics: AgentMetrics
    task: asyncio.Task[None]
    tables: Path

    async def until(self, condition: Callable[[], bool], what: str, *, seconds: float = 30.0) -> None:
        """Wait until something is so; an agent that ends before is a failure."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition():
            if self.task.done():
                self.task.result()
                raise AssertionError(f"the agent ended before: {what}")
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0

    def stored(self) -> list[str]:
        return sorted(path.name for path in self.tables.glob("*.cpt"))


@asynccontextmanager
async def running(state: Path, url: str, engine: FakeEngine | None = None, **overrides: Any) -> AsyncIterator[Running]:
    """Run an agent; overrides are of its settings."""
    engine = engine or FakeEngine()
    quick: dict[str, Any] = {
        "poll_wait_seconds": 0.5,
        "fetch_timeout_seconds": 20.0,
        "transfer_timeout_seconds": 20.0,
        "poll_interval_seconds": 0.05,
        "retry_base_seconds": 0.01,
        "retry_cap_seconds": 0.04,
        "report_interval_seconds": 0.03,
        "report_timeout_seconds": 20.0,
        "watch_interval_seconds": 0.01,
        "restart_pause_seconds": 0.01,
        "local_files_seconds": 0.01,
    }
    settings = RouterSettings(router_id="router-1", control_url=url, state_dir=state, port=1, **{**quick, **overrides})
    metrics = AgentMetrics()
    rng, trust = random.Random(1), TrustedKeys.of(settings, time.time)
    agent = Agent(settings, engine, Sources.of(settings, trust, rng), trust, metrics, rng=rng)
    task = asyncio.create_task(agent.run())
    found = Running(engine, metrics, task, state / "tables")
    try:
        yield found
    finally:
        await found.stop()
