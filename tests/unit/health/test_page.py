"""``docs/health.md`` lists every setting with its default."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from cellplane.health.concentration import PoisonSettings
from cellplane.health.window import WindowSettings
from cellplane.model.health import BreakerSettings, HealthThresholds, PeerSettings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "health.md").read_text()


def shown(default: object) -> str:
    """A default as the page writes it."""
    return f"{len(default)} bounds" if isinstance(default, tuple) else f"{default:.10g}"


@pytest.mark.parametrize("settings", [WindowSettings, HealthThresholds, PeerSettings, BreakerSettings, PoisonSettings])
def test_every_setting_is_on_the_page_with_its_default(settings: type[Any]) -> None:
    table = PAGE.partition(f"| `{settings.__name__}` | default | |\n|---|---|---|\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE)
    assert rows == [(field.name, shown(field.default)) for field in fields(settings)]
