"""Writes docs/fleet.schema.json from the code: part of ``make reference``."""

import json
from pathlib import Path

from cellplane.manifest.schema import schema

TARGET = Path(__file__).resolve().parents[1] / "docs" / "fleet.schema.json"


def text() -> str:
    """The whole file."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())
