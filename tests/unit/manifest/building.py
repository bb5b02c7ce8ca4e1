"""Files and fleets for the tests of manifests."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cellplane.manifest.files import Manifest, check_whole, read
from cellplane.model import (
    Capacity,
    Cell,
    Fleet,
    KeySource,
    KeySourceKind,
    Pool,
    StrategyName,
    Tenant,
    Topology,
    UnknownTenant,
)

HEAD = "apiVersion: cellplane.dev/v1alpha1\n"


def document(kind: str, name: str, spec: str = "{}") -> str:
    """A document of six lines, its spec in flow style in the last."""
    return f"---\n{HEAD}kind: {kind}\nmetadata:\n  name: {name}\nspec: {spec}\n"


def manifest(*documents: str) -> Manifest:
    return read([("fleet.yaml", "".join(documents))])


def said(*documents: str) -> list[str]:
    """Everything that is wrong with the documents as a whole fleet."""
    found = manifest(*documents)
    return [str(problem) for problem in (*found.problems, *check_whole(found))]


def policy(**fields: Any) -> dict[str, Any]:
    """The spec of a Fleet: the least that one has, and what a test is about."""
    return {"keySources": [{"kind": "header", "name": "x-tenant-id", "trusted": True}], **fields}


def fleet_document(spec: str = "{}", name: str = "shop") -> str:
    """A Fleet's document of six lines: key sources behind its spec, so that places in the spec stay as they are."""
    sources = json.dumps(policy()["keySources"])
    inner = spec.removeprefix("{").removesuffix("}")
    return document("Fleet", name, f"{{{inner}{', ' if inner else ''}keySources: {sources}}}")


FLEET = fleet_document()
CELLS = document("Cell", "cell-1", "{address: h, port: 1}") + document("Cell", "cell-2", "{address: h, port: 2}")
POOL = document("Pool", "default", "{cells: [cell-1, cell-2]}")


def cells(count: int, **fields: Any) -> tuple[Cell, ...]:
    """Cells in turns in three zones."""
    return tuple(
        replace(Cell(f"cell-{number}", "h", 80, zone=f"zone-{'abc'[number % 3]}", capacity=Capacity(rps=100)), **fields)
        for number in range(1, count + 1)
    )


def names(some: Iterable[Cell]) -> tuple[str, ...]:
    return tuple(cell.id for cell in some)


def clean(**fields: Any) -> Topology:
    """A fleet about which no rule says anything."""
    some = cells(6)
    fleet = Fleet("shop", key_sources=(KeySource(KeySourceKind.SUBDOMAIN, "example.com"),))
    return replace(Topology(fleet, some, (Pool("default", names(some), StrategyName.RENDEZVOUS),)), **fields)


def rejecting(topology: Topology) -> Topology:
    """The fleet as one that knows all its tenants, of which it has enough."""
    tenants = tuple(Tenant(f"tenant-{number}") for number in range(10 * len(topology.cells)))
    return replace(topology, fleet=replace(topology.fleet, unknown_tenant=UnknownTenant.REJECT), tenants=tenants)
