"""A command line to ask, and compiled tables to ask about."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cellplane.cli.commands import cli
from cellplane.model import Cell, CellStatus, Fleet, StrategyName, UnknownTenant
from cellplane.placement import SLOT_COUNT
from cellplane.routing import PoolSlots, TableContents, TenantColumns, TenantEntry, encode

Plan = Callable[..., Result]
WriteTable = Callable[..., Path]


@pytest.fixture
def plan() -> Plan:
    """Run ``cellplane plan`` with these words."""
    return lambda *words: CliRunner().invoke(cli, ["plan", *(str(word) for word in words)])


@pytest.fixture
def write_table(tmp_path: Path) -> WriteTable:
    """Write a table of four cells: three tenants on the shard (1, 2), one on its slot's, one on the cell that is away.

    Even slots are of shard (1, 2), odd ones of (3, 1).
    """

    def write(
        *, unknown_tenant: UnknownTenant = UnknownTenant.HASH, tenants: int = 5, jurisdiction: str = "none"
    ) -> Path:
        cells = [
            Cell("cell-1", "127.0.0.1", 8001, jurisdiction=jurisdiction),
            Cell("cell-2", "127.0.0.1", 8002, weight=2.0),
            Cell("cell-3", "127.0.0.1", 8003),
            Cell("cell-4", "127.0.0.1", 8004, status=CellStatus.MAINTENANCE),
        ]
        contents = TableContents(
            epoch=1,
            fleet=Fleet("shop", unknown_tenant=unknown_tenant),
            cells=cells,
            pools=[PoolSlots("default", StrategyName.MODULO, [slot % 2 for slot in range(SLOT_COUNT)])],
            shards=[(0, 1), (2, 0), (3,), (3, 1)],
            tenants=TenantColumns.of(
                [
                    TenantEntry(b"ada", 0),
                    TenantEntry(b"bob", 0),
                    TenantEntry(b"cleo", 3),
                    TenantEntry(b"dora", None),
                    TenantEntry(b"emil", 2),
                ][:tenants]
            ),
        )
        path = tmp_path / "table.cpt"
        path.write_bytes(encode(contents))
        return path

    return write
