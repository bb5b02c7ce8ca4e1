"""The conformance vectors through a running Envoy."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from e2e.edge import Edge, start_edge, stored_with_stubs, stub_cells

VECTORS = Path(__file__).parent.parent / "conformance" / "vectors"


@pytest.mark.parametrize("name", ["one-pool", "two-pools", "key-sources", "no-slots", "changed"])
def test_envoy_decides_as_the_vectors_say(name: str, tmp_path: Path) -> None:
    vectors = json.loads((VECTORS / f"{name}.json").read_text())
    path = VECTORS / vectors["table"]
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for case in vectors["cases"]:
        groups[tuple(case["down"])].append(case)
    asked = 0
    with stub_cells([f"cell-{number}" for number in range(1, 10)]) as cells:
        for number, (down, cases) in enumerate(groups.items()):
            stored = stored_with_stubs(path, cells, down=down)
            with start_edge(tmp_path / str(number), stored) as edge:
                for case in cases:
                    asked += check(edge, case, vectors)
    assert asked > 80


def check(edge: Edge, case: dict[str, Any], vectors: dict[str, Any]) -> bool:
    """Ask one case; False where HTTP cannot carry its key as it is."""
    values = [bytes.fromhex(value) for value in case["key_values_hex"]]
    if any(value != value.strip(b" \t") for value in values):
        return False
    method = "POST" if case["writes"] else "GET"
    headers = [(vectors["key_header"], value) for value in values]
    answer = edge.ask([*headers, ("content-length", "0")], method=method)
    assert answer is not None, case["name"]
    expected = case["expect"]
    if any(byte < 0x20 or byte == 0x7F for value in values for byte in value):
        # Not even HTTP: Envoy refuses it before the module sees it.
        assert answer.status == 400, case["name"]
    elif expected["outcome"] == "route":
        assert answer.status == 200, (case["name"], answer)
        assert answer.json()["cell"] == expected["cell"], case["name"]
        assert answer.reached("x-cell-id") == [expected["cell"]]
        assert answer.reached("x-cell-epoch") == [str(vectors["epoch"])]
        assert answer.reached("x-tenant-id") == [values[0].decode()]
    else:
        problem = answer.json()
        assert answer.status == problem["status"] == expected["status"], case["name"]
        assert problem["code"] == expected["code"], case["name"]
        assert problem.get("cell") == expected.get("cell"), case["name"]
        assert problem["type"] == f"urn:cellplane:problem:{expected['code']}"
        assert answer.headers["content-type"] == "application/problem+json"
        if expected["status"] == 503:
            assert answer.headers["retry-after"] == str(vectors["retry_after_s"])
    return True
