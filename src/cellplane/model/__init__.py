"""What a fleet is made of: frozen values that validate themselves, and nothing that does I/O."""

from cellplane.model.capacity import Capacity, Load
from cellplane.model.cell import Cell, CellStatus, Dimension
from cellplane.model.fleet import Fleet, MissingKey, UnknownTenant
from cellplane.model.jwt import JwtProvider
from cellplane.model.key import MAX_KEY_BYTES, is_key, is_name
from cellplane.model.key_source import KeySource, KeySourceKind
from cellplane.model.pool import Pool, StrategyName
from cellplane.model.rule import Rule
from cellplane.model.tenant import Tenant, TenantState
from cellplane.model.topology import Topology

__all__ = [
    "MAX_KEY_BYTES",
    "Capacity",
    "Cell",
    "CellStatus",
    "Dimension",
    "Fleet",
    "JwtProvider",
    "KeySource",
    "KeySourceKind",
    "Load",
    "MissingKey",
    "Pool",
    "Rule",
    "StrategyName",
    "Tenant",
    "TenantState",
    "Topology",
    "UnknownTenant",
    "is_key",
    "is_name",
]
