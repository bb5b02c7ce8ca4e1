"""A cell's configuration as a document: what each layer says, and for whom each flag is on. Pure.

.. code-block:: json

    {
      "version": 1,
      "revision": 12,
      "cell": "cell-3",
      "layers": {"fleet": {"fanout_batch": 200}, "pool": {}, "cell": {"fanout_batch": 50}},
      "tenants": {"acme": {"fanout_batch": 500}},
      "flags": {"new-fanout": {"percent": 5, "cells": ["cell-1"], "tenants": {"globex": false}}}
    }
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from zlib import crc32

from cellplane.cell.errors import ConfigError

VERSION = 1
LAYERS = ("fleet", "pool", "cell")
"""From the weakest on; what a tenant has of its own is stronger than all."""

_MEMBERS = {"version", "revision", "cell", "layers", "tenants", "flags"}
_OF_ROLLOUT = {"everywhere", "cells", "percent", "tenants"}
_BUCKETS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """For whom a flag is on: nobody, as long as nobody says so."""

    everywhere: bool = False
    """For all tenants of all cells."""

    cells: frozenset[str] = frozenset()
    """For all tenants of these."""

    percent: float = 0.0
    """For this share of all tenants, 0 to 100, in whatever cell they are. Who is in 5 % is in 10 %, too; and another
    flag's 5 % are others.
    """

    tenants: Mapping[str, bool] = field(default_factory=dict)
    """On or off for these, whatever else is said."""

    def is_on(self, flag: str, cell_id: str, tenant_id: str | None) -> bool:
        """Whether the flag is on for this tenant in this cell; None asks for work that is for no single tenant."""
        if tenant_id is not None and (said := self.tenants.get(tenant_id)) is not None:
            return said
        if self.everywhere or cell_id in self.cells:
            return True
        return tenant_id is not None and bucket(flag, tenant_id) < self.percent * (_BUCKETS / 100)


def bucket(flag: str, tenant_id: str) -> int:
    """Where a tenant stands among the 10,000 parts in which a flag divides all tenants."""
    return crc32(f"{flag}\0{tenant_id}".encode()) % _BUCKETS


@dataclass(frozen=True, slots=True)
class Document:
    """What a configuration file says."""

    cell_id: str
    revision: int
    """Grows with each change."""

    layers: Mapping[str, Mapping[str, Any]]
    tenants: Mapping[str, Mapping[str, Any]]
    flags: Mapping[str, Rollout]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a document.

        Raises:
            ConfigError: it is none.
        """
        try:
            found = json.loads(data)
        except ValueError as error:
            raise ConfigError("", f"expected a document of JSON, found none ({error})") from error
        document = _object("", found, _MEMBERS)
        if document.get("version") != VERSION:
            raise ConfigError(
                "version", f"expected {VERSION}, found {document.get('version')!r}. A newer one needs a newer SDK"
            )
        revision, cell_id = document.get("revision"), document.get("cell")
        if not isinstance(revision, int) or isinstance(revision, bool) or revision < 0:
            raise ConfigError("revision", f"expected a whole number from 0 on, found {revision!r}")
        if not isinstance(cell_id, str) or not cell_id:
            raise ConfigError("cell", f"expected the cell's id, found {cell_id!r}")
        layers = _object("layers", document.get("layers", {}), set(LAYERS))
        tenants = _object("tenants", document.get("tenants", {}))
        flags = _object("flags", document.get("flags", {}))
        return cls(
            cell_id,
            revision,
            {name: _object(f"layers.{name}", layers.get(name, {})) for name in LAYERS},
            {tenant: _object(f"tenants.{tenant}", values) for tenant, values in tenants.items()},
            {name: _rollout(f"flags.{name}", said) for name, said in flags.items()},
        )

    def check_cell(self, cell_id: str) -> None:
        """Check that the document is for this cell.

        Raises:
            ConfigError: it is another's.
        """
        if self.cell_id != cell_id:
            raise ConfigError("cell", f"expected a document for {cell_id!r}, found one for {self.cell_id[:80]!r}")


def _rollout(where: str, found: object) -> Rollout:
    said = _object(where, found, _OF_ROLLOUT)
    everywhere, cells, percent = said.get("everywhere", False), said.get("cells", []), said.get("percent", 0.0)
    tenants = _object(f"{where}.tenants", said.get("tenants", {}))
    if not isinstance(everywhere, bool):
        raise ConfigError(f"{where}.everywhere", f"expected true or false, found {everywhere!r}")
    if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
        raise ConfigError(f"{where}.cells", f"expected a list of cells' ids, found {cells!r:.80}")
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise ConfigError(f"{where}.percent", f"expected 0 to 100, found {percent!r:.80}")
    for tenant, is_on in tenants.items():
        if not isinstance(is_on, bool):
            raise ConfigError(f"{where}.tenants.{tenant}", f"expected true or false, found {is_on!r:.80}")
    return Rollout(everywhere=everywhere, cells=frozenset(cells), percent=float(percent), tenants=tenants)


def _object(where: str, found: object, members: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ConfigError(where, f"expected an object, found {found!r:.80}")
    if members is not None and (others := found.keys() - members):
        raise ConfigError(where, f"expected of {', '.join(sorted(members))}, found {min(others)[:80]!r}")
    return found
