"""Settings that cannot be are refused with the name of the field."""

from typing import Any

import pytest

from cellplane.errors import ValidationError
from cellplane.health.concentration import PoisonSettings
from cellplane.health.score import Declared
from cellplane.health.window import WindowSettings
from cellplane.model.health import BreakerSettings, Health, HealthThresholds, PeerSettings, health_of, said_of

EVERY = (WindowSettings, HealthThresholds, PeerSettings, BreakerSettings, PoisonSettings)


@pytest.mark.parametrize("settings", EVERY)
def test_the_defaults_are_valid(settings: type[Any]) -> None:
    settings().validate()


@pytest.mark.parametrize(
    ("settings", "changed", "field"),
    [
        (WindowSettings, {"span_seconds": 0}, "span_seconds"),
        (WindowSettings, {"resolution_seconds": 0.001}, "resolution_seconds"),
        (WindowSettings, {"resolution_seconds": 31}, "resolution_seconds"),
        (WindowSettings, {"max_gap_seconds": float("nan")}, "max_gap_seconds"),
        (WindowSettings, {"bounds_seconds": ()}, "bounds_seconds.length"),
        (WindowSettings, {"bounds_seconds": (0.0,)}, "bounds_seconds[0]"),
        (WindowSettings, {"bounds_seconds": (1.0, 1.0)}, "bounds_seconds[1]"),
        (WindowSettings, {"bounds_seconds": (1.0, float("inf"))}, "bounds_seconds[1]"),
        (HealthThresholds, {"error_rate_good": -0.1}, "error_rate_good"),
        (HealthThresholds, {"error_rate_bad": 1.1}, "error_rate_bad"),
        (HealthThresholds, {"p99_bad_ratio": 1.0}, "p99_bad_ratio"),
        (HealthThresholds, {"saturation_good": 1.2}, "saturation_bad"),
        (HealthThresholds, {"queue_lag_bad_seconds": float("nan")}, "queue_lag_bad_seconds"),
        (HealthThresholds, {"p99_objective_seconds": 0}, "p99_objective_seconds"),
        (HealthThresholds, {"min_requests": 0}, "min_requests"),
        (HealthThresholds, {"min_answers": 0}, "min_answers"),
        (PeerSettings, {"window_seconds": 0}, "window_seconds"),
        (PeerSettings, {"step_seconds": -1}, "step_seconds"),
        (PeerSettings, {"windows": 0}, "windows"),
        (PeerSettings, {"wrong_windows": 23}, "wrong_windows"),
        (PeerSettings, {"clear_windows": 15}, "clear_windows"),
        (PeerSettings, {"z": 0}, "z"),
        (PeerSettings, {"min_cells": 2}, "min_cells"),
        (PeerSettings, {"min_requests": 0}, "min_requests"),
        (PeerSettings, {"error_rate_floor": 0}, "error_rate_floor"),
        (PeerSettings, {"latency_floor_seconds": 0}, "latency_floor_seconds"),
        (PeerSettings, {"latency_floor_ratio": -1}, "latency_floor_ratio"),
        (PeerSettings, {"percentile_deviations": 11}, "percentile_deviations"),
        (BreakerSettings, {"open_below_score": 101}, "open_below_score"),
        (BreakerSettings, {"trip_error_rate": -0.1}, "trip_error_rate"),
        (BreakerSettings, {"trip_p99_seconds": -1}, "trip_p99_seconds"),
        (BreakerSettings, {"trip_saturation": float("nan")}, "trip_saturation"),
        (BreakerSettings, {"open_ticks": 0}, "open_ticks"),
        (BreakerSettings, {"probe_one_in": 0}, "probe_one_in"),
        (BreakerSettings, {"open_seconds": 0}, "open_seconds"),
        (BreakerSettings, {"open_cap_seconds": 9}, "open_cap_seconds"),
        (BreakerSettings, {"forget_seconds": -1}, "forget_seconds"),
        (BreakerSettings, {"jitter_share": 1.1}, "jitter_share"),
        (BreakerSettings, {"max_open_share": -0.1}, "max_open_share"),
        (PoisonSettings, {"errors_share": 0.5}, "errors_share"),
        (PoisonSettings, {"busy_share": 1.01}, "busy_share"),
        (PoisonSettings, {"exit_factor": 1.01}, "exit_factor"),
        (PoisonSettings, {"well_error_rate": 0.05}, "ill_error_rate"),
        (PoisonSettings, {"ill_busy_share": 11}, "ill_busy_share"),
        (PoisonSettings, {"min_errors": 0}, "min_errors"),
        (PoisonSettings, {"windows": 0}, "windows"),
    ],
)
def test_a_setting_that_cannot_be_names_its_field(settings: type[Any], changed: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**changed).validate()
    assert caught.value.field == field


def test_no_limit_is_a_limit_that_never_trips() -> None:
    BreakerSettings(trip_error_rate=0, trip_p99_seconds=0, trip_saturation=0).validate()


def test_what_a_cell_declares_is_above_0() -> None:
    Declared().validate("health")
    Declared(concurrency=10, connections=50).validate("health")
    with pytest.raises(ValidationError) as caught:
        Declared(connections=0).validate("cells[0].health")
    assert caught.value.field == "cells[0].health.connections"


def test_what_a_fleet_says_is_read_back_as_it_was() -> None:
    health = Health(score=HealthThresholds(min_requests=7), breaker=BreakerSettings(open_seconds=3.5))
    assert said_of(health) == {"score": {"min_requests": 7}, "breaker": {"open_seconds": 3.5}}
    assert health_of("health", said_of(health)) == health
    assert health_of("health", {"score": {"min_requests": 7.0}}).score.min_requests == 7


@pytest.mark.parametrize(
    ("said", "field", "message"),
    [
        ({"score": {"nonsense": 1}}, "health.score.nonsense", "no such threshold: expected "),
        ({"nonsense": {}}, "health.nonsense", "expected numbers, by name, in score, breaker, peers"),
        ({"score": 3}, "health.score", "expected numbers"),
        ({"score": {"min_requests": "many"}}, "health.score.min_requests", "expected a number, found 'many'"),
        ({"score": {"min_requests": True}}, "health.score.min_requests", "expected a number, found True"),
        ({"score": {"min_requests": 1.5}}, "health.score.min_requests", "expected a whole number, found 1.5"),
        ({"breaker": {"open_seconds": float("inf")}}, "health.breaker.open_seconds", "expected a number"),
    ],
)
def test_what_a_fleet_cannot_say_names_its_field(said: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        health_of("health", said)
    assert caught.value.field == field
    assert message in str(caught.value)


def test_what_a_later_release_says_is_passed_over_where_asked() -> None:
    said = {"later": {"x": 1}, "score": {"later": 2, "min_requests": 7}}
    assert health_of("health", said, skip_unknown=True) == Health(score=HealthThresholds(min_requests=7))
