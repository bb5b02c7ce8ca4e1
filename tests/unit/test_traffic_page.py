"""What ``docs/traffic.md`` configures can be configured, and its figures are those of a table."""

import re
from pathlib import Path

import pytest

from cellplane.manifest.files import read
from cellplane.model import Cell, Fleet, Pool, Tenant, Topology, resolve
from cellplane.routing import RoutingTable, compile_table, encode

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "traffic.md").read_text()
FILES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", FILES)
def test_every_resource_on_the_page_is_sound(text: str) -> None:
    manifest = read([("traffic.yaml", text)])
    assert manifest.problems == ()
    assert manifest.resources


def test_the_levels_of_the_page_are_merged_as_it_says() -> None:
    fleet, pool, tenant = (resource.value for resource in read([("traffic.yaml", FILES[0])]).resources)
    assert isinstance(fleet, Fleet)
    assert isinstance(pool, Pool)
    assert isinstance(tenant, Tenant)
    assert (resolve(tenant.policy, pool.policy, fleet.policy).rps, resolve(pool.policy, fleet.policy).rps) == (500, 200)


def test_each_router_has_the_part_that_the_page_says() -> None:
    (text,) = [each for each in FILES if "routers: 4" in each]
    fleet, cell = (resource.value for resource in read([("traffic.yaml", text)]).resources)
    assert isinstance(fleet, Fleet)
    assert isinstance(cell, Cell)
    topology = Topology(fleet, (cell,), (Pool("default", (cell.id,)),))
    table = RoutingTable(encode(compile_table(topology, 1)))
    assert table.default_policy.rps_milli == 25_000
    assert (table.cells[0].rps_milli, table.cells[0].concurrency) == (1_000_000, 125)
