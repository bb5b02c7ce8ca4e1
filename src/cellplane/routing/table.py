"""Reads a routing table in place: all checks when it is opened, then look-ups that copy nothing."""

from collections.abc import Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cellplane.errors import TableError
from cellplane.model import FailOpen, KeySource, MissingKey, UnknownTenant
from cellplane.placement import key_hash
from cellplane.routing import layout
from cellplane.routing.edge import EdgePolicy
from cellplane.routing.frame import split_publication
from cellplane.routing.layers import Base, CellRow, Layer, Overlay, TenantRow
from cellplane.routing.policies import CanaryRow, PolicyRow


class RoutingTable:
    """A checked routing table over bytes, a memory map or any other buffer: a base, or a base and an overlay.

    Args:
        data: the whole file of the base, or a base that has been checked.
        overlay: the whole file of an overlay that stands on it.

    Raises:
        TableError: a file is truncated, foreign, of another version, corrupt or inconsistent.
    """

    def __init__(self, data: bytes | memoryview | Base, overlay: bytes | memoryview | None = None) -> None:
        base = self.base = data if isinstance(data, Base) else Base(_readonly(data))
        self.overlay = None if overlay is None else Overlay(_readonly(overlay), base)
        self.epoch: int = base.epoch if self.overlay is None else self.overlay.epoch
        self.sha256: str = base.sha256
        self.overlay_sha256: str | None = None if self.overlay is None else self.overlay.sha256
        self.cells: tuple[CellRow, ...] = base.cells
        self.pools: tuple[str, ...] = base.pools
        self.fleet: str = base.fleet
        self.key_sources: tuple[KeySource, ...] = base.key_sources
        self.edge: EdgePolicy = base.edge
        self.default_pool: int = base.default_pool
        self.default_shard: int | None = base.default_shard
        self.unknown_tenant: UnknownTenant = base.unknown_tenant
        self.missing_key: MissingKey = base.missing_key
        self.retry_after_seconds: int = base.retry_after_seconds
        self.fail_open: FailOpen = base.fail_open
        self.policies: tuple[PolicyRow, ...] = base.policies
        self.default_policy: PolicyRow = base.default_policy
        self.pool_policies: tuple[PolicyRow, ...] = tuple(base.pool_policies)
        self.canaries: tuple[CanaryRow | None, ...] = tuple(base.canaries)
        self.serves: tuple[bool, ...] = tuple(cell.status.serves for cell in base.cells)
        self.is_plain: bool = all(row.is_plain for row in self.policies) and not any(self.canaries)

    @classmethod
    def of_publication(cls, data: bytes) -> Self:
        """The table of a whole publication: a base, or a base followed by its overlay.

        Raises:
            TableError: as for the class, or it is an overlay alone.
        """
        base, overlay = split_publication(data)
        if base is None:
            raise TableError("an overlay without its base: ask for the whole table")
        return cls(base, overlay)

    @property
    def tag(self) -> str:
        """SHA-256, in hexadecimal digits, of the overlay, which names its base; of the base where there is none."""
        return self.overlay_sha256 or self.sha256

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Where a key is looked up, in order."""
        return (self.base,) if self.overlay is None else (self.overlay, self.base)

    def __len__(self) -> int:
        """Tenants that have an entry of their own."""
        return sum(1 for _ in self.tenants()) if self.overlay is not None else len(self.base.entries)

    def slots_of(self, pool: int) -> NDArray[np.uint32] | None:
        """Index of the shard of each of a pool's slots; None where it has no slots."""
        return self.base.slots[pool]

    def shard(self, index: int) -> tuple[int, ...]:
        """Indexes of the cells of a shard, the preferred first."""
        return self.base.shard(index)

    def shard_of_slot(self, pool: int, slot: int) -> tuple[int, ...]:
        """Indexes of the cells of a pool's slot; none where the pool has no slots."""
        first = self.base.first_slots[pool]
        return () if first is None else self.base.shard(self.base.slot_shards[first + slot])

    def find(self, key: bytes) -> TenantRow | None:
        """The entry of this key, or None."""
        return self.find_hashed(key, key_hash(key))

    def find_hashed(self, key: bytes, value: int) -> TenantRow | None:
        """The entry of this key, which has this hash, or None."""
        if self.overlay is not None:
            found = self.overlay.entries.find(key, value)
            if found is not None:
                return None if found[2] == layout.GONE else self.overlay.row(key, found)
        found = self.base.entries.find(key, value)
        return None if found is None else self.base.row(key, found)

    def keys(self) -> list[bytes]:
        """The keys of all entries, in the order of ``tenants``."""
        if self.overlay is None:
            return self.base.entries.keys()
        return [row.key for row in self.tenants()]

    def tenants(self) -> Iterator[TenantRow]:
        """All entries: those of the overlay, then those of the base that it does not hide."""
        hidden: set[bytes] = set()
        if self.overlay is not None:
            for key, found in self.overlay.entries.rows():
                hidden.add(key)
                if found[2] != layout.GONE:
                    yield self.overlay.row(key, found)
        for key, found in self.base.entries.rows():
            if key not in hidden:
                yield self.base.row(key, found)


def _readonly(data: bytes | memoryview) -> memoryview:
    return memoryview(data).toreadonly().cast("B")
