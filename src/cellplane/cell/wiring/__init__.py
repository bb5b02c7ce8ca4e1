"""Whether an app leads only to what is its cell's: a start-up check of its engines, repositories and message clients.

Standard library only; what it looks at is recognised, not imported::

    manifest = CellManifest.load(Path("cell.toml"))
    check_wiring(manifest, {"orders repository": orders, "queue": nats_client, "engine": engine})
"""

from cellplane.cell.wiring.addresses import Resolver, resolve
from cellplane.cell.wiring.check import check_wiring
from cellplane.cell.wiring.manifest import Broker, CellManifest, Database
from cellplane.cell.wiring.settings import WiringLimits

__all__ = ["Broker", "CellManifest", "Database", "Resolver", "WiringLimits", "check_wiring", "resolve"]
