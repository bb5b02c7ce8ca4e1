"""Invariants of planning, over fleets and numbers that nobody chose."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.planning.blast_radius import Exposure, Impact, LoadSplit
from cellplane.planning.cost import CellShape, Demand, Price, Prices, Traffic, compare
from cellplane.planning.enumeration import count_pairs, covered_share
from cellplane.planning.overlap import covered, failure_share, shard_count, shared_cells
from cellplane.planning.placement import NO_CELL, Indexes, Placement, PlannedCell, merge_equal
from cellplane.planning.planned import deal
from cellplane.planning.sizing import Workload, size
from support.depth import examples

QUICK = settings(max_examples=examples(20), deadline=None)


@st.composite
def shapes(draw: st.DrawFn, most_cells: int = 60) -> tuple[int, int]:
    """A number of cells, and a shard size that they can hold."""
    cells = draw(st.integers(1, most_cells))
    return cells, draw(st.integers(1, min(cells, 8)))


@st.composite
def assignments(draw: st.DrawFn, most_cells: int = 6, most_tenants: int = 12) -> tuple[int, Indexes]:
    """A number of cells, and shards of different size for some tenants."""
    cells = draw(st.integers(1, most_cells))
    shard = st.lists(st.integers(0, cells - 1), min_size=1, max_size=4, unique=True)
    shards = draw(st.lists(shard, min_size=1, max_size=most_tenants))
    width = max(len(shard) for shard in shards)
    return cells, np.array([[*shard, *[NO_CELL] * (width - len(shard))] for shard in shards], dtype=np.int64)


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    cells, rows = draw(assignments())
    shards, tenant_shard = merge_equal(rows, cells)
    load = st.integers(0, 50).map(float)
    capacity = st.sampled_from([5.0, 20.0, 60.0, float("inf")])
    return Placement(
        cells=tuple(PlannedCell(f"cell-{number}", draw(capacity)) for number in range(cells)),
        shards=shards,
        tenant_shard=tenant_shard,
        tenant_rps=np.array(draw(st.lists(load, min_size=len(rows), max_size=len(rows)))),
    )


@QUICK
@given(shapes())
def test_what_two_tenants_share_adds_up(shape: tuple[int, int]) -> None:
    chances = shared_cells(*shape)
    assert sum(chances) == 1
    assert chances[-1] == Fraction(1, shard_count(*shape))
    mean = sum(shared * chance for shared, chance in enumerate(chances))
    assert mean == Fraction(shape[1] ** 2, shape[0])


@QUICK
@given(shapes(), st.integers(0, 30))
def test_one_more_failure_or_heavy_tenant_is_never_better(shape: tuple[int, int], number: int) -> None:
    cells, shard_size = shape
    assert 0 <= covered(cells, shard_size, number) <= covered(cells, shard_size, number + 1) <= 1
    failed = min(number, cells - 1)
    less, more = failure_share(cells, shard_size, failed), failure_share(cells, shard_size, failed + 1)
    assert 0 <= less.down <= more.down <= 1
    assert less.down + less.degraded <= more.down + more.degraded <= 1


@QUICK
@given(shapes())
def test_one_heavy_tenant_covers_whom_it_shares_all_with(shape: tuple[int, int]) -> None:
    assert covered(*shape, 1) == shared_cells(*shape)[-1]


@QUICK
@given(st.integers(2, 6), st.data())
def test_cover_is_what_all_hands_together_give(cells: int, data: st.DataObject) -> None:
    shard_size = data.draw(st.integers(1, cells))
    hands = [frozenset(hand) for hand in combinations(range(cells), shard_size)]
    light = hands[0]
    both = sum(light <= one | two for one in hands for two in hands)
    assert covered(cells, shard_size, 2) == Fraction(both, len(hands) ** 2)


@QUICK
@given(assignments())
def test_pairs_are_counted_as_by_visiting_each(dealt: tuple[int, Indexes]) -> None:
    _, rows = dealt
    sets = [{int(cell) for cell in row if cell != NO_CELL} for row in rows]
    visited = [len(one & two) for one, two in combinations(sets, 2)]
    counts = count_pairs(rows)
    assert counts.by_shared == tuple(visited.count(shared) for shared in range(rows.shape[1] + 1))
    assert sum(counts.by_shared) == counts.pairs


@QUICK
@given(assignments(), st.data())
def test_cover_is_counted_as_by_visiting_each(dealt: tuple[int, Indexes], data: st.DataObject) -> None:
    _, rows = dealt
    heavy = data.draw(st.sets(st.integers(0, len(rows) - 1)))
    sets = [{int(cell) for cell in row if cell != NO_CELL} for row in rows]
    busy = {cell for tenant in heavy for cell in sets[tenant]}
    light = [cells <= busy for tenant, cells in enumerate(sets) if tenant not in heavy]
    assert covered_share(rows, sorted(heavy)) == pytest.approx(sum(light) / len(light) if light else 0)


@settings(max_examples=examples(7), deadline=None)
@given(shapes(30), st.integers(0, 2**32))
def test_dealt_tenants_overlap_as_in_theory(shape: tuple[int, int], seed: int) -> None:
    cells, shard_size = shape
    tenants = 4_000
    shares = count_pairs(deal(cells=cells, shard_size=min(shard_size, 4), tenants=tenants, seed=seed)).shares()
    for share, chance in zip(shares, shared_cells(cells, min(shard_size, 4)), strict=True):
        # Twenty standard deviations of a mean of uncorrelated pairs, and almost a pair: the tails are those of χ².
        deviation = (float(chance) * (1 - float(chance)) / (tenants * (tenants - 1) / 2)) ** 0.5
        assert abs(share - float(chance)) <= 20 * deviation + 1e-7


def by_visiting_each(
    placement: Placement, split: LoadSplit, failed: set[int]
) -> tuple[int, int, float, dict[int, float]]:
    """Tenants down and degraded, load lost, and each survivor's load: one tenant after the other."""
    down = degraded = 0
    lost = 0.0
    load = {cell: 0.0 for cell in range(len(placement.cells)) if cell not in failed}
    for shard, rps in zip(placement.tenant_shard, placement.tenant_rps, strict=True):
        members = [int(cell) for cell in placement.shards[shard] if cell != NO_CELL]
        up = [cell for cell in members if cell not in failed]
        down += not up
        degraded += bool(up) and len(up) < len(members)
        lost += 0 if up else rps
        for cell in up[:1] if split is LoadSplit.FIRST else up:
            load[cell] += rps if split is LoadSplit.FIRST else rps / len(up)
    return down, degraded, lost, load


@settings(max_examples=examples(50), deadline=None)
@given(placements(), st.sampled_from(LoadSplit), st.data())
def test_a_failure_is_what_visiting_each_tenant_says(
    placement: Placement, split: LoadSplit, data: st.DataObject
) -> None:
    failed = data.draw(st.sets(st.integers(0, len(placement.cells) - 1), min_size=1))
    impact = Exposure(placement, split).fail(f"cell-{place}" for place in failed)
    _, _, _, before = by_visiting_each(placement, split, set())
    down, degraded, lost, after = by_visiting_each(placement, split, failed)
    assert (impact.tenants_down, impact.tenants_degraded) == (down, degraded)
    assert impact.rps_down == pytest.approx(lost)
    assert impact.rps_moved == pytest.approx(sum(after[cell] - before[cell] for cell in after), abs=1e-9)
    took = {cell for cell in after if after[cell] > before[cell] + 1e-6}
    over = {cell for cell in took if after[cell] > placement.cells[cell].capacity_rps + 1e-6}
    assert {int(found.cell.removeprefix("cell-")) for found in impact.overloaded} >= over
    assert impact.holds is not True or not over


@QUICK
@given(placements(), st.sampled_from(LoadSplit))
def test_all_cells_together_are_everybody(placement: Placement, split: LoadSplit) -> None:
    exposure = Exposure(placement, split)
    impact = exposure.fail(cell.id for cell in placement.cells)
    assert (impact.tenants_down, impact.tenants_degraded) == (exposure.tenants, 0)
    assert impact.rps_down == pytest.approx(exposure.rps)
    assert impact.rps_moved == 0


@QUICK
@given(placements(), st.sampled_from(LoadSplit))
def test_a_second_failure_never_helps_and_each_set_agrees_with_its_own_question(
    placement: Placement, split: LoadSplit
) -> None:
    exposure = Exposure(placement, split)
    singles: dict[str, Impact] = {impact.failed[0]: impact for impact in exposure.fail_each()}
    for pair in exposure.fail_pairs():
        assert pair == exposure.fail(pair.failed)
        for name in pair.failed:
            assert singles[name].tenants_down <= pair.tenants_down
            touched = singles[name].tenants_down + singles[name].tenants_degraded
            assert touched <= pair.tenants_down + pair.tenants_degraded


@QUICK
@given(
    st.floats(0.1, 1e5),
    st.floats(50, 1e5),
    st.sampled_from([1.0, 1.1, 1.5, 2.0]),
    st.floats(1, 1.5),
)
def test_more_load_never_needs_fewer_cells(peak: float, ceiling: float, headroom: float, growth: float) -> None:
    small = size(Workload(peak_rps=peak, cell_rps=ceiling, headroom=headroom))
    large = size(Workload(peak_rps=peak * growth, cell_rps=ceiling, headroom=headroom))
    assert 1 <= small.cells <= large.cells
    assert small.needs[0].utilisation <= 1
    assert small.cells * ceiling >= peak * (1 - 1e-12)


@QUICK
@given(st.integers(1, 200), st.floats(1, 1e5), st.floats(0, 1e6), st.integers(1, 5))
def test_a_cost_adds_up_and_traffic_is_paid_or_saved(cells: int, peak: float, traffic_gb: float, zones: int) -> None:
    some = Price(0.1, "hour", "thing", "https://example.org/", "2026-11-21")
    comparison = compare(
        Demand(tenants=10, peak_rps=peak),
        CellShape(rps_per_instance=100, rps_per_database=1_000),
        Traffic(internal_gb_month=traffic_gb, zones=5, zones_per_cell=zones),
        Prices(some, some, some, some, some),
        [cells, cells + 1],
    )
    one, more = comparison.fleets
    assert one.total_usd == pytest.approx(one.fixed_usd + one.variable_usd + one.transfer_usd)
    assert one.saved_usd + one.transfer_usd == pytest.approx(comparison.shared.transfer_usd)
    assert one.fixed_usd < more.fixed_usd
    assert one.tenant_usd * 10 == pytest.approx(one.total_usd)
