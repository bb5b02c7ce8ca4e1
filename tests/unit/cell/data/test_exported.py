"""What the package shows, and what it has in memory."""

import json
import subprocess
import sys

import pytest

import cellplane.cell.data
import cellplane.cell.wiring


def test_public_names_are_exactly_these() -> None:
    assert cellplane.cell.data.__all__ == [
        "IDEMPOTENCY_SQL",
        "IDEMPOTENCY_TABLE",
        "AsyncCellConnection",
        "AsyncCellPool",
        "AsyncCellSession",
        "CellConnection",
        "CellPool",
        "CellSession",
        "IdempotencySettings",
        "RowGuard",
        "Run",
        "cell_async_connect",
        "cell_async_engine",
        "cell_async_pool",
        "cell_async_sessions",
        "cell_connect",
        "cell_engine",
        "cell_pool",
        "cell_sessions",
        "check_row_guard",
        "check_row_guard_async",
        "claim_database",
        "claim_database_async",
        "fingerprint_of",
        "forget_expired",
        "forget_expired_async",
        "idempotent",
        "idempotent_async",
        "whole_cell",
    ]
    assert all(hasattr(cellplane.cell.data, name) for name in cellplane.cell.data.__all__)
    with pytest.raises(AttributeError, match="cell_motor"):
        cellplane.cell.data.cell_motor  # type: ignore[attr-defined]  # noqa: B018


def test_public_names_of_wiring_are_exactly_these() -> None:
    assert cellplane.cell.wiring.__all__ == [
        "Broker",
        "CellManifest",
        "Database",
        "Resolver",
        "WiringLimits",
        "check_wiring",
        "resolve",
    ]
    assert all(hasattr(cellplane.cell.wiring, name) for name in cellplane.cell.wiring.__all__)


@pytest.mark.parametrize(
    ("imports", "absent"),
    [
        ("cellplane.cell.data", {"sqlalchemy", "greenlet", "nats"}),
        (
            "cellplane.cell.wiring, cellplane.cell.moves, cellplane.cell.row_security",
            {"sqlalchemy", "psycopg", "nats"},
        ),
    ],
)
def test_nothing_is_imported_before_it_is_used(imports: str, absent: set[str]) -> None:
    script = f"import json, sys, {imports}; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    assert absent.isdisjoint(json.loads(output))
