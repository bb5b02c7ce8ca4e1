"""Puts the compiled Envoy module, and the program that checks tables as it does, into the wheel, and tags the wheel
with the platform it was built for.
"""

import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "cellplane/router/envoy/libcellplane_envoy.so"
CHECKER = "cellplane/publishing/cellplane-table-check"


class ModuleBuildHook(BuildHookInterface[Any]):
    """Builds the module with cargo where it is missing; an editable install leaves that to `make setup`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root = Path(self.root)
        built = {name: root / "src" / name for name in (MODULE, CHECKER)}
        if not all(path.exists() for path in built.values()):
            subprocess.run([root / "scripts" / "build_module", *built.values()], check=True)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        for name, path in built.items():
            build_data["force_include"][str(path)] = name
