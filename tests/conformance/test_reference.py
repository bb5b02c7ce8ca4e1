"""The Python reference against the committed vectors."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from cellplane.errors import TableError
from cellplane.routing import RoutingTable, decide
from conformance import generate

VECTORS = generate.VECTORS
TABLES = ["one-pool", "two-pools"]


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
    table = RoutingTable((VECTORS / vectors["table"]).read_bytes())
    assert table.epoch == vectors["epoch"]
    for case in vectors["cases"]:
        decision = decide(
            table,
            [bytes.fromhex(value) for value in case["key_values_hex"]],
            writes=case["writes"],
            has_healthy_host=generate.all_but(case["down"]),
        )
        assert generate.expectation(decision) == case["expect"], case["name"]


@pytest.mark.parametrize("case", load("broken")["cases"], ids=lambda case: case["name"])
def test_broken_tables_are_refused(case: dict[str, Any]) -> None:
    base = (VECTORS / load("broken")["base"]).read_bytes()
    broken = broken_file(base, case)
    assert broken != base
    with pytest.raises(TableError):
        RoutingTable(broken)


def test_vectors_are_what_the_reference_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "VECTORS", tmp_path)
    generate.main()
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in VECTORS.iterdir()}
    assert written == committed, "run make vectors, and read the difference before you commit it"
