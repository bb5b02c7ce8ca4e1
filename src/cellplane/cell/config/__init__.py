"""Settings and feature flags of a cell: typed, from a local file, in force within a second, and never lost.

Standard library only. The app declares what there is, and its defaults; the file says what differs::

    @dataclass(frozen=True, slots=True)
    class Settings:
        fanout_batch: int = 100

    config = LiveConfig(Path("/run/cell/config.json"), "cell-3", Settings, flags=("new-fanout",))
    config.start()

    async def handler(request):
        batch = config.values().fanout_batch    # of the tenant that asks
        if config.flag("new-fanout"): ...

A later layer wins: defaults of the code, fleet, pool, cell, tenant. A flag is off until somebody turns it on for some
tenants, a share of them, or some cells.
"""

from cellplane.cell.config.document import Document, Rollout
from cellplane.cell.config.fetching import ConfigFetcher
from cellplane.cell.config.live import ConfigStatus, LiveConfig
from cellplane.cell.config.settings import ConfigLimits
from cellplane.cell.errors import ConfigError, UnknownFlagError

__all__ = [
    "ConfigError",
    "ConfigFetcher",
    "ConfigLimits",
    "ConfigStatus",
    "Document",
    "LiveConfig",
    "Rollout",
    "UnknownFlagError",
]
