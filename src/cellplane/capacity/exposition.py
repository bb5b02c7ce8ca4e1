"""A cell's metrics from what its /metrics says: the text format of Prometheus, 0.0.4, and OpenMetrics alike.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/. Metrics of other names are passed over.
"""

import re
from collections.abc import Mapping
from math import isfinite
from types import MappingProxyType

from cellplane.capacity.metrics import GIB, CellMetrics, Resource, Use
from cellplane.errors import ValidationError

PREFIX = "cellplane_cell_"

MAX_BYTES = 4 * 1024 * 1024
"""Longest text that is read."""

USED: Mapping[str, tuple[Resource, float]] = MappingProxyType(
    {
        "cellplane_cell_cpu_ratio": (Resource.CPU, 1.0),
        "cellplane_cell_storage_bytes": (Resource.STORAGE, GIB),
        "cellplane_cell_connections": (Resource.CONNECTIONS, 1.0),
        "cellplane_cell_requests_per_second": (Resource.RPS, 1.0),
        "cellplane_cell_tenants": (Resource.TENANTS, 1.0),
    }
)
"""What is in use: name of the metric → resource, and by what its value is divided. CPU is a share of all that the cell
has, 0 to 1; of several samples the largest counts, of all others their sum."""

LIMITS: Mapping[str, tuple[Resource, float]] = MappingProxyType(
    {
        "cellplane_cell_storage_limit_bytes": (Resource.STORAGE, GIB),
        "cellplane_cell_connections_limit": (Resource.CONNECTIONS, 1.0),
        "cellplane_cell_requests_per_second_limit": (Resource.RPS, 1.0),
        "cellplane_cell_tenants_limit": (Resource.TENANTS, 1.0),
    }
)
"""The most that there is of it, in the same way; a cell need not say it where its ``capacity`` does."""

_SAMPLE = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?:[^"{}]|"(?:\\.|[^"\\])*")*\})?[ \t]+(?P<value>\S+)'
    r"(?:[ \t]+-?[0-9.]+)?[ \t]*"
)


def read_metrics(cell: str, text: str, at_seconds: float) -> CellMetrics:
    """What a cell's /metrics says of its resources.

    Args:
        cell: its id.
        text: the answer's body.
        at_seconds: when it came, Unix time.

    Raises:
        ValidationError: the text is too long, or a line with one of our names is not what the format says, or its
            value no amount.
    """
    if len(text) > MAX_BYTES:
        raise ValidationError("metrics", f"expected at most {MAX_BYTES:,} characters, found {len(text):,}")
    used: dict[Resource, float] = {}
    limits: dict[Resource, float] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith(PREFIX):
            continue
        found = _SAMPLE.fullmatch(line)
        if found is None:
            raise ValidationError(f"metrics[{number}]", f"expected name, labels and value, found {line[:80]!r}")
        for known, amounts in ((USED, used), (LIMITS, limits)):
            if found["name"] in known:
                resource, unit = known[found["name"]]
                value = _amount(number, found["name"], found["value"]) / unit
                before = amounts.get(resource, 0.0)
                amounts[resource] = max(before, value) if resource is Resource.CPU else before + value
    # A limit of 0 is how exporters say that there is none.
    uses = {
        resource: Use(amount, 1.0 if resource is Resource.CPU else limits.get(resource) or None)
        for resource, amount in used.items()
    }
    metrics = CellMetrics(cell, at_seconds, uses)
    metrics.validate("metrics")
    return metrics


def _amount(number: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not isfinite(value) or value < 0:
        raise ValidationError(f"metrics[{number}]", f"{name}: expected a number from 0 up, found {text[:40]!r}")
    return value
