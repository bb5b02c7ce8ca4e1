"""The scenarios, by name. Each has a full scale, and a function that runs it."""

from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

from chaos.report import Report, Scale
from chaos.scenarios import (
    analytics_match,
    cell_killed,
    cell_overload,
    control_plane_cut_short,
    control_plane_killed,
    gray_failure,
    tenant_overload,
)


class Scenario(Protocol):
    """A module of this package."""

    NAME: str
    FULL: Scale
    __doc__: str | None

    def run(self, folder: Path, scale: Scale) -> Report:
        """Run it on a fleet of its own in this folder."""


_MODULES: tuple[ModuleType, ...] = (
    cell_killed,
    tenant_overload,
    cell_overload,
    control_plane_killed,
    control_plane_cut_short,
    gray_failure,
    analytics_match,
)
SCENARIOS: dict[str, Scenario] = {module.NAME: cast(Scenario, module) for module in _MODULES}
