"""Puts the compiled Envoy module into the wheel, and tags the wheel with the platform it was built for."""

import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "cellplane/router/envoy/libcellplane_envoy.so"


class ModuleBuildHook(BuildHookInterface[Any]):
    """Builds the module with cargo where it is missing; an editable install leaves that to `make setup`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root = Path(self.root)
        module = root / "src" / MODULE
        if not module.exists():
            subprocess.run([root / "scripts" / "build_module", module], check=True)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["force_include"][str(module)] = MODULE
