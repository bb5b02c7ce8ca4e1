"""Rules about policies: what fails open, what answers for a cell that is down, limits, canaries and redirects."""

from collections.abc import Iterator
from dataclasses import dataclass

from cellplane.manifest.lint.finding import Hit, LintRule, Severity
from cellplane.manifest.settings import LintSettings
from cellplane.model import (
    NO_POLICY,
    Cell,
    Dimension,
    FailOpen,
    MissingKey,
    Policy,
    Reads,
    ResolvedPolicy,
    Topology,
    UnknownTenant,
)
from cellplane.model.residency import laws


def _without_key(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    policy = topology.fleet.missing_key
    if policy is not MissingKey.REJECT:
        where = "one cell" if policy is MissingKey.DEFAULT_CELL else "the cell of the client's address"
        what = "reads, and names no tenant," if topology.fleet.fail_open is FailOpen.READS else "names no tenant"
        yield Hit("fleet.missing_key", f"{policy.value}: a request that {what} is served, by {where}")


def _unknown(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    if topology.fleet.unknown_tenant is UnknownTenant.DEFAULT_CELL:
        yield Hit(
            "fleet.unknown_tenant",
            f"default-cell: whoever makes up keys loads {topology.fleet.default_cell}, with those who live there",
        )


@dataclass(frozen=True, slots=True)
class _Level:
    """Where a policy is said, or is that of a pool that says nothing.

    Attributes:
        path: of whose it is.
        name: for messages.
        own: what is said there.
        resolved: what comes of it.
        cells: those that its requests go to; of the fleet none, since they are those of its pools.
        size: K.
    """

    path: str
    name: str
    own: Policy
    resolved: ResolvedPolicy
    cells: tuple[Cell, ...]
    size: int

    def path_of(self, attribute: str) -> str:
        """Where an attribute of it is said."""
        said_here = getattr(self.own, attribute) is not None
        return f"{self.path if said_here else 'fleet'}.policy.{attribute}"


def _levels(topology: Topology) -> Iterator[_Level]:
    """The pools, and the tenants that say something; the fleet's policy is judged by its pools."""
    traffic, cells = topology.traffic, {cell.id: cell for cell in topology.cells}
    pools = {pool.name: pool for pool in topology.pools}
    for index, pool in enumerate(topology.pools):
        members = tuple(cells[cell_id] for cell_id in pool.cells)
        resolved = traffic.of_pool(pool.name)
        yield _Level(f"pools[{index}]", f"pool {pool.name!r}", pool.policy, resolved, members, pool.size)
    for index, tenant in enumerate(topology.tenants):
        if tenant.policy != NO_POLICY:
            pool = pools[topology.pool_of(tenant)[0]]
            shard = tenant.shard or pool.cells
            members = tuple(cells[cell_id] for cell_id in shard)
            size = len(tenant.shard) or tenant.shard_size or pool.size
            resolved = traffic.of_tenant(tenant.policy, pool.name)
            yield _Level(f"tenants[{index}]", f"tenant {tenant.id!r}", tenant.policy, resolved, members, size)


def _stale(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    said = [("fleet", topology.fleet.policy)]
    said += [(f"pools[{index}]", pool.policy) for index, pool in enumerate(topology.pools)]
    said += [(f"tenants[{index}]", tenant.policy) for index, tenant in enumerate(topology.tenants)]
    for path, policy in said:
        if policy.reads is Reads.CACHE:
            yield Hit(f"{path}.policy.reads", "cache: while a cell is down, its tenants read what was so before")


def _all_to_canary(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    for index, pool in enumerate(topology.pools):
        if pool.canary is not None and pool.canary.basis_points == 100 * 100:
            yield Hit(
                f"pools[{index}].canary.percent",
                f"every request of {pool.name!r} goes to the canary {pool.canary.cell!r}",
            )


def _above_share(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    for level in _levels(topology):
        said = level.own.rps is not None or (level.resolved.rps is not None and level.path.startswith("pools"))
        declared = [cell.capacity.rps for cell in level.cells if cell.capacity.rps is not None]
        if said and level.resolved.rps is not None and declared and level.resolved.rps * level.size > min(declared):
            yield Hit(
                level.path_of("rps"),
                f"{level.resolved.rps:g} requests per second of one tenant of {level.name}, where a cell holds "
                f"{min(declared):g} and a shard has {level.size}: one tenant can take more than 1/{level.size} of it",
            )


def _in_the_clear(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    for index, cell in enumerate(topology.cells):
        if cell.public_url.startswith("http:"):
            yield Hit(f"cells[{index}].public_url", f"{cell.public_url}: clients are sent there without HTTPS")


def _standby_beside(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    cells = {cell.id: cell for cell in topology.cells}
    for level in _levels(topology):
        said = level.own.standby is not None or (level.resolved.standby is not None and level.path.startswith("pools"))
        if not said or level.resolved.standby is None:
            continue
        standby = cells[level.resolved.standby]
        alike = [cell.id for cell in level.cells if _place(cell) == _place(standby) and cell is not standby]
        if alike:
            yield Hit(
                level.path_of("standby"),
                f"{standby.id!r} is in zone {standby.coordinate(Dimension.ZONE)}, as {alike[0]!r} of {level.name}, for "
                "which it stands in: both fail with the zone",
            )


def _without_quarantine(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    cells = {cell.id: cell for cell in topology.cells}
    served = set(laws(cells[cell_id] for pool in topology.pools for cell_id in pool.cells))
    quarantine = topology.fleet.quarantine.cells
    without = sorted(served.difference(laws(cells[cell_id] for cell_id in quarantine)))
    if quarantine and without:
        yield Hit(
            "fleet.quarantine.cells", f"none is under {', '.join(without)}: poison tenants stay where they are there"
        )


def _place(cell: Cell) -> tuple[str, str]:
    return cell.region, cell.coordinate(Dimension.ZONE)


RULES = (
    LintRule(
        "CP501",
        Severity.WARNING,
        "Requests without a key are served: the fleet fails open.",
        "Choose `missingKey: reject`, unless what is public needs no tenant.",
        _without_key,
    ),
    LintRule(
        "CP502",
        Severity.WARNING,
        "Unknown tenants all go to one cell.",
        "Choose `unknownTenant: reject`, or keep that cell free of tenants.",
        _unknown,
    ),
    LintRule(
        "CP503",
        Severity.WARNING,
        "Answers may be stale: `reads: cache`.",
        "Choose it only where an old answer is better than none.",
        _stale,
    ),
    LintRule(
        "CP504",
        Severity.WARNING,
        "A canary that takes all requests of its pool.",
        "Lower its percent, or put its release into the pool's cells.",
        _all_to_canary,
    ),
    LintRule(
        "CP505",
        Severity.WARNING,
        "A limit lets one tenant take more than 1/K of what a cell holds.",
        "Lower `rps`, or leave it out: then it is the cell's capacity / K.",
        _above_share,
    ),
    LintRule(
        "CP506",
        Severity.WARNING,
        "Clients are sent to a cell without HTTPS.",
        "Give the cell a `publicUrl` of https, unless it is on this machine for a trial.",
        _in_the_clear,
    ),
    LintRule(
        "CP507",
        Severity.WARNING,
        "A standby in the zone of a cell for which it stands in.",
        "Name a cell of another zone.",
        _standby_beside,
    ),
    LintRule(
        "CP508",
        Severity.WARNING,
        "A jurisdiction without a quarantine cell, where others have one.",
        "Name one of its cells, which is in no pool.",
        _without_quarantine,
    ),
)
