"""Rows of the store ↔ values of the model. The row's fields are also what the change log and the API show."""

from collections.abc import Mapping
from typing import Any

from cellplane.model import Cell, CellStatus, Fleet, Pool, StrategyName, Tenant, TenantState, UnknownTenant

Row = Mapping[str, Any]


def fleet_row(fleet: Fleet) -> dict[str, Any]:
    """A fleet as a row."""
    return {
        "name": fleet.name,
        "key_header": fleet.key_header,
        "default_pool": fleet.default_pool,
        "unknown_tenant": fleet.unknown_tenant.value,
        "retry_after_seconds": fleet.retry_after_seconds,
    }


def fleet_of(row: Row) -> Fleet:
    """The fleet of a row."""
    return Fleet(**{**row, "unknown_tenant": UnknownTenant(row["unknown_tenant"])})


def cell_row(cell: Cell) -> dict[str, Any]:
    """A cell as a row."""
    return {
        "id": cell.id,
        "address": cell.address,
        "port": cell.port,
        "region": cell.region,
        "jurisdiction": cell.jurisdiction,
        "status": cell.status.value,
        "weight": cell.weight,
    }


def cell_of(row: Row) -> Cell:
    """The cell of a row."""
    return Cell(**{**row, "status": CellStatus(row["status"])})


def pool_row(pool: Pool) -> dict[str, Any]:
    """A pool as a row."""
    return {
        "name": pool.name,
        "cells": list(pool.cells),
        "strategy": pool.strategy.value,
        "virtual_nodes": pool.virtual_nodes,
    }


def pool_of(row: Row) -> Pool:
    """The pool of a row."""
    return Pool(**{**row, "cells": tuple(row["cells"]), "strategy": StrategyName(row["strategy"])})


def tenant_row(tenant: Tenant) -> dict[str, Any]:
    """A tenant as a row."""
    return {"id": tenant.id, "cell": tenant.cell, "state": tenant.state.value}


def tenant_of(row: Row) -> Tenant:
    """The tenant of a row."""
    return Tenant(**{**row, "state": TenantState(row["state"])})
