"""Rows of the store ↔ values of the model. The row's fields are also what the change log and the API show."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from enum import Enum
from typing import Any

from cellplane.directory.records import TenantRecord
from cellplane.model import (
    NO_POLICY,
    Balance,
    Canary,
    CanaryBy,
    Capacity,
    Cell,
    CellProtocol,
    CellStatus,
    Compare,
    Copies,
    Dimension,
    FailOpen,
    Fleet,
    JwtProvider,
    KeySource,
    KeySourceKind,
    Load,
    MissingKey,
    Mode,
    Policy,
    Pool,
    Priority,
    Quarantine,
    QuarantinePolicy,
    Reads,
    Rule,
    StrategyName,
    Tenant,
    TenantState,
    UnknownTenant,
    Writes,
)
from cellplane.model.health import health_of, said_of

Row = Mapping[str, Any]


def fleet_row(fleet: Fleet) -> dict[str, Any]:
    """A fleet as a row."""
    return {
        "name": fleet.name,
        "key_sources": [
            {"kind": source.kind.value, "name": source.name, "trusted": source.trusted} for source in fleet.key_sources
        ],
        "default_pool": fleet.default_pool,
        "unknown_tenant": fleet.unknown_tenant.value,
        "missing_key": fleet.missing_key.value,
        "default_cell": fleet.default_cell,
        "rules": [_rule_row(rule) for rule in fleet.rules],
        "retry_after_seconds": fleet.retry_after_seconds,
        "jwt": [{**asdict(provider), "audiences": list(provider.audiences)} for provider in fleet.jwt],
        "policy": policy_row(fleet.policy),
        "fail_open": fleet.fail_open.value,
        "routers": fleet.routers,
        "health": said_of(fleet.health),
        "quarantine": {**asdict(fleet.quarantine), "cells": list(fleet.quarantine.cells)},
    }


def fleet_of(row: Row) -> Fleet:
    """The fleet of a row."""
    sources = tuple(KeySource(**{**source, "kind": KeySourceKind(source["kind"])}) for source in row["key_sources"])
    providers = (JwtProvider(**{**provider, "audiences": tuple(provider["audiences"])}) for provider in row["jwt"])
    return Fleet(
        **{
            **row,
            "key_sources": sources,
            "unknown_tenant": UnknownTenant(row["unknown_tenant"]),
            "missing_key": MissingKey(row["missing_key"]),
            "rules": tuple(_rule_of(rule) for rule in row["rules"]),
            "jwt": tuple(providers),
            "policy": policy_of(row["policy"]),
            "fail_open": FailOpen(row["fail_open"]),
            "health": health_of("fleet.health", row["health"]),
            "quarantine": QuarantinePolicy(**{**row["quarantine"], "cells": tuple(row["quarantine"]["cells"])}),
        }
    )


def cell_row(cell: Cell) -> dict[str, Any]:
    """A cell as a row."""
    return {
        "id": cell.id,
        "address": cell.address,
        "port": cell.port,
        "region": cell.region,
        "zone": cell.zone,
        "jurisdiction": cell.jurisdiction,
        "status": cell.status.value,
        "weight": cell.weight,
        "release": cell.release,
        "capacity": {
            "tenants": cell.capacity.tenants,
            "rps": cell.capacity.rps,
            "storage_gib": cell.capacity.storage_gib,
            "concurrency": cell.capacity.concurrency,
        },
        "public_url": cell.public_url,
        "maintenance_page": cell.maintenance_page,
        "protocol": cell.protocol.value,
    }


def cell_of(row: Row) -> Cell:
    """The cell of a row."""
    return Cell(
        **{
            **row,
            "status": CellStatus(row["status"]),
            "capacity": Capacity(**row["capacity"]),
            "protocol": CellProtocol(row["protocol"]),
        }
    )


def pool_row(pool: Pool) -> dict[str, Any]:
    """A pool as a row."""
    return {
        "name": pool.name,
        "cells": list(pool.cells),
        "strategy": pool.strategy.value,
        "virtual_nodes": pool.virtual_nodes,
        "shard_size": pool.shard_size,
        "seed": pool.seed,
        "spread": [dimension.value for dimension in pool.spread],
        "max_overlap": pool.max_overlap,
        "dedicated": pool.dedicated,
        "overflow": pool.overflow,
        "policy": policy_row(pool.policy),
        "canary": None if pool.canary is None else {**asdict(pool.canary), "by": pool.canary.by.value},
        "p99_objective_seconds": pool.p99_objective_seconds,
    }


def pool_of(row: Row) -> Pool:
    """The pool of a row."""
    return Pool(
        **{
            **row,
            "cells": tuple(row["cells"]),
            "strategy": StrategyName(row["strategy"]),
            "spread": tuple(Dimension(name) for name in row["spread"]),
            "policy": policy_of(row["policy"]),
            "canary": None if row["canary"] is None else _canary_of(row["canary"]),
        }
    )


def _canary_of(row: Row) -> Canary:
    return Canary(row["cell"], row["percent"], CanaryBy(row["by"]))


def tenant_row(record: TenantRecord) -> dict[str, Any]:
    """A tenant, and where it is placed, as a row."""
    tenant = record.tenant
    return {
        "id": tenant.id,
        "shard": list(tenant.shard),
        "state": tenant.state.value,
        "pool": tenant.pool,
        "placed_pool": record.placed_pool,
        "tier": tenant.tier,
        "jurisdiction": tenant.jurisdiction,
        "attributes": dict(tenant.attributes),
        # By name: ``asdict`` took a fifth of the time of an import.
        "load": {
            "tenants": tenant.load.tenants,
            "rps": tenant.load.rps,
            "storage_gib": tenant.load.storage_gib,
        },
        "shard_size": tenant.shard_size,
        "policy": {} if tenant.policy is NO_POLICY else policy_row(tenant.policy),
    }


def tenant_of(row: Row) -> TenantRecord:
    """The tenant of a row."""
    tenant = Tenant(
        **{
            **{name: value for name, value in row.items() if name not in {"placed_pool", "version"}},
            "shard": tuple(row["shard"]),
            "state": TenantState(row["state"]),
            "attributes": tuple(sorted(row["attributes"].items())),
            "load": Load(**row["load"]),
            "policy": policy_of(row["policy"]),
        }
    )
    return TenantRecord(tenant, row["placed_pool"], row.get("version", 0))


def quarantine_row(quarantine: Quarantine) -> dict[str, Any]:
    """A quarantine as a row."""
    return {
        name: value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
        for name, value in asdict(quarantine).items()
    }


def quarantine_of(row: Row) -> Quarantine:
    """The quarantine of a row."""
    times = {
        name: None if row[name] is None else datetime.fromisoformat(row[name])
        for name in ("since", "until", "ended", "held_until")
    }
    return Quarantine(**{**row, **times})


_CHOICES: Mapping[str, type[Enum]] = {
    "writes": Writes,
    "reads": Reads,
    "balance": Balance,
    "mode": Mode,
    "priority": Priority,
    "copies": Copies,
}


def policy_row(policy: Policy) -> dict[str, Any]:
    """What a policy says, and nothing else."""
    said = {field.name: getattr(policy, field.name) for field in fields(Policy)}
    return {name: _said(value) for name, value in said.items() if value is not None}


def _said(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case Compare():
            return {"percent": value.percent, "ignore": list(value.ignore)}
        case _:
            return value


def policy_of(row: Row) -> Policy:
    """The policy of what is said; None is not said. Where nothing is, it is NO_POLICY itself."""
    said = {name: value for name, value in row.items() if value is not None}
    if not said:
        return NO_POLICY
    known: dict[str, Any] = {name: _CHOICES[name](value) if name in _CHOICES else value for name, value in said.items()}
    compare = known.get("compare")
    if compare is not None:
        known["compare"] = Compare(compare["percent"], tuple(compare["ignore"]))
    return Policy(**known)


def _rule_row(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "pool": rule.pool,
        "tiers": list(rule.tiers),
        "jurisdictions": list(rule.jurisdictions),
        "id_pattern": rule.id_pattern,
        "attributes": dict(rule.attributes),
    }


def _rule_of(row: Row) -> Rule:
    return Rule(
        **{
            **row,
            "tiers": tuple(row["tiers"]),
            "jurisdictions": tuple(row["jurisdictions"]),
            "attributes": tuple(sorted(row["attributes"].items())),
        }
    )
