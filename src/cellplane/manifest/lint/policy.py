"""Rules about the fleet's policy: what fails open."""

from collections.abc import Iterator

from cellplane.manifest.lint.finding import Hit, LintRule, Severity
from cellplane.manifest.settings import LintSettings
from cellplane.model import MissingKey, Topology, UnknownTenant


def _without_key(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    policy = topology.fleet.missing_key
    if policy is not MissingKey.REJECT:
        where = "one cell" if policy is MissingKey.DEFAULT_CELL else "the cell of the client's address"
        yield Hit("fleet.missing_key", f"{policy.value}: a request that names no tenant is served, by {where}")


def _unknown(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    if topology.fleet.unknown_tenant is UnknownTenant.DEFAULT_CELL:
        yield Hit(
            "fleet.unknown_tenant",
            f"default-cell: whoever makes up keys loads {topology.fleet.default_cell}, with those who live there",
        )


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
)
