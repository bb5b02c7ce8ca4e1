"""What the SDK shows, and what importing it costs."""

import json
import subprocess
import sys

import pytest

import cellplane.cell


def test_public_names_are_exactly_these() -> None:
    assert cellplane.cell.__all__ == [
        "CellContext",
        "CellError",
        "CellLoad",
        "CellMiddleware",
        "CellSettings",
        "CellUse",
        "CellWsgiMiddleware",
        "Here",
        "InvalidContextError",
        "InvalidSettingError",
        "MissingSettingsError",
        "MovedTo",
        "Moves",
        "NoCellContextError",
        "Problem",
        "Unknown",
        "carried",
        "current",
        "current_or_none",
        "entered",
    ]
    assert all(hasattr(cellplane.cell, name) for name in cellplane.cell.__all__)
    with pytest.raises(AttributeError, match="Muves"):
        cellplane.cell.Muves  # type: ignore[attr-defined]  # noqa: B018


def test_import_needs_the_standard_library_alone() -> None:
    lines = [
        "import json, sys",
        "before = set(sys.modules)",
        "import cellplane.cell",
        "print(json.dumps(sorted(set(sys.modules) - before)))",
    ]
    output = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, check=True).stdout
    packages = {name.partition(".")[0] for name in json.loads(output)}
    assert packages.isdisjoint({"fastapi", "sqlalchemy", "starlette", "psycopg", "nats", "aiokafka"})
    assert packages <= sys.stdlib_module_names | {"cellplane"}
    assert "cellplane.cell.moves" not in json.loads(output), "it is imported when it is asked for"
