"""By what routers judge cells: thresholds, each declared once with its bounds and what it means.

What reads and writes files, what the API takes and what a table says to routers all come from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any, TypeAlias

from cellplane.errors import ValidationError
from cellplane.model.bounds import MAX_COUNT, MAX_SECONDS, check_between, check_rising

MAX_WINDOW_SECONDS = 30.0
"""How far back routers know what they counted, seconds: the longest span that anything is judged by."""

Said: TypeAlias = dict[str, dict[str, float]]
"""What a fleet says of its thresholds: group, name, value; all others are as usual."""


def _threshold(default: float, low: float, high: float, about: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "about": about})


def _seconds(default: float, about: str, *, low: float = 0.001, high: float = MAX_SECONDS) -> Any:
    return _threshold(default, low, high, f"Seconds: {about}.")


def _count(default: int, about: str, *, low: int = 1, high: int = MAX_COUNT) -> Any:
    return _threshold(default, low, high, about)


class _Group:
    """Thresholds that belong together."""

    __slots__ = ()

    def validate(self) -> None:
        """Raise ValidationError naming the first field that breaks a rule."""
        for each in fields(self):  # type: ignore[arg-type]
            check_between(each.name, getattr(self, each.name), each.metadata["low"], each.metadata["high"])


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthThresholds(_Group):
    """Where each measure of a cell begins to cost points (good), and where it has cost all of them (bad)."""

    error_rate_good: float = _threshold(
        0.005,
        0,
        1,
        "Error rate up to which nothing is wrong: what deployments and bad input make on an ordinary day.",
    )
    error_rate_bad: float = _threshold(
        0.25,
        0,
        1,
        "Error rate at which the score is 0: one request in four. A breaker that opens refuses the other three.",
    )
    p99_objective_seconds: float = _seconds(1.0, "what the p99 is to be at most, the service level of the tenants")
    p99_good_ratio: float = _threshold(1.0, 0, 1_000, "p99 ÷ objective up to which nothing is wrong.")
    p99_bad_ratio: float = _threshold(
        5.0, 0, 1_000, "p99 ÷ objective at which the score is 0: by then clients have given up."
    )
    saturation_good: float = _threshold(
        0.7, 0, 10, "Saturation up to which nothing is wrong: queues are short below it, and grow fast above it."
    )
    saturation_bad: float = _threshold(
        1.2,
        0,
        10,
        "Saturation at which the score is 0. Above 1, a cell that is full and otherwise well keeps some points.",
    )
    queue_lag_good_seconds: float = _seconds(10.0, "age of the oldest job up to which nothing is wrong", low=0)
    queue_lag_bad_seconds: float = _seconds(300.0, "age of the oldest job at which the score is 0", low=0)
    min_requests: int = _count(50, "Requests in the window under which the error rate says nothing.")
    min_answers: int = _count(
        100, "Answers in the window under which the p99 says nothing: of fewer it is the slowest alone."
    )

    def validate(self) -> None:
        """See _Group."""
        _Group.validate(self)
        for low, high in (
            ("error_rate_good", "error_rate_bad"),
            ("p99_good_ratio", "p99_bad_ratio"),
            ("saturation_good", "saturation_bad"),
            ("queue_lag_good_seconds", "queue_lag_bad_seconds"),
        ):
            check_rising(low, getattr(self, low), high, getattr(self, high))


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings(_Group):
    """When breakers of one pool open, for how long, and how many at once."""

    open_below_score: float = _threshold(20.0, 0, 100, "Score under which a tick counts against the cell; 0: never.")
    open_ticks: int = _count(5, "Ticks in a row with such a score that open it. A tick is a second.")
    trip_error_rate: float = _threshold(
        0.5, 0, 1, "Error rate from which a tick counts against the cell whatever the score; 0: never."
    )
    trip_p99_seconds: float = _threshold(
        10.0,
        0,
        MAX_SECONDS,
        "p99 from which a tick counts against the cell whatever the score, seconds; 0: never. A router waits 15 s.",
    )
    trip_saturation: float = _threshold(
        2.0, 0, 1_000, "Saturation from which a tick counts against the cell whatever the score; 0: never."
    )
    trip_ticks: int = _count(3, "Ticks in a row over any of these three that open it.")
    open_seconds: float = _seconds(10.0, "how long it is open the first time; it doubles each time that it opens again")
    open_cap_seconds: float = _seconds(300.0, "longest time that it is open before probes are let through")
    jitter_share: float = _threshold(
        0.2,
        0,
        1,
        "Largest part by which that time is shortened at random: cells that opened together, or one at several "
        "routers, are not probed together.",
    )
    forget_seconds: float = _seconds(600.0, "time closed after which earlier openings are forgotten", low=0)
    probe_one_in: int = _count(20, "While half-open, one of so many requests is sent to the cell, as a probe.")
    widen_seconds: float = _seconds(
        5.0,
        "after how long half-open, without so many failed probes, twice as many requests are sent, and so on up to "
        "all, which closes it: of a cell with few requests 20 probes would be hours; 0: never",
        low=0,
    )
    probes_to_close: int = _count(20, "Good probes that close it.")
    probe_failures_to_open: int = _count(
        2, "Failed probes that open it again. One alone is what a well cell has among a hundred."
    )
    max_open_share: float = _threshold(
        0.34,
        0,
        1,
        "Largest share of a pool's cells whose breakers are not closed at once, rounded down: one of three, none of "
        "two. What makes more of them ill is not mended by refusing everybody.",
    )

    def validate(self) -> None:
        """See _Group."""
        _Group.validate(self)
        check_between("open_cap_seconds", self.open_cap_seconds, self.open_seconds, MAX_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings(_Group):
    """When a cell counts as worse than its peers."""

    window_seconds: float = _seconds(
        25.0,
        "span of the rates that are compared; rates of less than half of it are not. At 20 requests a second it holds "
        "500, enough to tell 3 % errors from 0.3 %",
        high=MAX_WINDOW_SECONDS,
    )
    step_seconds: float = _seconds(2.0, "time between two comparisons", low=0)
    windows: int = _count(22, "Comparisons that are remembered (n).", high=1_000)
    wrong_windows: int = _count(
        15,
        "Comparisons of them in which a cell must be worse in the same measure (m). More than window ÷ step: "
        "otherwise one burst of errors, which is in so many windows, would be enough.",
        high=1_000,
    )
    clear_windows: int = _count(
        4, "A gray cell is so until at most this many of the n are wrong; fewer than m.", low=0, high=1_000
    )
    z: float = _threshold(
        3.0, 0.1, 1_000, "Robust z-score from which a cell is worse. One window at 3 is no rarity; fifteen of 22 are."
    )
    min_cells: int = _count(
        3, "Cells with enough requests that a comparison takes: of two, nobody knows which is wrong.", low=3
    )
    min_requests: int = _count(100, "Requests in the window under which a cell is neither compared nor anybody's peer.")
    error_rate_floor: float = _threshold(
        0.003, 0.0001, 1, "Least spread of error rates: what peers without any error are taken to differ by."
    )
    latency_floor_seconds: float = _seconds(
        0.010, "least spread of latencies; below it lie scheduling and garbage collection", low=0.0001
    )
    latency_floor_ratio: float = _threshold(
        0.3,
        0,
        100,
        "Least spread of latencies as a share of the peers' median: cells of one pool serve different tenants. With "
        "z = 3 a cell must be 1.9 times as slow as its peers.",
    )
    percentile_deviations: float = _threshold(
        2.0,
        0,
        10,
        "Standard errors by which a percentile is lowered for the cell that is judged, and raised for its peers. "
        "Where a share of the requests that is near 10 % or 1 % is slow, the percentile itself jumps by chance.",
    )

    def validate(self) -> None:
        """See _Group."""
        _Group.validate(self)
        check_between("wrong_windows", self.wrong_windows, 1, self.windows)
        check_between("clear_windows", self.clear_windows, 0, self.wrong_windows - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """By what a fleet's cells are judged.

    Attributes:
        score: what costs a cell points.
        breaker: when its circuit breaker opens.
        peers: when it is worse than the others of its pool.
    """

    score: HealthThresholds = field(default_factory=HealthThresholds)
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    peers: PeerSettings = field(default_factory=PeerSettings)

    def validate(self, path: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        for group in fields(self):
            try:
                getattr(self, group.name).validate()
            except ValidationError as error:
                raise ValidationError(f"{path}.{group.name}.{error.field}", error.message) from error


USUAL_HEALTH = Health()
"""By what cells are judged where a fleet says nothing."""

MIN_OBJECTIVE_SECONDS = 0.001
"""Least p99 that can be asked for: what is below is not measured."""

_GROUPS = {"score": HealthThresholds, "breaker": BreakerSettings, "peers": PeerSettings}


def said_of(health: Health) -> Said:
    """What is other than usual, as JSON has it."""
    said: Said = {}
    for group in fields(health):
        values, usual = getattr(health, group.name), getattr(USUAL_HEALTH, group.name)
        changed = {
            each.name: getattr(values, each.name)
            for each in fields(values)
            if getattr(values, each.name) != getattr(usual, each.name)
        }
        if changed:
            said[group.name] = changed
    return said


def health_of(path: str, said: Mapping[str, Any], *, skip_unknown: bool = False) -> Health:
    """What JSON says.

    Args:
        path: of the field that holds it.
        said: as ``said_of`` gives it.
        skip_unknown: whether names that this release does not know are passed over.

    Raises:
        ValidationError: a name is unknown, or no number is given. Bounds are for ``validate``.
    """
    groups: dict[str, Any] = {}
    for group, values in said.items():
        of = _GROUPS.get(group)
        if of is None and skip_unknown:
            continue
        if of is None or not isinstance(values, Mapping):
            raise ValidationError(f"{path}.{group}", f"expected numbers, by name, in {', '.join(_GROUPS)}")
        types = {each.name: each.type for each in fields(of)}
        given = {}
        for name, value in values.items():
            if name in types:
                given[name] = _number(f"{path}.{group}.{name}", value, is_whole=types[name] is int)
            elif not skip_unknown:
                raise ValidationError(f"{path}.{group}.{name}", f"no such threshold: expected {', '.join(types)}")
        groups[group] = of(**given)
    return Health(**groups)


def _number(path: str, value: object, *, is_whole: bool) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise ValidationError(path, f"expected a number, found {value!r}")
    if not is_whole:
        return float(value)
    if value != int(value):
        raise ValidationError(path, f"expected a whole number, found {value:g}")
    return int(value)
