"""One cell's configuration, out of all that is said: pure."""

from collections.abc import Callable, Iterable
from typing import Any

from cellplane.control.config_schemas import CellConfig, FlagSpec
from cellplane.directory.outline import Outline
from cellplane.directory.records import ConfigRow
from cellplane.errors import NotFoundError
from cellplane.model.configuration import FLAG, Layer, Setting
from cellplane.model.residency import Act, violations
from cellplane.placement import slot_of
from cellplane.routing import RoutingTable

FORMAT_VERSION = 1


def configuration_of(
    cell_id: str,
    outline: Outline,
    said: Iterable[ConfigRow],
    *,
    revision: int,
    may_be_here: Callable[[str], bool],
) -> CellConfig:
    """What the apps of a cell are told.

    Where a cell is in several pools that say the same setting, the one counts whose name comes first.

    Args:
        outline: the fleet, cells and pools.
        said: all settings and flags, by id.
        revision: grows with each change of one.
        may_be_here: whether a tenant may be in the cell, by its law: of others the cell learns nothing.

    Raises:
        NotFoundError: there is no such cell.
    """
    if cell_id not in outline.cells:
        raise NotFoundError(f"no cell is named {cell_id!r}")
    pools = {name for name, pool in outline.pools.items() if cell_id in pool.cells}
    layers: dict[str, dict[str, Any]] = {"fleet": {}, "pool": {}, "cell": {}}
    tenants: dict[str, dict[str, Any]] = {}
    flags: dict[str, FlagSpec] = {}
    known: dict[str, bool] = {}

    def is_told(tenant_id: str) -> bool:
        if tenant_id not in known:
            known[tenant_id] = may_be_here(tenant_id)
        return known[tenant_id]

    for row in said:
        kind, _, name = row.id.partition("/")
        if kind == FLAG:
            spec = FlagSpec(**row.said)
            named = {tenant: is_on for tenant, is_on in spec.tenants.items() if is_told(tenant)}
            flags[name] = spec.model_copy(update={"tenants": named})
            continue
        setting, value = Setting.parse(row.id), row.said["value"]
        if setting.layer is Layer.FLEET:
            layers["fleet"][setting.name] = value
        elif setting.layer is Layer.POOL and setting.owner in pools:
            layers["pool"].setdefault(setting.name, value)
        elif setting.layer is Layer.CELL and setting.owner == cell_id:
            layers["cell"][setting.name] = value
        elif setting.layer is Layer.TENANT and is_told(setting.owner):
            tenants.setdefault(setting.owner, {})[setting.name] = value
    return CellConfig(
        version=FORMAT_VERSION, revision=revision, cell=cell_id, layers=layers, tenants=tenants, flags=flags
    )


def may_be_in(table: RoutingTable | None, cell_id: str) -> Callable[[str], bool]:
    """Whether a tenant may be in a cell by what the published table says of its law; none may before there is one."""
    here = None if table is None else next((cell for cell in table.cells if cell.id == cell_id), None)

    def may_be(tenant_id: str) -> bool:
        if table is None or here is None:
            return False
        key = tenant_id.encode()
        row = table.find(key)
        pool = table.default_pool if row is None else row.pool
        shard = row.shard if row is not None and row.shard else table.shard_of_slot(pool, slot_of(key))
        return bool(shard) and not violations(Act.FAILOVER, "tenant", "", (table.cells[shard[0]], here))

    return may_be
