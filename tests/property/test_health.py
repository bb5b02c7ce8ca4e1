"""Invariants of health, over cells that nobody chose."""

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.health import pool_breakers
from cellplane.health.breaker import Hold, Observation, Phase
from cellplane.health.histogram import LATENCY_BOUNDS_SECONDS, percentile_seconds
from cellplane.health.outliers import compare
from cellplane.health.pool_breakers import BreakerChange, PoolBreakers, hold, most_open
from cellplane.health.rates import Rates
from cellplane.health.score import Signals, score
from cellplane.health.window import Counters, Window, WindowSettings
from cellplane.model.health import BreakerSettings, HealthThresholds, PeerSettings
from support.depth import examples

QUICK = settings(max_examples=examples(50), deadline=None)
BOUNDS = (0.1, 1.0)
CELLS = tuple(f"cell-{number}" for number in range(5))

histograms = st.lists(st.integers(0, 50), min_size=3, max_size=3).map(tuple)
amounts = st.one_of(st.none(), st.floats(0, 1e6))
shares = st.one_of(st.none(), st.floats(0, 1))


measured = st.builds(Signals, shares, amounts, amounts, amounts)
measures = st.sampled_from(["error_rate", "p99_seconds", "saturation", "queue_lag_seconds"])


@QUICK
@given(measured, measures, st.floats(0, 1e6))
def test_a_score_never_rises_when_a_measure_gets_worse(before: Signals, worse: str, by: float) -> None:
    changed: dict[str, Any] = {worse: (getattr(before, worse) or 0.0) + by}
    low, high = score(replace(before, **changed), HealthThresholds()), score(before, HealthThresholds())
    assert 0 <= low.value <= high.value <= 100
    assert 0 <= high.confidence <= low.confidence <= 1


@QUICK
@given(histograms, st.floats(0.001, 1), st.floats(0.001, 1), st.integers(0, 1))
def test_a_percentile_rises_with_its_share_and_with_slower_requests(
    counts: tuple[int, ...], one: float, other: float, bucket: int
) -> None:
    low, high = (percentile_seconds(counts, share, BOUNDS) for share in sorted((one, other)))
    if not sum(counts):
        assert low is high is None
        return
    assert low is not None
    assert high is not None
    assert 0 <= low <= high <= BOUNDS[-1]
    if counts[bucket]:
        slower = list(counts)
        slower[bucket] -= 1
        slower[bucket + 1] += 1
        after = percentile_seconds(slower, one, BOUNDS)
        before = percentile_seconds(counts, one, BOUNDS)
        assert after is not None
        assert before is not None
        assert after >= before - 1e-12


@st.composite
def readings(draw: st.DrawFn) -> list[tuple[float, Counters, tuple[int, ...]]]:
    """Samples of a cell whose router restarts now and then: when, what it shows, what was counted since the last."""
    now, generation, found = 0.0, 0, []
    total: tuple[int, ...] = (0, 0, 0)
    for _ in range(draw(st.integers(1, 25))):
        now += draw(st.sampled_from([0.1, 0.5, 1.0, 1.0, 1.0, 4.0, 7.0]))
        gained = draw(histograms)
        if draw(st.sampled_from([False, False, False, True])):
            generation, total = generation + 1, (0, 0, 0)
        total = tuple(old + new for old, new in zip(total, gained, strict=True))
        shown = Counters(sum(total), total[2], total, sum(total) * 0.5, generation)
        found.append((now, shown, gained))
    return found


@QUICK
@given(readings(), st.booleans(), st.one_of(st.none(), st.floats(0.1, 20)))
def test_a_window_is_what_was_counted_in_it_whatever_restarts(
    samples: list[tuple[float, Counters, tuple[int, ...]]], is_told: bool, seconds: float | None
) -> None:
    limits = WindowSettings(span_seconds=10, resolution_seconds=0.25, bounds_seconds=BOUNDS)
    window = Window(limits)
    begin = samples[0][0]
    for place, (now, shown, _) in enumerate(samples):
        window = window.observe(shown if is_told else replace(shown, generation=0), now)
        if place and now - samples[place - 1][0] > limits.max_gap_seconds:
            begin = now
        rates = window.rates(now, seconds)
        assert len(window.samples) <= limits.span_seconds / limits.resolution_seconds + 3
        assert min(rates.requests, rates.errors, *rates.latency_counts, 0) == 0
        assert rates.latency_seconds >= 0
        assert rates.error_rate is None or 0 <= rates.error_rate <= 1
        assert now - rates.seconds >= begin - 1e-9
        counted = [gained for at, _, gained in samples[: place + 1] if now - rates.seconds + 1e-9 < at <= now]
        wanted = tuple(map(sum, zip(*counted, strict=True))) if counted and rates.seconds else (0, 0, 0)
        if is_told:
            assert rates.requests == sum(wanted)
            assert (rates.latency_counts or (0, 0, 0)) == wanted
        else:
            # A restart that no counter shows loses what it counted before; it never invents.
            assert rates.requests <= sum(wanted)


@st.composite
def pools(draw: st.DrawFn) -> dict[str, Rates]:
    """Cells with requests in some buckets."""
    cells = {}
    for number in range(draw(st.integers(1, 8))):
        counts = [0] * (len(LATENCY_BOUNDS_SECONDS) + 1)
        for bucket in draw(st.lists(st.integers(0, 35), min_size=1, max_size=4)):
            counts[bucket] += draw(st.integers(0, 400))
        requests = sum(counts)
        errors = draw(st.integers(0, requests))
        cells[f"cell-{number}"] = Rates(25.0, requests, errors, tuple(counts), requests * draw(st.floats(0.001, 60)))
    return cells


@QUICK
@given(pools())
def test_most_cells_are_never_worse_than_their_peers(cells: dict[str, Rates]) -> None:
    found = compare(cells, PeerSettings())
    by_measure = Counter(outlier.measure for outliers in found.values() for outlier in outliers)
    assert all(number <= len(cells) // 2 for number in by_measure.values())
    assert compare(dict(reversed(cells.items())), PeerSettings()) == found
    assert all(outlier.value > outlier.usual for outliers in found.values() for outlier in outliers)


@QUICK
@given(pools())
def test_cells_that_are_all_alike_have_no_outlier(cells: dict[str, Rates]) -> None:
    one = next(iter(cells.values()))
    assert compare(dict.fromkeys(CELLS, one), PeerSettings()) == {}


observations = st.builds(
    Observation,
    score=st.sampled_from([0.0, 10.0, 50.0, 100.0]),
    signals=st.builds(Signals, error_rate=st.sampled_from([None, 0.0, 0.9])),
    probes_good=st.integers(0, 3),
    probes_failed=st.sampled_from([0, 0, 0, 1]),
    jitter=st.floats(0, 1),
)
orders = st.tuples(st.sampled_from(CELLS), st.sampled_from(Hold))
ticks = st.tuples(
    st.floats(0, 30),
    st.dictionaries(st.sampled_from(CELLS), observations, min_size=1),
    st.one_of(st.none(), st.none(), st.none(), orders),
)
ALLOWED = {
    (Phase.CLOSED, Phase.OPEN),
    (Phase.OPEN, Phase.HALF_OPEN),
    (Phase.HALF_OPEN, Phase.OPEN),
    (Phase.HALF_OPEN, Phase.CLOSED),
}


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(ticks, max_size=40), st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_breakers_never_skip_half_open_nor_open_beyond_their_share(
    steps: list[tuple[float, dict[str, Observation], tuple[str, Hold] | None]], share: float
) -> None:
    limits = BreakerSettings(
        open_ticks=2, trip_ticks=1, open_seconds=5, open_cap_seconds=20, probes_to_close=4, max_open_share=share
    )
    state, now = PoolBreakers(), 0.0
    for later, seen, order in steps:
        now += later
        before = state
        state, events = pool_breakers.step(state, seen, now, limits)
        assert set(state.cells) == set(seen)
        were = [cell for cell in before.not_closed if cell in seen]
        assert len(state.not_closed) <= max(most_open(len(seen), limits), len(were))
        for cell, after in state.cells.items():
            old = before.cells.get(cell)
            phase = old.phase if old else Phase.CLOSED
            assert phase is after.phase or (phase, after.phase) in ALLOWED
            assert old is None or old.hold is Hold.NONE or after == old
            if (phase, after.phase) == (Phase.HALF_OPEN, Phase.CLOSED):
                assert old is not None
                is_answered = old.probes_good + seen[cell].probes_good >= limits.probes_to_close
                assert is_answered or now - old.since >= 25
                assert old.probes_failed + seen[cell].probes_failed < limits.probe_failures_to_open
            if after.phase is Phase.OPEN and after.hold is Hold.NONE:
                assert after.since + 4 <= after.open_until <= after.since + 20
        changed = {
            cell
            for cell in seen
            if (before.cells[cell].phase if cell in before.cells else Phase.CLOSED) is not state.cells[cell].phase
        }
        assert {event.cell for event in events if event.change is not BreakerChange.KEPT_CLOSED} == changed
        if order and order[0] in state.cells:
            held = state
            state, _ = hold(state, *order, now)
            if order[1] is not Hold.OPEN:
                assert set(state.not_closed) <= set(held.not_closed)
