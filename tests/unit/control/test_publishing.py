"""From a change to a table: bursts, restarts, and what the directory must not take."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import insert

from cellplane.directory import schema
from cellplane.errors import ConflictError, ValidationError
from cellplane.model import Cell, Fleet, Pool
from cellplane.model.topology import MAX_POOLS
from cellplane.publishing.manifest import Manifest
from support import plain_http
from support.directory import Directory
from unit.control.serving import SHOP, Api, as_holder, assert_problem, eventually, serving


def test_a_burst_of_changes_is_few_epochs_and_the_last_has_all(shop: Api) -> None:
    before = shop.service.metrics.registry.get_sample_value("cellplane_publish_seconds_count")
    assert before is not None

    def put(thread: int) -> None:
        with plain_http.client(base_url=f"http://127.0.0.1:{shop.port}", headers=as_holder(shop.token)) as http:
            for number in range(25):
                assert http.put(f"/v1/tenants/t-{thread}-{number}", json={"cell": "cell-1"}).status_code == 200

    threads = [threading.Thread(target=put, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    table = shop.published(104)
    assert table.epoch == 104
    assert len(table) == 100
    after = shop.service.metrics.registry.get_sample_value("cellplane_publish_seconds_count")
    assert after is not None
    assert 1 <= after - before < 100


def test_epochs_grow_over_a_restart_and_one_epoch_has_one_content(tmp_path: Path) -> None:
    with serving(tmp_path) as api:
        api.fill()
        first = api.put_epoch("/v1/tenants/acme", {"cell": "cell-1"})
        api.published(first)
    with serving(tmp_path) as api:
        # What was published is kept: nothing is compiled again, and routers see nothing new.
        again = api.published(first)
        assert again.epoch == first
        row = again.find(b"acme")
        assert row is not None
        assert [again.cells[cell].id for cell in row.shard] == ["cell-1"]
        data = api.get("/v1/table").content
    with serving(tmp_path) as api:
        assert api.published(first).epoch == again.epoch
        assert api.get("/v1/table").content == data
        second = api.put_epoch("/v1/tenants/acme", {})
        assert second > again.epoch
        assert api.published(second).epoch == second


def test_a_release_that_compiles_other_bytes_publishes_another_epoch(shop: Api) -> None:
    # As an older release left it: this epoch is known with the checksum of other bytes.
    service = shop.service
    with service.directory._database.writing() as connection:
        connection.execute(
            insert(schema.publications).values(epoch=5, sha256="0" * 64, at="", token=0, overlay_tenants=0)
        )
    assert shop.put_epoch("/v1/tenants/acme", {"cell": "cell-1"}) == 5
    table = shop.published(5)
    assert table.epoch == 6
    assert table.find(b"acme") is not None
    with shop.service.directory.snapshot() as snapshot:
        assert snapshot.changes(limit=1, after=5)[0].action == "republish"


def test_a_fleet_is_published_as_soon_as_its_default_pool_is_there(tmp_path: Path) -> None:
    with serving(tmp_path, retry_seconds=0.05) as api:
        api.put_epoch("/v1/fleet", {**SHOP, "default_pool": "main"})
        api.put_epoch("/v1/cells/cell-1", {"address": "127.0.0.1", "port": 8001})
        api.put_epoch("/v1/pools/canary", {"cells": ["cell-1"]})
        eventually(lambda: failures(api) >= 2, "publishing is tried again")
        assert_problem(api.get("/v1/table"), 503, "no-table")
        assert api.published(api.put_epoch("/v1/pools/main", {"cells": ["cell-1"]})).pools == ("canary", "main")


def test_a_fleet_may_not_name_a_missing_default_pool_once_a_table_is_published(shop: Api) -> None:
    response = shop.put("/v1/fleet", {**SHOP, "default_pool": "nope"})
    assert_problem(response, 422, "invalid-resource", field="fleet.default_pool")


def test_more_pools_than_a_table_can_hold_are_refused(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "directory.sqlite3")
    try:
        directory.put_fleet(Fleet("shop", default_pool="p-0"), actor="test")
        directory.put_cell(Cell("cell-1", "127.0.0.1", 8001), actor="test")
        for number in range(MAX_POOLS):
            directory.put_pool(Pool(f"p-{number}", ("cell-1",)), actor="test")
        with pytest.raises((ValidationError, ConflictError)):
            directory.put_pool(Pool("one-more", ("cell-1",)), actor="test")
    finally:
        directory.close()


def failures(api: Api) -> float:
    return api.service.metrics.registry.get_sample_value("cellplane_publish_failures_total") or 0


def test_what_was_published_before_a_start_is_shown_and_brought_to_targets_that_have_it_not(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as api:
        epoch = api.fill()
    target = tmp_path / "tables"
    # As one leaves it that dies after the table was kept, and before it was put anywhere.
    with serving(tmp_path / "state", publish_to=(str(target),)) as api:
        api.published(epoch)
        eventually((target / "manifest").exists, "the target has the table")
        statement = Manifest.parse((target / "manifest").read_bytes()).statement
        assert statement.epoch == epoch
        metrics = api.service.metrics.registry
        assert metrics.get_sample_value("cellplane_published_epoch") == epoch
        assert metrics.get_sample_value("cellplane_publish_seconds_count") == 0, "nothing was compiled again"
