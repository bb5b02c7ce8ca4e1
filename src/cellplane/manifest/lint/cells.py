"""Rules about the fleet's cells: how many, what they declare, who uses them."""

from collections.abc import Iterator

from cellplane.manifest.lint.finding import Hit, LintRule, Severity, listed
from cellplane.manifest.settings import LintSettings
from cellplane.model import NO_POLICY, Capacity, Topology, UnknownTenant


def _few_tenants(topology: Topology, settings: LintSettings) -> Iterator[Hit]:
    tenants, cells = len(topology.tenants), len(topology.cells)
    knows_all = topology.fleet.unknown_tenant is not UnknownTenant.HASH
    if knows_all and 0 < tenants < settings.cell_tenants * cells:
        yield Hit("cells", f"{tenants:,} tenants on {cells:,} cells: {tenants / cells:.1f} a cell in the mean")


def _beyond_hands(topology: Topology, settings: LintSettings) -> Iterator[Hit]:
    if settings.hand_cells < len(topology.cells) <= settings.many_cells:
        yield Hit("cells", f"{len(topology.cells):,} cells; a team looks after some {settings.hand_cells} by hand")


def _very_many(topology: Topology, settings: LintSettings) -> Iterator[Hit]:
    if len(topology.cells) > settings.many_cells:
        yield Hit("cells", f"{len(topology.cells):,} cells: every router checks the health of all of them")


def _without_capacity(topology: Topology, settings: LintSettings) -> Iterator[Hit]:
    without = [place for place, cell in enumerate(topology.cells) if cell.capacity == Capacity()]
    if without:
        names = listed([topology.cells[place].id for place in without], settings)
        yield Hit(f"cells[{without[0]}].capacity", f"no capacity is declared by {names}: nothing says when it is full")


def _unused(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    used = {cell for pool in topology.pools for cell in pool.cells} | {topology.fleet.default_cell}
    used |= {cell for tenant in topology.tenants for cell in tenant.shard} | {*topology.fleet.quarantine.cells}
    policies = [topology.fleet.policy, *(pool.policy for pool in topology.pools)]
    policies += [tenant.policy for tenant in topology.tenants if tenant.policy is not NO_POLICY]
    used |= {cell for policy in policies for cell in policy.cells}
    used |= {pool.canary.cell for pool in topology.pools if pool.canary is not None}
    for place, cell in enumerate(topology.cells):
        if cell.id not in used:
            yield Hit(f"cells[{place}].id", f"no pool, tenant, policy or quarantine uses {cell.id!r}")


RULES = (
    LintRule(
        "CP201",
        Severity.WARNING,
        "Too many cells for the tenants that there are.",
        "Start with fewer cells (`cellplane plan size`), and add some when they fill.",
        _few_tenants,
    ),
    LintRule(
        "CP202",
        Severity.WARNING,
        "More cells than a team operates by hand.",
        "Automate provisioning, rollouts and repairs before, or make cells larger (`cellplane plan fit`).",
        _beyond_hands,
    ),
    LintRule(
        "CP203",
        Severity.WARNING,
        "More than a thousand cells in one fleet.",
        "Make cells larger, or divide the product into fleets, such as one a region.",
        _very_many,
    ),
    LintRule(
        "CP204",
        Severity.WARNING,
        "Cells that declare no capacity.",
        "Measure what a cell holds, and declare it: placement, alarms and this check go by it.",
        _without_capacity,
    ),
    LintRule(
        "CP205",
        Severity.WARNING,
        "A cell that nothing uses.",
        "Put it into a pool, or take it away: it costs what the others cost.",
        _unused,
    ),
)
