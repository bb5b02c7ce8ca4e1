"""The Python reference against the committed vectors."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellplane.errors import TableError
from cellplane.routing import Refusal, Route, RoutingTable, decide, decide_many
from cellplane.routing.choose_many import REFUSED
from cellplane.routing.decide import RefusalCode
from conformance import generate

VECTORS = generate.VECTORS
TABLES = [
    "one-pool",
    "two-pools",
    "key-sources",
    "verified",
    "no-slots",
    "changed",
    "policies",
    "policies-changed",
    "open-to-all",
]


def load(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return value


def broken_file(base: bytes, case: dict[str, Any]) -> bytes:
    """A case of broken.json as bytes."""
    data = bytearray(base)
    for offset, replacement in case["patch"]:
        patch = bytes.fromhex(replacement)
        data[offset : offset + len(patch)] = patch
    if case["truncate"] is not None:
        del data[case["truncate"] :]
    data += bytes.fromhex(case["append_hex"])
    if case["fix_checksum"] and len(data) >= 128:
        data[96:128] = hashlib.sha256(data[:96] + data[128:]).digest()
    return bytes(data)


@pytest.mark.parametrize("name", TABLES)
def test_decisions(name: str) -> None:
    vectors = load(name)
    overlay = (VECTORS / vectors["overlay"]).read_bytes() if "overlay" in vectors else None
    table = RoutingTable((VECTORS / vectors["table"]).read_bytes(), overlay)
    assert table.epoch == vectors["epoch"]
    for case in vectors["cases"]:
        decision = generate.question_of(case).decide(table)
        assert generate.expectation(decision) == case["expect"], case["name"]


@pytest.mark.parametrize("name", TABLES)
def test_many_keys_are_decided_as_each_alone(name: str) -> None:
    vectors = load(name)
    overlay = (VECTORS / vectors["overlay"]).read_bytes() if "overlay" in vectors else None
    table = RoutingTable((VECTORS / vectors["table"]).read_bytes(), overlay)
    keys = [*generate.KEYS, *filter(None, generate.ODD_KEYS), *(b"key-%d" % number for number in range(500))]
    ids = [cell.id for cell in table.cells]
    for number, down in enumerate(([], ids[:1], ids[:2], ids[2:], ids)):
        for writes in (False, True):
            up = np.array([cell not in down for cell in ids])
            loads = {cell: (place * 7 + number) % 5 for place, cell in enumerate(ids)}
            chance = number * 2_499
            many = decide_many(
                table, keys, writes=writes, up=up, turn=number, load=np.array([*loads.values()]), chance=chance
            )
            for place, key in enumerate(keys):
                one = decide(
                    table,
                    key,
                    writes=writes,
                    has_healthy_host=generate.all_but(down),
                    turn=number,
                    load=loads.__getitem__,
                    chance=chance,
                )
                if not isinstance(one, Refusal):
                    assert (ids[many.cell[place]], many.refusal[place]) == (one.cell, -1)
                    assert (many.canary[place], many.stale[place]) == (
                        one.canary,
                        isinstance(one, Route) and one.stale,
                    )
                    shard = tuple(ids[cell] for cell in many.shards[place].tolist() if cell < len(ids))
                    assert shard == one.shard
                else:
                    assert (many.cell[place], tuple(RefusalCode)[many.refusal[place]]) == (REFUSED, one.code), key


@pytest.mark.parametrize("case", load("broken")["cases"], ids=lambda case: case["name"])
def test_broken_tables_are_refused(case: dict[str, Any]) -> None:
    base = (VECTORS / load("broken")["base"]).read_bytes()
    broken = broken_file(base, case)
    assert broken != base
    with pytest.raises(TableError):
        RoutingTable(broken)


@pytest.mark.parametrize("case", load("broken-policies")["cases"], ids=lambda case: case["name"])
def test_urls_and_pages_that_no_header_or_body_may_have_are_refused(case: dict[str, Any]) -> None:
    base = (VECTORS / load("broken-policies")["base"]).read_bytes()
    broken = broken_file(base, case)
    assert broken != base
    with pytest.raises(TableError, match=r"public_url|maintenance page|UTF-8"):
        RoutingTable(broken)


@pytest.mark.parametrize("case", load("broken-overlay")["cases"], ids=lambda case: case["name"])
def test_broken_overlays_are_refused(case: dict[str, Any]) -> None:
    vectors = load("broken-overlay")
    base = RoutingTable((VECTORS / vectors["base"]).read_bytes()).base
    overlay = (VECTORS / vectors["overlay"]).read_bytes()
    RoutingTable(base, overlay)
    broken = broken_file(overlay, case)
    assert broken != overlay
    with pytest.raises(TableError):
        RoutingTable(base, broken)


def test_vectors_are_what_the_reference_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "VECTORS", tmp_path)
    generate.main()
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in VECTORS.iterdir()}
    assert written == committed, "run make vectors, and read the difference before you commit it"
