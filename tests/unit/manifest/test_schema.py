"""The JSON Schema: the published one is the code's, and it judges as the code does where it can."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from cellplane.manifest.files import read
from cellplane.manifest.schema import schema
from unit.manifest.building import CELLS, POOL, document, fleet_document

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = ROOT / "docs" / "fleet.schema.json"
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(PUBLISHED.read_text()))


def wrong(text: str) -> list[str]:
    return [error.message for each in yaml.safe_load_all(text) for error in validator().iter_errors(each)]


def test_the_published_schema_is_the_codes() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "fleet_schema.py"))
    same = PUBLISHED.read_text() == script["text"]()
    assert same, "docs/fleet.schema.json is not what the code says: run make reference"


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_keep_the_schema(path: Path) -> None:
    assert wrong(path.read_text()) == []
    assert path.read_text().startswith("# yaml-language-server: $schema=../docs/fleet.schema.json\n")


@pytest.mark.parametrize(
    "text",
    [
        document("Cell", "cell-1", "{address: h, port: 0}"),
        document("Cell", "cell-1", "{address: h}"),
        document("Cell", "Cell", "{address: h, port: 1}"),
        document("Cell", "cell-1", "{address: h, port: 1, prot: 1}"),
        document("Cell", "cell-1", "{address: 'h i', port: 1}"),
        document("Cell", "cell-1", "{address: h, port: 1, capacity: {rps: 0}}"),
        document("Cell", "cell-1", "{address: h, port: 1, weight: 101}"),
        document("Pool", "gold", "{cells: []}"),
        document("Pool", "gold", "{cells: [a, a]}"),
        document("Pool", "gold", "{cells: [a], dedicated: maybe}"),
        document("Pool", "gold", "{cells: [a], strategy: rnig}"),
        document("Tenant", "a b"),
        document("Tenant", "a", "{attributes: {A: b}}"),
        document("Tenant", "a", "{attributes: {a: 7}}"),
        document("Tenant", "a", "{state: moving}"),
        fleet_document("{rules: [{name: a, match: {tiers: [b]}}]}"),
        document("Fleet", "shop"),
        document("Fleet", "shop", "{keySources: []}"),
        document("Fleet", "shop", "{keySources: [{kind: path, name: /t/, trusted: maybe}]}"),
        fleet_document("{jwt: [{name: id, issuer: i, jwksFile: /k, clockSkewSeconds: 301}]}"),
        fleet_document("{jwt: [{name: id, issuer: 'a b', jwksFile: /k}]}"),
        fleet_document("{jwt: [{name: id, issuer: i, jwksFile: /k, cookie: 'a=b'}]}"),
        fleet_document("{jwt: [{name: ID, issuer: i, jwksFile: /k}]}"),
        document("Shop", "shop"),
        "kind: Tenant\nmetadata: {name: a}\n",
        "apiVersion: v1\nkind: Tenant\nmetadata: {name: a}\n",
        "apiVersion: cellplane.dev/v1alpha1\nkind: Tenant\n",
        "apiVersion: cellplane.dev/v1alpha1\nkind: Cell\nmetadata: {name: a}\n",
    ],
)
def test_the_schema_refuses_what_the_code_refuses(text: str) -> None:
    assert read([("f", text)]).problems
    assert wrong(text)


def test_the_schema_takes_what_the_code_takes() -> None:
    text = fleet_document(
        "{jwt: [{name: id, issuer: i, jwksFile: /k, cookie: __Host-a}, {name: b, issuer: i, jwksUrl: 'https://b/', "
        "audiences: []}]}"
    )
    text += CELLS + POOL + document("Tenant", "ACME@1", "{load: {rps: 0}, cells: [], attributes: {a: Ä}}")
    assert not read([("f", text)]).problems
    assert wrong(text) == []


def descriptions(below: Any) -> list[str]:
    found = []
    for name, each in below.get("properties", {}).items():
        if isinstance(each, dict):
            found += descriptions(each)
            if name not in {"metadata", "spec"}:
                found.append(each["description"])
    return found


def test_every_field_is_described_in_a_sentence() -> None:
    found = [text for each in schema()["$defs"].values() for text in descriptions(each)]
    assert len(found) > 40
    assert all(text.endswith(".") for text in found)
