"""Rules about pools: whether shards isolate, what fails together, and what moves."""

from collections import Counter
from collections.abc import Iterator

from cellplane.errors import ValidationError
from cellplane.manifest.lint.finding import Hit, LintRule, Severity, percent
from cellplane.manifest.membership import pool_names
from cellplane.manifest.settings import LintSettings
from cellplane.model import Capacity, Dimension, Pool, StrategyName, Topology
from cellplane.placement import check_share, place
from cellplane.planning.overlap import shard_count, shared_cells


def _isolates_nothing(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    for index, pool in enumerate(topology.pools):
        field = f"pools[{index}].shard_size"
        if _whole(pool):
            yield Hit(field, f"a shard of all {pool.size} cells: every tenant depends on every cell")
        elif pool.strategy is StrategyName.SHUFFLE and pool.size == 1:
            yield Hit(field, "a shuffle of shards of one cell: tenants of a cell share all that they have")


def _few_shards(topology: Topology, settings: LintSettings) -> Iterator[Hit]:
    tenants = Counter(pool_names(topology, topology.tenants))
    for index, pool in enumerate(topology.pools):
        if pool.size == 1 or _whole(pool):
            continue
        shards = shard_count(len(pool.cells), pool.size)
        same = float(shared_cells(len(pool.cells), pool.size)[-1])
        if same > settings.same_shard or tenants[pool.name] > settings.shard_tenants * shards:
            yield Hit(
                f"pools[{index}].shard_size",
                f"{pool.size} of {len(pool.cells)} cells make {shards:,} different shards, for {tenants[pool.name]:,} "
                f"known tenants: two tenants have the same one with a probability of {percent(same)} or more",
            )


def _modulo(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    for index, pool in enumerate(topology.pools):
        if pool.strategy is StrategyName.MODULO:
            more = len(pool.cells) + 1
            moved = percent(1 - 1 / more)
            yield Hit(f"pools[{index}].strategy", f"with one cell more, {moved} of the slots of {pool.name!r} move")


def _without_overflow(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    for index, pool in enumerate(topology.pools):
        if pool.strategy is StrategyName.EXPLICIT and pool.overflow is None:
            yield Hit(f"pools[{index}].overflow", f"when {pool.name!r} is full, new tenants of it are refused")


def _too_large(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    pools = {pool.name: pool for pool in topology.pools}
    cells = {cell.id: cell for cell in topology.cells}
    capacities = {pool.name: {name: cells[name].capacity for name in pool.cells} for pool in topology.pools}
    least = {name: (_least(found, "rps"), _least(found, "storage_gib")) for name, found in capacities.items()}
    for index, (tenant, name) in enumerate(zip(topology.tenants, pool_names(topology, topology.tenants), strict=True)):
        size = tenant.shard_size or pools[name].size
        rps, storage_gib = least[name]
        # Most tenants are small: only the others are worth the reasons of every cell.
        if tenant.load.rps * size > rps or tenant.load.storage_gib * size > storage_gib:
            refusal = check_share(tenant.load, capacities[name], shard_size=size)
            assert refusal is not None, "the least capacity is one of these"
            first = refusal.cells[0]
            yield Hit(
                f"tenants[{index}].load", f"{tenant.id!r} is too large for {name!r}: {first.cell}: {first.reason}"
            )


def _least(capacities: dict[str, Capacity], name: str) -> float:
    declared = [getattr(capacity, name) for capacity in capacities.values()]
    return min((float(amount) for amount in declared if amount is not None), default=float("inf"))


def _one_cell(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    for index, pool in enumerate(topology.pools):
        if len(pool.cells) == 1:
            yield Hit(
                f"pools[{index}].cells", f"{pool.name!r} has one cell: there is no other to fail over or drain to"
            )


def _one_zone(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    cells = {cell.id: cell for cell in topology.cells}
    for index, pool in enumerate(topology.pools):
        zones = {(cells[name].region, cells[name].coordinate(Dimension.ZONE)) for name in pool.cells}
        if len(pool.cells) > 1 and len(zones) == 1:
            region, zone = zones.pop()
            where = f"zone {zone}" if zone != region else f"region {region}, and name no zone"
            yield Hit(f"pools[{index}].cells", f"all {len(pool.cells)} cells of {pool.name!r} are in {where}")


def _impossible(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    cells = {cell.id: cell for cell in topology.cells}
    for index, pool in enumerate(topology.pools):
        if pool.spread:
            try:
                place(pool, cells)
            except ValidationError as error:
                yield Hit(f"pools[{index}].spread", f"the cells of {pool.name!r} cannot be spread so: {error.message}")


def _few_coordinates(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    cells = {cell.id: cell for cell in topology.cells}
    for index, pool in enumerate(topology.pools):
        if len(pool.spread) == 1:
            (dimension,) = pool.spread
            found = sorted({cells[name].coordinate(dimension) for name in pool.cells})
            if len(found) < pool.size:
                alike = -(-pool.size // len(found))
                yield Hit(
                    f"pools[{index}].spread",
                    f"the cells of {pool.name!r} are of {len(found)} {dimension.value}s ({', '.join(found)}), and "
                    f"a shard has {pool.size} cells: {alike} of them fail together",
                )


def _unused(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    used = {topology.fleet.default_pool, *(rule.pool for rule in topology.fleet.rules)}
    used |= {pool.overflow for pool in topology.pools if pool.overflow} | {t.pool for t in topology.tenants if t.pool}
    for index, pool in enumerate(topology.pools):
        if pool.name not in used:
            yield Hit(f"pools[{index}].name", f"no rule, tenant or overflow leads to {pool.name!r}")


def _same_seed(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    first: dict[tuple[frozenset[str], int], Pool] = {}
    for index, pool in enumerate(topology.pools):
        if pool.strategy is StrategyName.SHUFFLE:
            other = first.setdefault((frozenset(pool.cells), pool.seed), pool)
            if other is not pool:
                yield Hit(
                    f"pools[{index}].seed",
                    f"{pool.name!r} and {other.name!r} shuffle the same cells alike: a tenant's shards in both fail "
                    "together",
                )


def _whole(pool: Pool) -> bool:
    return pool.size > 1 and pool.size == len(pool.cells)


RULES = (
    LintRule(
        "CP301",
        Severity.WARNING,
        "A shard size that isolates nothing: K is all cells, or a shuffle of one.",
        "Choose a shard size of 2 or more, well below the number of cells.",
        _isolates_nothing,
    ),
    LintRule(
        "CP302",
        Severity.WARNING,
        "So few different shards that many tenants share all their cells.",
        "Add cells, or choose a shard size nearer to half of them (`cellplane plan overlap`).",
        _few_shards,
    ),
    LintRule(
        "CP303",
        Severity.WARNING,
        "A pool places by modulo: one cell more moves nearly everything.",
        "Choose `rendezvous` or `ring`, unless the cells never change.",
        _modulo,
    ),
    LintRule(
        "CP304",
        Severity.WARNING,
        "An explicit pool without an overflow.",
        "Name a pool that takes new tenants when this one is full, or watch its room.",
        _without_overflow,
    ),
    LintRule(
        "CP305",
        Severity.ERROR,
        "A tenant needs more than 1/K of what a cell of its pool holds.",
        "Give it a pool of larger or dedicated cells, or a smaller shard.",
        _too_large,
    ),
    LintRule(
        "CP306",
        Severity.WARNING,
        "A pool of one cell.",
        "Add a second cell: without one, its maintenance is an outage.",
        _one_cell,
    ),
    LintRule(
        "CP307",
        Severity.WARNING,
        "All cells of a pool are in one zone.",
        "Run its cells in several zones, and name them.",
        _one_zone,
    ),
    LintRule(
        "CP308",
        Severity.ERROR,
        "A pool's cells cannot be spread as it says.",
        "Add cells where the message says they are missing, or take a dimension out of `spread`.",
        _impossible,
    ),
    LintRule(
        "CP309",
        Severity.WARNING,
        "A spread over fewer zones, regions or releases than a shard has cells.",
        "Lower the shard size, or add cells elsewhere.",
        _few_coordinates,
    ),
    LintRule(
        "CP310",
        Severity.WARNING,
        "A pool that nothing leads to.",
        "Add a rule for it, or take it away.",
        _unused,
    ),
    LintRule(
        "CP311",
        Severity.WARNING,
        "Two pools shuffle the same cells with the same seed.",
        "Give one of them another `seed`.",
        _same_seed,
    ),
)
