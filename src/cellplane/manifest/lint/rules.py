"""Rules about rules: those that never match, and jurisdictions that they miss."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from cellplane.manifest.lint.finding import Hit, LintRule, Severity, listed
from cellplane.manifest.membership import pool_names
from cellplane.manifest.settings import LintSettings
from cellplane.model import Rule, Topology
from cellplane.model.residency import laws


def _never(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    rules = topology.fleet.rules
    for place, rule in enumerate(rules):
        before = next((other for other in rules[:place] if _covers(other, rule)), None)
        if before is not None:
            yield Hit(
                f"fleet.rules[{place}]", f"{rule.name!r} never matches: {before.name!r} before it matches all of it"
            )


def _covers(wide: Rule, narrow: Rule) -> bool:
    """Whether all tenants that match one rule match the other too, as far as can be told from the rules."""
    return (
        _within(narrow.tiers, wide.tiers)
        and _within(narrow.jurisdictions, wide.jurisdictions)
        and _pattern_covers(wide.id_pattern, narrow.id_pattern)
        and set(wide.attributes) <= set(narrow.attributes)
    )


def _within(narrow: tuple[str, ...], wide: tuple[str, ...]) -> bool:
    return not wide or (bool(narrow) and set(narrow) <= set(wide))


def _pattern_covers(wide: str, narrow: str) -> bool:
    if wide in {"", "*", narrow}:
        return True
    if not any(char in narrow for char in "*?["):
        return narrow != "" and fnmatchcase(narrow, wide)
    prefix = wide[:-1]
    return wide.endswith("*") and not any(char in prefix for char in "*?[") and narrow.startswith(prefix)


def _missed(topology: Topology, settings: LintSettings) -> Iterator[Hit]:
    under = _jurisdictions(topology)
    by_rule = {name for rule in topology.fleet.rules for name in under[rule.pool]}
    default = topology.fleet.default_pool
    missed: dict[str, list[int]] = {}
    for index, (tenant, pool) in enumerate(zip(topology.tenants, pool_names(topology, topology.tenants), strict=True)):
        if pool == default and not tenant.shard and tenant.jurisdiction in by_rule - under[default]:
            missed.setdefault(tenant.jurisdiction, []).append(index)
    for jurisdiction, indexes in sorted(missed.items()):
        names = listed([topology.tenants[index].id for index in indexes], settings)
        yield Hit(
            f"tenants[{indexes[0]}].jurisdiction",
            f"no rule matches {names}, and only rules lead to cells under {jurisdiction}: nothing places them",
        )


def _without_pool(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    served = {name for names in _jurisdictions(topology).values() for name in names}
    named = {
        jurisdiction: f"fleet.rules[{place}].jurisdictions"
        for place, rule in enumerate(topology.fleet.rules)
        for jurisdiction in rule.jurisdictions
    }
    for index, tenant in enumerate(topology.tenants):
        if tenant.jurisdiction:
            named.setdefault(tenant.jurisdiction, f"tenants[{index}].jurisdiction")
    for jurisdiction in sorted(named.keys() - served):
        yield Hit(named[jurisdiction], f"no pool has a cell under {jurisdiction}")


def _astray(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    under = _jurisdictions(topology)
    served = {name for names in under.values() for name in names}
    for place, rule in enumerate(topology.fleet.rules):
        foreign = sorted(set(rule.jurisdictions) & served - under[rule.pool])
        if foreign:
            yield Hit(
                f"fleet.rules[{place}].pool",
                f"{rule.name!r} sends tenants under {', '.join(foreign)} to {rule.pool!r}, which has no cell there",
            )


def _jurisdictions(topology: Topology) -> dict[str, set[str]]:
    cells = {cell.id: cell for cell in topology.cells}
    return {pool.name: set(laws(cells[name] for name in pool.cells)) for pool in topology.pools}


RULES = (
    LintRule(
        "CP401",
        Severity.ERROR,
        "A rule that never matches, because one before it matches all that it does.",
        "Put the narrower rule first, or take it away.",
        _never,
    ),
    LintRule(
        "CP402",
        Severity.ERROR,
        "Tenants that no rule matches, while only rules lead to their jurisdiction.",
        "Widen a rule, or give the tenants a `pool`.",
        _missed,
    ),
    LintRule(
        "CP403",
        Severity.ERROR,
        "A jurisdiction that tenants or rules name, and no pool has cells of.",
        "Add a pool of cells there, or mend the name.",
        _without_pool,
    ),
    LintRule(
        "CP404",
        Severity.ERROR,
        "A rule sends tenants of a jurisdiction to a pool without cells of it.",
        "Name the pool of that jurisdiction: its tenants are never placed under another.",
        _astray,
    ),
)
