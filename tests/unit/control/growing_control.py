"""A control plane that asks for one more cell, as a process: ``python -m unit.control.growing_control STATE``.

Ends with 0 once the cell is in its pool, and the ask is done.
"""

import sys
from pathlib import Path

from cellplane.capacity.settings import CapacitySettings
from unit.control.serving import Api, eventually, serving

POOL = {"cells": ["cell-1", "cell-2"], "strategy": "explicit"}


def main() -> None:
    """Run it."""
    with serving(
        Path(sys.argv[1]),
        capacity=CapacitySettings(stale_seconds=60),
        capacity_seconds=0.05,
        provisioner="unit.control.file_provisioner:factory",
    ) as api:
        if api.get("/v1/pools/picked").status_code == 404:
            api.fill()
            api.put_epoch("/v1/pools/picked", POOL)
        for cell in ("cell-1", "cell-2"):
            body = {"connections": {"used": 69, "limit": 100}}
            api.http.post(f"/v1/cells/{cell}/report", json=body).raise_for_status()
        eventually(lambda: _is_done(api), "the ask is done", seconds=15)
        assert api.get("/v1/pools/picked").json()["cells"] == ["cell-1", "cell-2", "cell-3"]
        assert api.get("/v1/cells/cell-3").json()["status"] == "active"


def _is_done(api: Api) -> bool:
    (pool,) = api.get("/v1/capacity", pool="picked").json()["pools"]
    return pool["ask"] is not None and bool(pool["ask"]["done"])


if __name__ == "__main__":
    main()
