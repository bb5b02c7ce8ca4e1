"""What no table or overlay can hold is refused where it stands, and keys of one hash are told apart."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from cellplane.errors import TableError, ValidationError
from cellplane.model import (
    Cell,
    CellStatus,
    Fleet,
    JwtProvider,
    KeySource,
    KeySourceKind,
    MissingKey,
    Pool,
    StrategyName,
    Tenant,
    TenantState,
    Topology,
    UnknownTenant,
)
from cellplane.placement import SLOT_COUNT, key_hash
from cellplane.placement.hashing import hash_keys
from cellplane.routing import (
    OverlayContents,
    PlacedTenants,
    PoolSlots,
    RoutingTable,
    TableContents,
    TenantColumns,
    TenantEntry,
    compile_overlay,
    compile_table,
    decide_many,
    encode,
    encode_overlay,
)
from cellplane.routing.decide import RefusalCode
from cellplane.routing.layout import Section
from mutate.retouch import Bytes

CELLS = tuple(Cell(f"cell-{number}", "127.0.0.1", 8000 + number) for number in (1, 2, 3))
GOOD = TableContents(
    epoch=3,
    fleet=Fleet("shop"),
    cells=CELLS,
    pools=(PoolSlots("default", StrategyName.RING, [slot % 2 for slot in range(SLOT_COUNT)]),),
    shards=((0, 1), (2,)),
    tenants=TenantColumns.of((TenantEntry(b"acme", 1),)),
)
OVERLAY = OverlayContents(4, 3, "ab" * 32, ((0,),), TenantColumns.of((TenantEntry(b"acme", 0),)))


def columns(*entries: TenantEntry) -> TenantColumns:
    return TenantColumns.of(entries)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"epoch": 0}, "epoch"),
        ({"epoch": 1 << 64}, "epoch"),
        ({"cells": ()}, "cells"),
        ({"cells": CELLS[::-1]}, "cells"),
        ({"cells": (CELLS[0], *CELLS)}, "cells"),
        ({"pools": ()}, "pools"),
        ({"pools": tuple(GOOD.pools) * 256}, "pools"),
        ({"shards": ((0, 1), ())}, "shards[1]"),
        ({"shards": ((0, 0), (1,))}, "shards[0]"),
        ({"shards": ((0, 1), (3,))}, "shards[1]"),
        ({"shards": ((0, 1), (-1,))}, "shards[1]"),
        ({"shards": ((0, 1), tuple(range(9)))}, "shards[1]"),
        ({"shards": np.full((2, 8), 0xFFFF, np.uint16)}, "shards[0]"),
        ({"fleet": Fleet("shop", default_pool="other")}, "fleet.default_pool"),
        ({"pools": (PoolSlots("default", StrategyName.EXPLICIT, None),)}, "fleet.default_pool"),
        ({"pools": (PoolSlots("default", StrategyName.RING, [0, 1]),)}, "pools[0].slots"),
        ({"pools": (PoolSlots("default", StrategyName.RING, [2] * SLOT_COUNT),)}, "pools[0].slots"),
        ({"pools": (PoolSlots("default", StrategyName.RING, [-1] * SLOT_COUNT),)}, "pools[0].slots"),
        ({"default_shard": 0}, "default_shard"),
        ({"fleet": Fleet("shop", missing_key=MissingKey.DEFAULT_CELL, default_cell="cell-1")}, "default_shard"),
        (
            {"fleet": Fleet("shop", unknown_tenant=UnknownTenant.DEFAULT_CELL), "default_shard": 2},
            "default_shard",
        ),
        ({"fleet": Fleet("shop", (KeySource(KeySourceKind.JWT_CLAIM, "sub"),))}, "fleet.key_sources[0]"),
        ({"fleet": Fleet("shop", (KeySource(KeySourceKind.HEADER, "x-a"),))}, "fleet.key_sources[0].trusted"),
        ({"fleet": Fleet("shop", (KeySource(KeySourceKind.COOKIE, "a b"),))}, "fleet.key_sources[0].name"),
        ({"fleet": Fleet("shop", jwt=(JwtProvider("id", "i"),))}, "fleet.jwt[0].jwks_url"),
        ({"fleet": Fleet("shop", (KeySource(KeySourceKind.PATH, "t"),))}, "fleet.key_sources[0].name"),
        ({"tenants": columns(TenantEntry(b"acme", 2))}, "tenants[0].shard"),
        ({"tenants": columns(TenantEntry(b"acme", None), TenantEntry(b"b", 0, pool=1))}, "tenants[1].pool"),
        ({"tenants": columns(TenantEntry(b"a", None)).with_state(9, np.array([True]))}, "tenants[0].state"),
        ({"tenants": columns(TenantEntry(b"a", None), TenantEntry(b"b/c", None))}, "tenants[1].key"),
        ({"tenants": columns(TenantEntry(b"a", None), TenantEntry(b"", None))}, "tenants[1].key"),
        ({"tenants": columns(TenantEntry(b"-a", None))}, "tenants[0].key"),
        ({"tenants": columns(TenantEntry(b"a", None), TenantEntry(b"a", 1))}, "tenants[0].key"),
    ],
)
def test_what_no_table_can_hold_is_refused_where_it_stands(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        encode(replace(GOOD, **changes))
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"epoch": 3}, "epoch"),
        ({"epoch": 1 << 64}, "epoch"),
        ({"shards": ((0, 0),)}, "shards[0]"),
        ({"tenants": columns(TenantEntry(b"acme", 1))}, "tenants"),
        ({"tenants": columns(TenantEntry(b"a b", 0))}, "tenants[0].key"),
    ],
)
def test_what_no_overlay_can_hold_is_refused_where_it_stands(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        encode_overlay(replace(OVERLAY, **changes))
    assert refusal.value.field == field


@pytest.mark.parametrize(
    "entry",
    [TenantEntry(b"x" * 129, 0), TenantEntry(b"x", -1), TenantEntry(b"x", 0, pool=255), TenantEntry(b"x", 0, -1)],
)
def test_what_no_column_can_hold_is_refused(entry: TenantEntry) -> None:
    with pytest.raises(ValidationError, match=r"tenants\[1\]"):
        TenantColumns.of((TenantEntry(b"fine", 0), entry))


@cache
def keys_of_one_hash() -> list[list[bytes]]:
    """Groups of keys whose hashes are equal, found among 300,000."""
    keys = [f"key-{number}".encode() for number in range(300_000)]
    lengths = np.array([len(key) for key in keys])
    hashes = hash_keys(np.frombuffer(b"".join(keys), np.uint8), np.cumsum(lengths) - lengths, lengths)
    order = np.argsort(hashes, kind="stable")
    equal = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    return [[keys[order[place]], keys[order[place + 1]]] for place in equal.tolist()]


@pytest.mark.parametrize("turn", [1, -1])
def test_keys_of_one_hash_are_told_apart(turn: int) -> None:
    groups = keys_of_one_hash()
    assert len(groups) >= 2
    assert all(key_hash(first) == key_hash(second) for first, second in groups)
    # Of every group one is assigned to the first shard, one to the second; of the last, only one is listed.
    entries = [TenantEntry(key, place) for group in groups for place, key in enumerate(group)][:-1]
    table = RoutingTable(encode(replace(GOOD, tenants=TenantColumns.of(entries[::turn]))))
    for first, second in groups:
        found = [table.find(key) for key in (first, second)]
        assert found[0] is not None
        assert found[0].shard == (0, 1)
        assert (found[1] is None) == (second == groups[-1][1])
        assert found[1] is None or found[1].shard == (2,)
    asked = [key for group in groups for key in group]
    many = decide_many(table, asked)
    assert [int(cell) for cell in many.cell[:-1]] == [0, 2] * (len(groups) - 1) + [0]
    with pytest.raises(ValidationError, match="stands twice"):
        encode(replace(GOOD, tenants=TenantColumns.of([*entries, entries[1]])))


def test_entries_of_one_hash_are_in_the_order_of_their_keys() -> None:
    entries = [TenantEntry(key, 0) for key in keys_of_one_hash()[0]]
    data = encode(replace(GOOD, tenants=TenantColumns.of(entries)))
    RoutingTable(data)
    table = Bytes(data)
    table.swap(Section.TENANTS, 0, 1)
    with pytest.raises(TableError, match="out of order"):
        RoutingTable(table.sealed())


def test_an_empty_list_of_keys_has_no_decisions() -> None:
    many = decide_many(RoutingTable(encode(GOOD)), [])
    assert len(many.cell) == len(many.refusal) == len(many.shards) == 0


def test_no_tenant_at_all_is_a_table(tmp_path: object) -> None:
    table = RoutingTable(encode(replace(GOOD, tenants=TenantColumns.of(()))))
    assert len(table) == 0
    assert table.find(b"acme") is None
    assert decide_many(table, [b"acme"]).refusal.tolist() == [-1]


TOPOLOGY = Topology(Fleet("shop"), CELLS, (Pool("default", ("cell-1", "cell-2")),))


def placed(**changes: Any) -> PlacedTenants:
    known = PlacedTenants(["acme"], ["default"], [("cell-1",)], [TenantState.ACTIVE])
    return replace(known, **changes)


@pytest.mark.parametrize(
    ("tenants", "message"),
    [
        (placed(pools=["nope"]), "no pool is named 'nope'"),
        (placed(shards=[("cell-9",)]), "no cell is named 'cell-9'"),
        (placed(ids=["zürich"]), "expected ASCII"),
        (placed(ids=["x" * 300]), "expected at most 128 bytes"),
        (placed(ids=["a/b"]), "expected a key"),
    ],
)
@pytest.mark.parametrize("overlay", [False, True], ids=["base", "overlay"])
def test_tenants_that_no_table_can_name_are_refused(tenants: PlacedTenants, message: str, *, overlay: bool) -> None:
    compiled: Callable[[], bytes] = lambda: encode(compile_table(TOPOLOGY, 3, tenants))  # noqa: E731
    if overlay:
        compiled = lambda: encode_overlay(compile_overlay(TOPOLOGY, (3, "ab" * 32), 4, tenants, ()))  # noqa: E731
    with pytest.raises(ValidationError, match=message):
        compiled()


def test_a_default_cell_is_a_shard_of_its_own() -> None:
    fleet = Fleet("shop", unknown_tenant=UnknownTenant.DEFAULT_CELL, default_cell="cell-3")
    topology = replace(TOPOLOGY, fleet=fleet, tenants=(Tenant("acme"),))
    table = RoutingTable(encode(compile_table(topology, 3)))
    assert table.default_shard is not None
    assert table.shard(table.default_shard) == (2,)
    many = decide_many(table, [b"nobody", b"acme", b"", b"a/b"])
    assert many.cell[0] == 2
    assert many.cell[1] in {0, 1}
    codes = list(RefusalCode)
    assert [codes[index] for index in many.refusal[2:]] == [RefusalCode.MISSING_KEY, RefusalCode.INVALID_KEY]


def test_a_publication_that_is_an_overlay_alone_is_no_table() -> None:
    with pytest.raises(TableError, match="an overlay without its base"):
        RoutingTable.of_publication(encode_overlay(OVERLAY))
    with pytest.raises(TableError, match="truncated"):
        RoutingTable.of_publication(b"\x89CPT")
    with pytest.raises(TableError, match="magic"):
        RoutingTable.of_publication(bytes(200))


def test_the_keys_of_a_table_are_those_of_its_rows() -> None:
    changed = PlacedTenants(["other"], ["default"], [("cell-2",)], [TenantState.SUSPENDED])
    base = RoutingTable(encode(compile_table(replace(TOPOLOGY, tenants=(Tenant("acme", ("cell-1",)),)), 3)))
    assert base.keys() == [b"acme"]
    table = RoutingTable(base.base, encode_overlay(compile_overlay(TOPOLOGY, (3, base.sha256), 4, changed, ())))
    assert sorted(table.keys()) == [b"acme", b"other"]
    assert len(table) == 2


def test_a_cell_in_maintenance_is_said_for_many_as_for_one() -> None:
    cells = (replace(CELLS[0], status=CellStatus.MAINTENANCE), replace(CELLS[1], status=CellStatus.RETIRED), CELLS[2])
    table = RoutingTable(encode(replace(GOOD, cells=cells, shards=((0, 1), (1, 0)))))
    codes = {list(RefusalCode)[index] for index in decide_many(table, [b"a", b"b", b"c", b"d", b"e"]).refusal.tolist()}
    assert codes == {RefusalCode.CELL_MAINTENANCE, RefusalCode.CELL_UNAVAILABLE}
