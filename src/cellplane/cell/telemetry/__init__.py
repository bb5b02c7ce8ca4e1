"""What a cell tells of itself: metrics with the cell on every series, golden signals of routes, spans with the tenant.

Needs ``cellplane[telemetry]``::

    registry = CellRegistry("cell-3")
    signals = GoldenSignals(registry)
    asgi = CellMiddleware(SignalledApp(app, signals), "cell-3")

``cellplane.cell.logs`` and ``cellplane.cell.health`` need nothing of this.
"""

from cellplane.cell.telemetry.registry import CellRegistry
from cellplane.cell.telemetry.signals import GoldenSignals, SignalledApp, SignalledWsgiApp, TenantLabel, note_route
from cellplane.cell.telemetry.spans import CellSpans, baggage_of_context
from cellplane.cell.telemetry.use import CpuRatio, UseCollector, UseWatch

__all__ = [
    "CellRegistry",
    "CellSpans",
    "CpuRatio",
    "GoldenSignals",
    "SignalledApp",
    "SignalledWsgiApp",
    "TenantLabel",
    "UseCollector",
    "UseWatch",
    "baggage_of_context",
    "note_route",
]
