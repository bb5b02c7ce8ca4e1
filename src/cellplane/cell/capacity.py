"""What a cell says of how full it is: in its /metrics, or as a report to the control plane (``reporting``).

The control plane locks a cell for new tenants by it. A cell that says nothing is never locked.
"""

from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

GIB = 2.0**30
"""Bytes."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text that ``CellUse.to_metrics`` returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellUse:
    """How much of what a cell has is in use; None where nobody knows. Limits may be left to what the fleet declares."""

    cpu_ratio: float | None = None
    """Share of all the CPU that the cell has, 0 to 1."""

    storage_bytes: float | None = None
    storage_limit_bytes: float | None = None
    connections: float | None = None
    """Of its database."""
    connections_limit: float | None = None
    requests_per_second: float | None = None
    requests_per_second_limit: float | None = None
    tenants: float | None = None
    tenants_limit: float | None = None

    def to_metrics(self) -> str:
        """As gauges in the text format of Prometheus, for the cell's /metrics. What is no amount is left out."""
        lines = []
        for name, amount in self.known().items():
            lines += [f"# TYPE cellplane_cell_{name} gauge", f"cellplane_cell_{name} {amount!r}"]
        return "".join(f"{line}\n" for line in lines)

    def to_report(self) -> dict[str, Any]:
        """As the body of a report: storage in GiB."""
        known = self.known()
        report: dict[str, Any] = {}
        for resource, used, limit, unit in (
            ("cpu", "cpu_ratio", None, 1.0),
            ("storage", "storage_bytes", "storage_limit_bytes", GIB),
            ("connections", "connections", "connections_limit", 1.0),
            ("rps", "requests_per_second", "requests_per_second_limit", 1.0),
            ("tenants", "tenants", "tenants_limit", 1.0),
        ):
            if used not in known:
                continue
            report[resource] = {"used": known[used] / unit}
            # 0 is how many say that there is none.
            if limit is not None and known.get(limit):
                report[resource]["limit"] = known[limit] / unit
        return report

    def known(self) -> dict[str, float]:
        """What is an amount, by the name of its attribute."""
        amounts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: float(amount)
            for name, amount in amounts.items()
            if amount is not None and isfinite(amount) and amount >= 0
        }
