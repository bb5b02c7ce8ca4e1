"""How full a cell is, as it gathers it by itself."""

import asyncio
import logging
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from psycopg_pool import ConnectionPool
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from cellplane.capacity.exposition import read_metrics
from cellplane.capacity.metrics import Resource
from cellplane.cell import CellLoad, CellUse
from cellplane.cell.telemetry import CellRegistry, CpuRatio, UseCollector, UseWatch
from cellplane.cell.telemetry.use import pool_use
from e2e_app.servers import eventually


def test_what_several_know_is_put_together() -> None:
    watch = UseWatch(
        lambda: CellUse(connections=5, connections_limit=10),
        lambda: CellUse(storage_bytes=2.0**30),
        lambda: CellUse(connections=6),
        queue_lag=lambda: 12.5,
    )
    assert watch.use() == CellUse(), "nothing is known before the first look"
    watch.look()
    assert watch.use() == CellUse(connections=6, connections_limit=10, storage_bytes=2.0**30)
    assert watch.load() == CellLoad(12.5, None)


def test_what_cannot_be_known_is_left_out_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    fails = True

    def ask() -> CellUse:
        if fails:
            raise ConnectionError("no database")
        return CellUse(tenants=3)

    watch = UseWatch(ask, lambda: CellUse(connections=1), queue_lag=lambda: 1 / 0)
    watch.look()
    watch.look()
    assert watch.use() == CellUse(connections=1)
    assert watch.load() == CellLoad(None, None)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    fails = False
    watch.look()
    assert watch.use() == CellUse(connections=1, tenants=3)


def test_it_looks_by_itself() -> None:
    asked: list[int] = []

    def ask() -> CellUse:
        asked.append(1)
        return CellUse(tenants=len(asked))

    watch = UseWatch(ask, look_seconds=0.01)
    watch.start()
    eventually("it looks again", lambda: (watch.use().tenants or 0) > 2, 10)
    watch.stop()


def test_the_control_plane_reads_what_is_told() -> None:
    registry = CellRegistry("cell-3")
    use = CellUse(cpu_ratio=0.5, storage_bytes=3 * 2.0**30, storage_limit_bytes=4 * 2.0**30, tenants=float("nan"))
    registry.register(UseCollector(lambda: use))
    found = read_metrics("cell-3", generate_latest(registry).decode(), 0.0)
    assert found.uses[Resource.CPU].used == 0.5
    assert (found.uses[Resource.STORAGE].used, found.uses[Resource.STORAGE].limit) == (3.0, 4.0)
    assert Resource.TENANTS not in found.uses


def test_pools_say_how_much_of_them_is_used(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/a", pool_size=4, max_overflow=0)
    with engine.connect(), engine.connect(), engine.connect():
        assert pool_use([engine]) == 0.75
    assert pool_use([engine]) == 0.0
    engine.dispose()
    unlimited = create_engine(f"sqlite:///{tmp_path}/a", pool_size=2, max_overflow=-1)
    with unlimited.connect():
        assert pool_use([unlimited]) == 0.5
    unlimited.dispose()
    pool = ConnectionPool("host=127.0.0.1 port=1", min_size=0, max_size=4, open=False)
    assert pool_use([pool]) == 0.0
    assert pool_use([object()]) is None
    asynchronous = create_async_engine("postgresql+psycopg://127.0.0.1:1/none", pool_size=2, max_overflow=2)
    assert pool_use([asynchronous, pool]) == 0.0
    asyncio.run(asynchronous.dispose())


def test_the_processor_time_of_a_process_is_a_share_of_what_its_cell_has() -> None:
    now, used = [10.0], [1.0]
    ratio = CpuRatio(2.0, lambda: now[0], lambda: used[0])
    now[0], used[0] = 14.0, 3.0
    assert ratio() == CellUse(cpu_ratio=0.25)
    assert ratio() == CellUse(), "no time has passed"
    now[0], used[0] = 15.0, 9.0
    assert ratio() == CellUse(cpu_ratio=1.0)
