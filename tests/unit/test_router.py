"""The agent's parts that need no Envoy."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from cellplane.durable import write_durably
from cellplane.model import Cell, Fleet, KeySource, Policy, Pool, Reads, Tenant, Topology
from cellplane.router.backoff import pause_seconds
from cellplane.router.envoy import resources
from cellplane.router.envoy.admin import rejection_reason
from cellplane.router.settings import RouterSettings
from cellplane.router.tables import StoredTable, TableFolder
from cellplane.routing import RoutingTable, compile_table, encode


def table_of(epoch: int, address: str = "127.0.0.1") -> tuple[RoutingTable, bytes]:
    topology = Topology(
        Fleet("shop"),
        (Cell("cell-1", address, 8001), Cell("cell-2", "127.0.0.1", 8002)),
        (Pool("default", ("cell-1", "cell-2")),),
        (Tenant("acme", ("cell-2",)),),
    )
    data = encode(compile_table(topology, epoch))
    return RoutingTable(data), data


def test_pauses_grow_to_the_cap_and_differ_between_routers() -> None:
    def pause(failures: int, seed: int) -> float:
        return pause_seconds(failures, base_seconds=0.2, cap_seconds=5, rng=random.Random(seed))

    assert all(0 <= pause(failures, seed) <= 5 for failures in (1, 2, 9, 10_000) for seed in range(50))
    assert max(pause(1, seed) for seed in range(50)) <= 0.2
    assert max(pause(40, seed) for seed in range(50)) > 4
    assert pause(3, 1) != pause(3, 2)


def test_a_durable_write_replaces_the_file_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "cds.json"
    write_durably(path, b"one")
    first = path.stat()
    write_durably(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_ino != first.st_ino
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["cds.json"]


def test_tables_are_kept_for_a_restart_without_a_control_plane(tmp_path: Path) -> None:
    folder = TableFolder(tmp_path / "tables", kept=2)
    assert folder.last_good() is None
    for epoch in (3, 4, 5):
        folder.mark_live(folder.store(*table_of(epoch), None))
    found = TableFolder(tmp_path / "tables", kept=2).last_good()
    assert found is not None
    assert found.epoch == 5
    assert sorted(path.name for path in (tmp_path / "tables").glob("*.cpt")) == ["table-4.cpt", "table-5.cpt"]


def test_a_table_that_was_stored_but_never_live_is_not_started_with(tmp_path: Path) -> None:
    folder = TableFolder(tmp_path, kept=3)
    folder.mark_live(folder.store(*table_of(3), None))
    folder.store(*table_of(9), None)
    found = folder.last_good()
    assert found is not None
    assert found.epoch == 3


@pytest.mark.parametrize("damage", [b"", b"garbage"])
def test_a_damaged_table_gives_way_to_the_one_before(tmp_path: Path, damage: bytes) -> None:
    folder = TableFolder(tmp_path, kept=3)
    for epoch in (3, 4):
        folder.mark_live(folder.store(*table_of(epoch), None))
    (tmp_path / "table-4.cpt").write_bytes(damage)
    found = folder.last_good()
    assert found is not None
    assert found.epoch == 3


@pytest.mark.parametrize("pointer", ["", "{}", "[1]", "no json"])
def test_a_damaged_pointer_is_not_the_end(tmp_path: Path, pointer: str) -> None:
    folder = TableFolder(tmp_path, kept=3)
    folder.mark_live(folder.store(*table_of(3), None))
    (tmp_path / "live.json").write_text(pointer)
    found = folder.last_good()
    assert found is not None
    assert found.epoch == 3


def test_clusters_are_the_tables_cells(tmp_path: Path) -> None:
    settings = RouterSettings(router_id="r", control_url="http://x", state_dir=tmp_path, port=1)
    table, _ = table_of(7, address="cell-1.internal")
    rendered = resources.clusters(table, settings)
    assert [cluster["name"] for cluster in rendered["resources"]] == ["cell-1", "cell-2"]
    assert [cluster["type"] for cluster in rendered["resources"]] == ["STRICT_DNS", "STATIC"]
    assert all(
        cluster["common_lb_config"]["healthy_panic_threshold"] == {"value": 0} for cluster in rendered["resources"]
    )
    later, _ = table_of(8, address="cell-1.internal")
    assert json.dumps(rendered) == json.dumps(resources.clusters(later, settings)), "equal cells are one version"
    other, _ = table_of(8)
    assert rendered["version_info"] != resources.clusters(other, settings)["version_info"]


def test_routes_name_the_table_by_path_and_epoch(tmp_path: Path) -> None:
    settings = RouterSettings(router_id="r", control_url="http://x", state_dir=tmp_path, port=1)
    table, data = table_of(7)
    stored = StoredTable(table, tmp_path / "table-7.cpt")
    stored.path.write_bytes(data)
    text = json.dumps(resources.routes(stored, settings))
    assert f"table={stored.path}\\nepoch=7\\n" in text
    changed = replace(stored, overlay_path=tmp_path / "overlay-9-on-7.cpt")
    text = json.dumps(resources.routes(changed, settings))
    assert f"table={stored.path}\\noverlay={changed.overlay_path}\\nepoch=7\\n" in text


def test_routes_say_how_much_may_be_kept_where_a_policy_reads_it(tmp_path: Path) -> None:
    settings = RouterSettings(router_id="r", control_url="http://x", state_dir=tmp_path, port=1, max_kept_bytes=5)
    fleet = Fleet("shop", key_sources=(KeySource.trusted_header("x-tenant-id"),))
    topology = Topology(fleet, (Cell("cell-1", "127.0.0.1", 8001),), (Pool("default", ("cell-1",)),))
    caching = replace(topology, fleet=replace(fleet, policy=Policy(reads=Reads.CACHE)))
    for each, limit, expected in ((topology, 5, False), (caching, 5, True), (caching, 0, False)):
        stored = StoredTable(RoutingTable(encode(compile_table(each, 1))), tmp_path / "table-1.cpt")
        text = json.dumps(resources.routes(stored, replace(settings, max_kept_bytes=limit)))
        assert ("kept-bytes=5\\n" in text) is expected


def test_the_reason_for_a_rejection_is_found_in_the_log() -> None:
    log = "[warning] update rejected: Failed to initialize per-route dynamic module\n[info] other\n"
    assert rejection_reason(log) == "Failed to initialize per-route dynamic module"
    assert rejection_reason("nothing") == "see Envoy's log"
