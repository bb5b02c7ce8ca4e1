"""A table that would take tenants abroad, and what a publication says of its epoch."""

from dataclasses import replace

import numpy as np
import pytest

from cellplane.errors import TableError
from cellplane.model import Cell, Fleet, Pool, StrategyName, Tenant, Topology
from cellplane.routing import (
    PlacedTenants,
    RoutingTable,
    check_jurisdictions,
    compile_overlay,
    compile_table,
    encode,
    encode_overlay,
    epoch_said,
)

CELLS = (
    Cell("cell-1", "127.0.0.1", 1, jurisdiction="eu"),
    Cell("cell-2", "127.0.0.1", 2, jurisdiction="eu"),
    Cell("cell-3", "127.0.0.1", 3, jurisdiction="us"),
)
TOPOLOGY = Topology(
    Fleet("shop"),
    CELLS,
    (Pool("default", ("cell-1", "cell-2"), StrategyName.SHUFFLE), Pool("abroad", ("cell-3",))),
    (Tenant("acme", ("cell-1", "cell-2")),),
)


def overlay_of(base: bytes, epoch: int, shard: tuple[str, ...]) -> bytes:
    table = RoutingTable(base)
    placed = replace(PlacedTenants.of(TOPOLOGY), shards=[shard])
    return encode_overlay(compile_overlay(TOPOLOGY, (table.epoch, table.sha256), epoch, placed, ()))


def test_shards_of_one_law_each_are_sound() -> None:
    base = encode(compile_table(TOPOLOGY, 4))
    check_jurisdictions(RoutingTable(base))
    check_jurisdictions(RoutingTable(base, overlay_of(base, 5, ("cell-2", "cell-1"))))


def test_a_shard_over_two_laws_is_refused() -> None:
    contents = compile_table(TOPOLOGY, 4)
    shards = np.array(contents.shards)
    shards[0, :2] = (0, 2)
    with pytest.raises(TableError, match="cell-1, cell-3 are under different jurisdictions"):
        check_jurisdictions(RoutingTable(encode(replace(contents, shards=shards))))


def test_so_is_one_of_an_overlay() -> None:
    base = encode(compile_table(TOPOLOGY, 4))
    with pytest.raises(TableError, match="cell-2, cell-3 are under different jurisdictions"):
        check_jurisdictions(RoutingTable(base, overlay_of(base, 5, ("cell-2", "cell-3"))))


def test_a_publication_says_its_epoch_however_damaged_it_is() -> None:
    base = encode(compile_table(TOPOLOGY, 4))
    overlay = overlay_of(base, 7, ("cell-1",))
    assert (epoch_said(base), epoch_said(overlay), epoch_said(base + overlay)) == (4, 7, 7)
    assert epoch_said(base[:-1]) == 4
    assert epoch_said(base + b"x" * 200) == 4
    for nothing in (b"", b"x" * 300, base[:100]):
        assert epoch_said(nothing) == 0
