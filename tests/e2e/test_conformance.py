"""The conformance vectors through a running Envoy."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cellplane.model import KeySourceKind
from cellplane.routing import RoutingTable
from cellplane.routing.edge import EdgePolicy
from conformance import generate
from conformance.generate import VECTORS, Question
from e2e.edge import Edge, start_edge, stored_with_stubs, stub_cells
from e2e.tokens import jwk_set, new_key, token

ISSUER_KEY = new_key("EC", "conformance")

CLIENTS = [f"127.0.0.{number}" for number in range(1, 9)]
"""Addresses of loopback that clients can have."""

TOO_SLOW = "by-request"
"""A pool whose tenants may send one request in 1,000 seconds: what comes of a second one is not the vectors' matter."""

NORMALISED = {"/t//tenant-001": "/t/tenant-001", "/t/..": "/"}
"""Paths that Envoy rewrites before anything sees them."""


@pytest.mark.parametrize(
    "name",
    [
        "one-pool",
        "two-pools",
        "key-sources",
        "verified",
        pytest.param("policies", marks=pytest.mark.long),
        pytest.param("policies-changed", marks=pytest.mark.long),
        pytest.param("open-to-all", marks=pytest.mark.long),
        pytest.param("no-slots", marks=pytest.mark.long),
        "changed",
    ],
)
def test_envoy_decides_as_the_vectors_say(name: str, tmp_path: Path) -> None:
    vectors = json.loads((VECTORS / f"{name}.json").read_text())
    path = VECTORS / vectors["table"]
    overlay_path = VECTORS / vectors["overlay"] if "overlay" in vectors else None
    table = RoutingTable(path.read_bytes(), None if overlay_path is None else overlay_path.read_bytes())
    jwks, cookie_keys = tmp_path / "jwks.json", tmp_path / "cookie-keys"
    jwks.write_text(jwk_set([ISSUER_KEY]))
    cookie_keys.write_text(vectors["cookie_keys"])
    groups: dict[tuple[str, ...], list[Question]] = defaultdict(list)
    for question in questions(vectors["cases"], table):
        groups[question.down].append(question)
    asked = 0
    with stub_cells([cell.id for cell in table.cells]) as cells:
        for number, (down, group) in enumerate(groups.items()):
            stored = stored_with_stubs(path, cells, down=down, overlay_path=overlay_path)
            issuers = (replace(issuer, jwks_file=str(jwks)) for issuer in stored.table.edge.jwt)
            stored.table.edge = EdgePolicy(tuple(issuers))
            with start_edge(tmp_path / str(number), stored, cookie_keys=cookie_keys) as edge:
                for question in group:
                    asked += check(edge, question, table)
    assert asked > 80


def questions(cases: Iterable[dict[str, Any]], table: RoutingTable) -> Iterable[Question]:
    """The questions of the vectors, asked from addresses that a client can have here; their answers are checked."""
    for case in cases:
        question = generate.question_of(case)
        assert generate.expectation(question.decide(table)) == case["expect"]
        if question.load or case["expect"].get("pool") == TOO_SLOW:
            continue
        if case["expect"].get("reason") != "source":
            yield replace(question, source=CLIENTS[0])
        else:
            yield from (replace(question, source=client) for client in CLIENTS)


def _proofs(question: Question) -> list[tuple[str, bytes | str]]:
    """The headers that carry claims and cookies: of two claims, one is in a header, one in a cookie."""
    cookies = list(question.cookies)
    texts = [token(ISSUER_KEY, org={"id": claim.decode()}) for claim in question.claims]
    headers: list[tuple[str, bytes | str]] = [("authorization", f"Bearer {text}") for text in texts[:1]]
    cookies += [f"session={text}" for text in texts[1:]]
    return [*headers, *(("cookie", cookie) for cookie in cookies)]


def _as_it_may_come(question: Question) -> Iterable[Question]:
    """The question, whichever turn it is, and whatever chance says."""
    return (replace(question, turn=turn, chance=chance) for turn in range(8) for chance in (0, 9_999))


def check(edge: Edge, question: Question, table: RoutingTable) -> bool:
    """Ask one question; False where HTTP cannot carry its key as it is."""
    values = question.values
    if any(value != value.strip(b" \t") for value in values):
        return False
    seen = replace(question, path=NORMALISED.get(question.path, question.path))
    possible = [generate.expectation(known.decide(table)) for known in _as_it_may_come(seen)]
    expected = possible[0]
    header = next(source.name for source in table.key_sources if source.kind is KeySourceKind.HEADER)
    answer = edge.ask(
        [*((header, value) for value in values), *_proofs(question), ("content-length", "0")],
        method="POST" if question.writes else "GET",
        path=question.path,
        authority=question.authority,
        source=question.source,
    )
    name = question.name
    assert answer is not None, name
    if any(byte < 0x20 or byte == 0x7F for value in values for byte in value) or "%2F" in question.path:
        # Not even HTTP, or a hidden slash: Envoy refuses it before the module sees it.
        assert answer.status == 400, name
    elif expected["outcome"] == "redirect":
        assert answer.status == 307, (name, answer)
        assert answer.headers["location"] in {
            known["location"] + seen.path for known in possible if known["outcome"] == "redirect"
        }
    elif expected.get("stale"):
        # Nothing is kept of a cell's answers yet.
        assert (answer.status, answer.json()["code"]) == (503, "cell-unavailable"), name
    elif expected["outcome"] == "route":
        assert answer.status == 200, (name, answer)
        (cell,) = answer.reached("x-cell-id")
        assert cell in {known["cell"] for known in possible if known["outcome"] == "route"}, name
        assert answer.json()["cell"] == cell == answer.headers["x-cell-id"], name
        assert answer.reached("x-cell-epoch") == [str(table.epoch)]
        key = seen.key(table)
        assert answer.reached("x-tenant-id") == ([] if key is None else [key.decode()])
    else:
        problem = answer.json()
        assert answer.status == problem["status"] == expected["status"], (name, answer)
        assert problem["code"] == expected["code"], name
        assert problem.get("cell") == expected.get("cell"), name
        assert problem["type"] == f"urn:cellplane:problem:{expected['code']}"
        assert answer.headers["content-type"] == "application/problem+json"
        if expected["status"] == 503:
            assert answer.headers["retry-after"] == str(table.retry_after_seconds)
    return True
