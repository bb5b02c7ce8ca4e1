"""A pool of cells that answer at random: what its router counts, and what the comparison of peers says of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log

import numpy as np

from cellplane.health import peers
from cellplane.health.histogram import LATENCY_BOUNDS_SECONDS
from cellplane.health.peers import GrayEvent, PeerState
from cellplane.health.window import Counters, Window, WindowSettings
from cellplane.model.health import PeerSettings

SETTINGS = PeerSettings()
ONSET_SECONDS = 90.0
"""When a fault begins: the memory of the comparison is full by then."""


@dataclass(frozen=True)
class Traffic:
    """What one cell gets and how it answers: log-normal latencies, of which a share is later by a constant."""

    rps: float = 20.0
    error_rate: float = 0.001
    median_seconds: float = 0.05
    sigma: float = 0.6
    slow_share: float = 0.0
    slow_seconds: float = 2.0


HEALTHY = Traffic()
ERRORS = Traffic(error_rate=0.03)
SLOW = Traffic(slow_share=0.2)
Weather = Callable[[int, float], Traffic]
"""The traffic of a cell, by its number, at a time."""


def events(cells: int, weather: Weather, seconds: float, seed: int, tick_seconds: float = 1.0) -> Iterator[GrayEvent]:
    """What the comparison says over so many seconds, with one sample of every cell a tick."""
    rng = np.random.default_rng(seed)
    names = [f"cell-{number}" for number in range(cells)]
    totals = {name: Counters(0, 0, (0,) * (len(LATENCY_BOUNDS_SECONDS) + 1), 0.0) for name in names}
    windows = {name: Window(WindowSettings()) for name in names}
    state = PeerState()
    for tick in range(int(seconds / tick_seconds)):
        now = (tick + 1) * tick_seconds
        for number, name in enumerate(names):
            totals[name] = counted(totals[name], weather(number, now), tick_seconds, rng)
            windows[name] = windows[name].observe(totals[name], now)
        if peers.compare_due(state, now, SETTINGS):
            rates = {name: window.rates(now, SETTINGS.window_seconds) for name, window in windows.items()}
            state, found = peers.step(state, rates, now, SETTINGS)
            yield from found


def counted(before: Counters, traffic: Traffic, seconds: float, rng: np.random.Generator) -> Counters:
    """The counters after some more seconds of traffic."""
    requests = int(rng.poisson(traffic.rps * seconds))
    latencies = rng.lognormal(log(traffic.median_seconds), traffic.sigma, requests)
    latencies += traffic.slow_seconds * (rng.random(requests) < traffic.slow_share)
    counts = np.bincount(np.searchsorted(LATENCY_BOUNDS_SECONDS, latencies), minlength=len(before.latency_counts))
    return Counters(
        before.requests + requests,
        before.errors + int(rng.binomial(requests, traffic.error_rate)),
        tuple(old + int(new) for old, new in zip(before.latency_counts, counts, strict=True)),
        before.latency_seconds + float(latencies.sum()),
    )


def seconds_until_found(cells: int, fault: Traffic, healthy: Traffic, seed: int) -> float | None:
    """How long after the fault of one cell begins it is found gray; None where it is not within two minutes."""
    onset = ONSET_SECONDS + np.random.default_rng(seed + 1_000_000).uniform(0, SETTINGS.step_seconds)
    weather: Weather = lambda number, now: fault if number == 0 and now > onset else healthy  # noqa: E731
    for event in events(cells, weather, ONSET_SECONDS + 120, seed):
        if event.cell == "cell-0" and event.is_gray and event.at > onset:
            return event.at - onset
    return None


def false_alarms(cells: int, weather: Weather, windows: int, seed: int) -> int:
    """How often a cell is found gray in so many windows, one after each step, of a pool where none is."""
    step = SETTINGS.step_seconds
    return sum(event.is_gray for event in events(cells, weather, windows * step, seed, tick_seconds=step))


def plain(number: int, now: float) -> Traffic:
    """20 requests a second, 0.1 % errors, p99 four times the median."""
    return HEALTHY


def failing(number: int, now: float) -> Traffic:
    """Every cell has 1 % errors."""
    return Traffic(error_rate=0.01)


def heavy_tailed(number: int, now: float) -> Traffic:
    """p99 sixteen times the median."""
    return Traffic(sigma=1.2)


def two_speeds(number: int, now: float) -> Traffic:
    """Every cell is 2 s later on 1 % of requests: the p99 lies between fast and slow, and jumps by chance."""
    return Traffic(slow_share=0.01)


def unlike(number: int, now: float) -> Traffic:
    """Cells of different tenants: medians of 40 to 60 ms, 15 to 60 requests a second, 0 to 0.4 % errors."""
    return Traffic(
        rps=(15, 60, 30)[number % 3], median_seconds=(0.05, 0.06, 0.04)[number % 3], error_rate=number % 3 * 0.002
    )


def quiet(number: int, now: float) -> Traffic:
    """5 requests a second, 0.3 % errors: one error is 0.7 %."""
    return Traffic(rps=5, error_rate=0.003)


def shared(number: int, now: float) -> Traffic:
    """Every three minutes all cells fail and are slow for a minute, the one 3 s after the other, up to 9 s."""
    is_bad = (now - 3 * (number % 4)) % 180 < 60
    return Traffic(error_rate=0.03, slow_share=0.2) if is_bad else HEALTHY


WEATHERS: dict[str, Weather] = {
    "plain": plain,
    "1 % errors everywhere": failing,
    "heavy tails": heavy_tailed,
    "two speeds": two_speeds,
    "unlike cells": unlike,
    "little traffic": quiet,
    "a shared cause": shared,
}
"""Pools where no cell is gray."""
