"""What a fleet is made of: frozen values that validate themselves, and nothing that does I/O."""

from cellplane.model.capacity import Capacity, Load
from cellplane.model.cell import Cell, CellProtocol, CellStatus, Dimension
from cellplane.model.fleet import Fleet, MissingKey, UnknownTenant
from cellplane.model.jwt import JwtProvider
from cellplane.model.key import MAX_KEY_BYTES, is_key, is_name
from cellplane.model.key_source import KeySource, KeySourceKind
from cellplane.model.policy import (
    DEFAULT_POLICY,
    NO_POLICY,
    Balance,
    Canary,
    CanaryBy,
    Compare,
    Copies,
    FailOpen,
    Mode,
    Policy,
    Priority,
    Reads,
    ResolvedPolicy,
    Writes,
    resolve,
)
from cellplane.model.pool import Pool, StrategyName
from cellplane.model.quarantine import Quarantine, QuarantinePolicy
from cellplane.model.rule import Rule
from cellplane.model.tenant import Tenant, TenantState
from cellplane.model.topology import Topology
from cellplane.model.traffic import Traffic

__all__ = [
    "DEFAULT_POLICY",
    "MAX_KEY_BYTES",
    "NO_POLICY",
    "Balance",
    "Canary",
    "CanaryBy",
    "Capacity",
    "Cell",
    "CellProtocol",
    "CellStatus",
    "Compare",
    "Copies",
    "Dimension",
    "FailOpen",
    "Fleet",
    "JwtProvider",
    "KeySource",
    "KeySourceKind",
    "Load",
    "MissingKey",
    "Mode",
    "Policy",
    "Pool",
    "Priority",
    "Quarantine",
    "QuarantinePolicy",
    "Reads",
    "ResolvedPolicy",
    "Rule",
    "StrategyName",
    "Tenant",
    "TenantState",
    "Topology",
    "Traffic",
    "UnknownTenant",
    "Writes",
    "is_key",
    "is_name",
    "resolve",
]
