"""A publication: what the directory holds, compiled. Blocking; the publisher runs it in a thread."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import structlog

from cellplane.directory import Directory, Leadership, Past, StoredPublication
from cellplane.directory.records import ChangedTenant
from cellplane.directory.snapshot import Snapshot
from cellplane.errors import BaseNeededError, TableError
from cellplane.faults import fault_point
from cellplane.model import Topology
from cellplane.routing import PlacedTenants, RoutingTable, compile_overlay, compile_table, encode, encode_overlay

log = structlog.get_logger()

ACTOR = "control-plane"
"""Whom the change log names where the control plane asks for something itself."""

MAX_OVERLAY_TENANTS = 50_000
"""Most tenants of an overlay: from here on a new base is quicker for everybody."""


@dataclass(frozen=True, slots=True)
class CompiledBase:
    """A base, checked and readable, and its bytes."""

    table: RoutingTable
    data: bytes


@dataclass(frozen=True, slots=True)
class Publication:
    """A published table.

    Attributes:
        table: checked and readable: the base, or base and overlay.
        base: the base.
        overlay: bytes of the overlay, none where the base says all.
        overlay_tenants: how many tenants the overlay is about.
    """

    table: RoutingTable
    base: CompiledBase
    overlay: bytes = b""
    overlay_tenants: int = 0

    @property
    def epoch(self) -> int:
        """The table's epoch."""
        return self.table.epoch

    @property
    def etag(self) -> str:
        """The table's checksum as an HTTP entity tag."""
        return f'"{self.table.tag}"'

    def parts(self, base_sha256: str | None = None) -> tuple[bytes, ...]:
        """What a router needs that has a base of this checksum: the overlay, or the base, then the overlay."""
        if not self.overlay:
            return (self.base.data,)
        return (self.overlay,) if base_sha256 == self.table.sha256 else (self.base.data, self.overlay)

    def matches(self, if_none_match: str | None) -> bool:
        """Whether a request's ``If-None-Match`` names this table (RFC 9110, 13.1.2: weak comparison)."""
        tags = [] if if_none_match is None else [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
        return "*" in tags or self.etag in tags


def compile_base(directory: Directory) -> CompiledBase | None:
    """A base of the directory as it is now, or None where there is nothing to route to yet.

    Raises:
        CellplaneError: the directory cannot be read, or no table can hold what it describes.
    """
    with directory.snapshot() as snapshot:
        return base_of(snapshot)


def last_publication(directory: Directory, current: Publication | None) -> Publication | None:
    """The publication that the directory keeps, by whomever it was published.

    Args:
        current: what is known; its base is not read again.

    Returns:
        None where there is none, or none later than the current one.

    Raises:
        DirectoryError: the directory cannot be read.
        TableError: what it keeps is of another release, or damaged.
    """
    with directory.snapshot() as snapshot:
        stored = snapshot.last_publication()
        if stored is None or (current is not None and stored.epoch <= current.epoch):
            return None
        base = None if current is None else current.base
        if base is None or base.table.sha256 != stored.base_sha256:
            data = snapshot.base(stored.base_sha256)
            if data is None:
                raise TableError(f"the directory keeps epoch {stored.epoch} without its base")
            base = CompiledBase(RoutingTable(data), data)
    if not stored.overlay:
        return Publication(base.table, base)
    return Publication(RoutingTable(base.table.base, stored.overlay), base, stored.overlay, stored.overlay_tenants)


def compile_publication(
    directory: Directory,
    leadership: Leadership,
    current: Publication | None,
    base: CompiledBase | None,
    approve: Callable[[Publication], None] = lambda _: None,
) -> Publication | None:
    """Compile and keep the publication that follows the current one: an overlay where tenants alone changed since a
    base, and have no policies that the base does not have.

    Args:
        leadership: that of this process, which leads.
        current: what is published.
        base: the base to stand on, where it still holds.
        approve: raises where a publication must not be.

    Returns:
        None where there is nothing new, or nothing to route to yet.

    Raises:
        CellplaneError: the directory cannot be read, or no table can hold what it describes; what ``approve`` raises.
        FencedError: another process leads.
    """
    if current is not None and base is current.base and directory.epoch() == current.epoch:
        return None
    while True:
        publication = _compile(directory, base)
        if publication is None:
            return None
        if current is None or publication.epoch != current.epoch:
            assert current is None or publication.epoch > current.epoch, "epochs only grow"
            approve(publication)
            fault_point("publication.compiled")
            stored = StoredPublication(
                publication.epoch,
                publication.table.tag,
                publication.base.table.sha256,
                publication.overlay,
                publication.overlay_tenants,
            )
            if directory.publish(stored, publication.base.table.epoch, publication.base.data, leadership):
                return publication
        elif publication.table.tag == current.table.tag:
            return None
        # The same epoch must never have two contents: another one, on the new base where others stood on one before.
        base = None if current is None else publication.base
        directory.republish(actor=ACTOR, leadership=leadership)


def _compile(directory: Directory, base: CompiledBase | None) -> Publication | None:
    with directory.snapshot() as snapshot:
        topology, epoch = snapshot.topology, snapshot.epoch()
        changed: list[ChangedTenant] = []
        if base is not None and topology is not None and snapshot.topology_epoch() <= base.table.epoch:
            changed = list(islice(snapshot.changed_tenants(base.table.epoch), MAX_OVERLAY_TENANTS + 1))
        else:
            base = None
        if base is not None and topology is not None and len(changed) <= MAX_OVERLAY_TENANTS:
            if epoch == base.table.epoch:
                return Publication(base.table, base)
            try:
                return _overlaid(topology, base, epoch, changed)
            except BaseNeededError as error:
                log.info("base_needed", reason=str(error))
        base = base_of(snapshot)
        return None if base is None else Publication(base.table, base)


def _overlaid(topology: Topology, base: CompiledBase, epoch: int, changed: list[ChangedTenant]) -> Publication:
    there = [each.entry for each in changed if each.entry is not None]
    placed = PlacedTenants(
        ids=[entry.id for entry in there],
        pools=[entry.placed_pool for entry in there],
        shards=[entry.shard for entry in there],
        states=[entry.state for entry in there],
        policies=[entry.policy for entry in there],
    )
    gone = [each.id for each in changed if each.entry is None]
    stands_on = (base.table.epoch, base.table.sha256)
    overlay = encode_overlay(compile_overlay(topology, stands_on, epoch, placed, gone, policies=base.table.policies))
    return Publication(RoutingTable(base.table.base, overlay), base, overlay, len(changed))


def base_of(snapshot: Snapshot | Past) -> CompiledBase | None:
    """A base of what the directory says, or said; None where there is nothing to route to."""
    topology = snapshot.topology
    if topology is None or not topology.cells or not topology.pools:
        return None
    columns = list(zip(*snapshot.entries(), strict=True)) or [(), (), (), (), ()]
    data = encode(compile_table(topology, snapshot.epoch(), PlacedTenants(*columns)))
    return CompiledBase(RoutingTable(data), data)
