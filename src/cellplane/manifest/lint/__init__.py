"""Lint: what a valid fleet will be sorry for. Every rule is a small function with a code, a severity and a remedy."""

from cellplane.manifest.lint import cells, keys, policy, pools, rules
from cellplane.manifest.lint.finding import Finding, LintRule, Severity
from cellplane.manifest.settings import LintSettings
from cellplane.model import Topology

RULES: tuple[LintRule, ...] = (*keys.RULES, *cells.RULES, *pools.RULES, *rules.RULES, *policy.RULES)
"""Every rule, by code."""

__all__ = ["RULES", "Finding", "LintRule", "Severity", "lint"]


def lint(topology: Topology, settings: LintSettings | None = None) -> tuple[Finding, ...]:
    """What the rules say about a valid topology, by code.

    Args:
        topology: the whole fleet, and the tenants that are known of it.
        settings: from where on rules say something.
    """
    bounds = settings or LintSettings()
    return tuple(Finding(rule, hit.path, hit.message) for rule in RULES for hit in rule.find(topology, bounds))
