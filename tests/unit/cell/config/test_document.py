"""What a configuration document may say, and for whom a flag is on."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.cell.config import ConfigError, Document, Rollout

WHOLE: dict[str, Any] = {
    "version": 1,
    "revision": 12,
    "cell": "cell-3",
    "layers": {"fleet": {"batch": 200}, "cell": {"batch": 50}},
    "tenants": {"acme": {"batch": 500}},
    "flags": {"new": {"percent": 5, "cells": ["cell-1"], "tenants": {"globex": False}}},
}


def test_a_document_is_read() -> None:
    found = Document.parse(json.dumps(WHOLE).encode())
    assert (found.cell_id, found.revision) == ("cell-3", 12)
    assert found.layers == {"fleet": {"batch": 200}, "pool": {}, "cell": {"batch": 50}}
    assert found.tenants == {"acme": {"batch": 500}}
    assert found.flags["new"] == Rollout(percent=5.0, cells=frozenset({"cell-1"}), tenants={"globex": False})


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"version": 2}, "version"),
        ({"revision": -1}, "revision"),
        ({"revision": True}, "revision"),
        ({"cell": ""}, "cell"),
        ({"extra": 1}, "extra"),
        ({"layers": {"region": {}}}, "region"),
        ({"layers": {"cell": []}}, "layers.cell"),
        ({"tenants": {"acme": 1}}, "tenants.acme"),
        ({"flags": {"new": {"percent": 101}}}, "flags.new.percent"),
        ({"flags": {"new": {"percent": True}}}, "flags.new.percent"),
        ({"flags": {"new": {"percent": float("nan")}}}, "flags.new.percent"),
        ({"flags": {"new": {"cells": "cell-1"}}}, "flags.new.cells"),
        ({"flags": {"new": {"everywhere": 1}}}, "flags.new.everywhere"),
        ({"flags": {"new": {"tenants": {"acme": "on"}}}}, "flags.new.tenants.acme"),
        ({"flags": {"new": {"percentage": 5}}}, "percentage"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        Document.parse(json.dumps({**WHOLE, **changes}).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"null"])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Document.parse(data)


def test_a_flag_is_off_until_somebody_says_otherwise() -> None:
    assert not Rollout().is_on("new", "cell-1", "acme")
    assert not Rollout().is_on("new", "cell-1", None)
    assert Rollout(everywhere=True).is_on("new", "cell-1", None)


def test_a_flag_is_on_for_cells_and_tenants_that_are_named() -> None:
    rollout = Rollout(cells=frozenset({"cell-1"}), tenants={"acme": True, "globex": False})
    assert rollout.is_on("new", "cell-1", "other")
    assert not rollout.is_on("new", "cell-1", "globex")
    assert rollout.is_on("new", "cell-2", "acme")
    assert not rollout.is_on("new", "cell-2", "other")
    assert rollout.is_on("new", "cell-1", None)


@given(tenant=st.text(max_size=20), low=st.floats(0, 100), high=st.floats(0, 100))
def test_who_has_it_keeps_it_as_the_share_grows(tenant: str, low: float, high: float) -> None:
    low, high = sorted((low, high))
    if Rollout(percent=low).is_on("new", "cell-1", tenant):
        assert Rollout(percent=high).is_on("new", "cell-2", tenant)
    assert Rollout(percent=100).is_on("new", "cell-1", tenant)
    assert not Rollout(percent=0).is_on("new", "cell-1", tenant)


def test_a_share_of_tenants_is_that_share_and_another_flags_is_another() -> None:
    tenants = [f"tenant-{number}" for number in range(20_000)]
    ten = Rollout(percent=10)
    first, second = ({each for each in tenants if ten.is_on(flag, "c", each)} for flag in ("first", "second"))
    assert 1_800 < len(first) < 2_200
    assert 1_800 < len(second) < 2_200
    assert 120 < len(first & second) < 280, "a tenth of a tenth: neither the same nor none"
