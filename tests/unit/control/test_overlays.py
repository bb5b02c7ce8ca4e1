"""Small changes are published without their base, and say the same as a table that is compiled at once."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cellplane.control import publisher as module
from cellplane.control.publication import CompiledBase, Publication, compile_base, compile_publication
from cellplane.model import Cell, Fleet, Pool, Tenant, TenantState
from cellplane.routing import RoutingTable, compile_table, decide, encode, split_publication
from support.directory import Directory
from unit.control.serving import Api, leading
from unit.control.test_publisher import Running

CELLS = ("cell-1", "cell-2", "cell-3")
TENANTS = [f"tenant-{number}" for number in range(12)]


@pytest.fixture
def directory(location: Path | str) -> Iterator[Directory]:
    directory = Directory(location)
    directory.put_fleet(Fleet("shop"), actor="test")
    for number, cell in enumerate(CELLS):
        directory.put_cell(Cell(cell, "127.0.0.1", 8001 + number), actor="test")
    directory.put_pool(Pool("default", CELLS), actor="test")
    for tenant in TENANTS:
        directory.put_tenant(Tenant(tenant, ("cell-1",)), actor="test")
    yield directory
    directory.close()


def says(table: RoutingTable) -> list[object]:
    """What a table says of every tenant, but its epoch."""
    decisions = [
        decide(table, key.encode(), writes=writes, has_healthy_host=lambda _cell: True)
        for key in (*TENANTS, "new", "nobody")
        for writes in (False, True)
    ]
    return [(getattr(each, "code", None), getattr(each, "shard", None)) for each in decisions]


def whole(directory: Directory) -> RoutingTable:
    found = directory.topology()
    assert found is not None
    return RoutingTable(encode(compile_table(*found)))


def next_of(directory: Directory, current: Publication | None, base: CompiledBase | None = None) -> Publication:
    base = base or (None if current is None else current.base)
    publication = compile_publication(directory, leading(directory), current, base)
    assert publication is not None
    return publication


def test_changes_of_tenants_stand_on_the_base(directory: Directory) -> None:
    first = next_of(directory, None)
    directory.put_tenant(Tenant("tenant-1", ("cell-2",)), actor="test")
    directory.put_tenant(Tenant("tenant-2", (), TenantState.SUSPENDED), actor="test")
    directory.put_tenant(Tenant("tenant-3"), actor="test")
    directory.put_tenant(Tenant("new", ("cell-3", "cell-1")), actor="test")
    directory.delete_tenant("tenant-4", actor="test")
    second = next_of(directory, first)
    assert second.base is first.base
    assert second.overlay_tenants == 5
    assert len(second.overlay) < 2_000 < len(second.base.data)
    assert second.epoch == directory.epoch() == first.epoch + 5
    assert says(second.table) == says(whole(directory))
    directory.put_tenant(Tenant("tenant-4", ("cell-3",)), actor="test")
    third = next_of(directory, second)
    assert third.base is first.base
    assert third.overlay_tenants == 5, "an overlay has all changes since its base, each tenant once"
    assert says(third.table) == says(whole(directory))
    assert compile_publication(directory, leading(directory), third, third.base) is None, "nothing is new"


def test_a_change_of_the_fleet_makes_a_base(directory: Directory) -> None:
    first = next_of(directory, None)
    directory.put_cell(Cell("cell-4", "127.0.0.1", 8004), actor="test")
    second = next_of(directory, first)
    assert second.base is not first.base
    assert second.overlay == b""
    assert second.epoch == directory.epoch()


def test_more_tenants_than_an_overlay_may_have_make_a_base(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellplane.control.publication.MAX_OVERLAY_TENANTS", 2)
    first = next_of(directory, None)
    for tenant in TENANTS[:2]:
        directory.put_tenant(Tenant(tenant, ("cell-3",)), actor="test")
    second = next_of(directory, first)
    assert second.base is first.base
    directory.put_tenant(Tenant(TENANTS[2], ("cell-3",)), actor="test")
    third = next_of(directory, second)
    assert third.overlay == b""
    assert says(third.table) == says(whole(directory))


def test_a_folded_base_never_gives_an_epoch_two_contents(directory: Directory) -> None:
    first = next_of(directory, None)
    directory.put_tenant(Tenant("tenant-1", ("cell-2",)), actor="test")
    second = next_of(directory, first)
    folded = compile_base(directory)
    assert folded is not None
    assert folded.table.epoch == second.epoch, "as where nothing changes while it is made"
    third = next_of(directory, second, folded)
    assert third.base is folded
    assert third.epoch > second.epoch
    assert says(third.table) == says(second.table)
    directory.put_tenant(Tenant("tenant-5", ("cell-2",)), actor="test")
    fourth = next_of(directory, third)
    assert fourth.base is folded
    assert says(fourth.table) == says(whole(directory))


def test_a_restart_goes_on_with_another_epoch(directory: Directory) -> None:
    first = next_of(directory, None)
    directory.put_tenant(Tenant("tenant-1", ("cell-2",)), actor="test")
    second = next_of(directory, first)
    again = next_of(directory, None)
    assert again.epoch > second.epoch
    assert says(again.table) == says(second.table)


def test_overlays_are_folded_in_the_background(directory: Directory) -> None:
    async def scenario() -> None:
        # Without guard rails: on a busy machine all changes are one publication, which they would hold.
        async with Running(directory, fold_tenants=3, guard_rails=None) as running:
            await running.until(lambda: running.epoch() > 0, "the first table")
            first = running.publisher.require_current()
            for tenant in TENANTS:
                directory.put_tenant(Tenant(tenant, ("cell-3",)), actor="test")
                running.publisher.notify()
                await asyncio.sleep(0.005)
            await running.until(
                lambda: (
                    running.epoch() >= directory.epoch()
                    and running.publisher.require_current().base is not first.base
                    and running.publisher.require_current().overlay_tenants <= 3
                ),
                "a new base",
            )
            assert says(running.publisher.require_current().table) == says(whole(directory))
            assert running.sample("cellplane_publish_failures_total") == 0

    asyncio.run(scenario())


def test_a_fold_that_ends_while_something_is_published_is_used(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, go_on, folded = threading.Event(), threading.Event(), threading.Event()
    holding = False

    def hold(*arguments: Any) -> Publication | None:
        publication = compile_publication(*arguments)
        if holding:
            held.set()
            assert go_on.wait(60)
        return publication

    def fold(of: Directory) -> CompiledBase | None:
        # Ends only while a publication is under way.
        assert held.wait(60)
        base = compile_base(of)
        folded.set()
        return base

    monkeypatch.setattr(module, "compile_publication", hold)
    monkeypatch.setattr(module, "compile_base", fold)

    async def scenario() -> None:
        nonlocal holding
        async with Running(directory, fold_tenants=0) as running:
            await running.until(lambda: running.epoch() > 0, "the first table")
            first = running.publisher.require_current()
            directory.put_tenant(Tenant(TENANTS[0], ("cell-3",)), actor="test")
            running.publisher.notify()
            await running.until(lambda: running.epoch() == directory.epoch(), "an overlay, and a fold begins")
            holding = True
            directory.put_tenant(Tenant(TENANTS[1], ("cell-3",)), actor="test")
            running.publisher.notify()
            await running.until(folded.is_set, "the fold ended")
            await asyncio.sleep(0.05)
            holding = False
            go_on.set()
            await running.until(lambda: running.publisher.require_current().base is not first.base, "it is used")

    asyncio.run(scenario())


def test_many_changes_of_one_tenant_are_folded_too(directory: Directory) -> None:
    async def scenario() -> None:
        async with Running(directory, fold_changes=5) as running:
            await running.until(lambda: running.epoch() > 0, "the first table")
            first = running.publisher.require_current()
            for number in range(8):
                directory.put_tenant(Tenant(TENANTS[0], (CELLS[number % 3],)), actor="test")
                running.publisher.notify()
                await asyncio.sleep(0.01)
            await running.until(lambda: running.publisher.require_current().base is not first.base, "a new base")

    asyncio.run(scenario())


def test_a_fold_that_a_change_of_the_fleet_overtook_is_dropped(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def fold(of: Directory) -> CompiledBase | None:
        base = compile_base(of)
        assert go_on.wait(60)
        return base

    monkeypatch.setattr(module, "compile_base", fold)

    async def scenario() -> None:
        async with Running(directory, fold_tenants=0) as running:
            await running.until(lambda: running.epoch() > 0, "the first table")
            directory.put_tenant(Tenant(TENANTS[0], ("cell-3",)), actor="test")
            running.publisher.notify()
            await running.until(lambda: running.epoch() == directory.epoch(), "an overlay, and a fold begins")
            directory.put_cell(Cell("cell-4", "127.0.0.1", 8004), actor="test")
            running.publisher.notify()
            await running.until(lambda: running.epoch() == directory.epoch(), "a new base")
            newer = running.publisher.require_current().base
            go_on.set()
            await asyncio.sleep(0.05)
            directory.put_tenant(Tenant(TENANTS[1], ("cell-3",)), actor="test")
            running.publisher.notify()
            await running.until(lambda: running.epoch() >= directory.epoch(), "a change")
            assert running.publisher.require_current().base is newer

    asyncio.run(scenario())


def test_a_fold_that_fails_leaves_overlays_as_they_are(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_directory: Directory) -> CompiledBase:
        raise MemoryError

    async def scenario() -> None:
        monkeypatch.setattr(module, "compile_base", fail)
        async with Running(directory, fold_tenants=0) as running:
            await running.until(lambda: running.epoch() > 0, "the first table")
            first = running.publisher.require_current()
            for tenant in TENANTS[:3]:
                directory.put_tenant(Tenant(tenant, ("cell-2",)), actor="test")
                running.publisher.notify()
                await running.until(lambda: running.epoch() == directory.epoch(), "the overlay")
            assert running.publisher.require_current().base is first.base
            assert running.sample("cellplane_publish_failures_total") >= 1

    asyncio.run(scenario())


def test_a_router_gets_the_overlay_of_the_base_that_it_has(steady_shop: Api) -> None:
    client: httpx2.Client = steady_shop.http
    first = client.get("/v1/table")
    base = RoutingTable(first.content)
    steady_shop.put("/v1/tenants/acme", {"cell": "cell-2"})
    deadline = time.monotonic() + 60
    while (answer := client.get("/v1/table", params={"base": base.sha256})).headers["etag"] == first.headers["etag"]:
        assert time.monotonic() < deadline
    assert split_publication(answer.content)[0] is None
    table = RoutingTable(base.base, answer.content)
    assert answer.headers["etag"] == f'"{table.tag}"'
    for asked in ({}, {"base": "0" * 64}):
        whole_answer = client.get("/v1/table", params=asked)
        assert whole_answer.content == first.content + answer.content
        assert whole_answer.headers["etag"] == answer.headers["etag"]
    unchanged = client.get("/v1/table", params={"base": base.sha256}, headers={"If-None-Match": answer.headers["etag"]})
    assert unchanged.status_code == 304
