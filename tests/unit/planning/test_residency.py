"""The residency report: what it says of each tenant, and its files."""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.model import Canary, Cell, Fleet, Policy, Pool, QuarantinePolicy, Reads, StrategyName, Tenant, Topology
from cellplane.model.residency import Act, violations
from cellplane.planning.residency import ResidencyReport, Resident, Row, residents
from cellplane.planning.residency_files import COLUMNS, Form, ResidencyFile

CELLS = tuple(Cell(f"{law}-{number}", "h", 1, jurisdiction=law) for law in ("eu", "us") for number in range(3))
EU = ("eu-0", "eu-1", "eu-2")
ALL = tuple(cell.id for cell in CELLS)


def fleet(*pools: Pool, **fields: object) -> Topology:
    return Topology(Fleet("shop", default_pool=pools[0].name, **fields), CELLS, pools)  # type: ignore[arg-type]


def row(topology: Topology, resident: Resident) -> Row:
    (found,) = ResidencyReport(topology).rows([resident])
    return found


@pytest.mark.parametrize("strategy", list(StrategyName))
def test_a_tenant_is_where_its_strategy_places_it(strategy: StrategyName) -> None:
    topology = fleet(Pool("eu", EU, strategy))
    shard = ("eu-1",) if strategy is StrategyName.EXPLICIT else ()
    found = row(topology, Resident(Tenant("acme", shard, jurisdiction="eu"), "eu"))
    assert found.holds
    assert found.why == "all under eu"
    assert found.placed_by == ("assignment" if shard else "slot")
    assert set(found.cells) <= set(EU)
    assert len(found.cells) == topology.pools[0].size
    assert found.may_be == EU


def test_a_tenant_without_a_cell_breaks_nothing() -> None:
    found = row(fleet(Pool("own", EU, StrategyName.EXPLICIT)), Resident(Tenant("acme", jurisdiction="us"), "own"))
    assert (found.placed_by, found.cells, found.holds, found.why) == ("nothing", (), True, "no cell has it")
    assert found.may_be == ()


def test_an_assignment_under_another_law_does_not_hold() -> None:
    found = row(fleet(Pool("all", ALL)), Resident(Tenant("acme", ("us-1",), jurisdiction="eu"), "all"))
    assert not found.holds
    assert found.why == "assignment: it is under eu, cell 'us-1' under us"
    assert found.may_be == EU


def test_a_shard_that_crosses_does_not_hold_for_a_tenant_without_a_law() -> None:
    found = row(fleet(Pool("all", ALL)), Resident(Tenant("acme", ("eu-0", "us-1")), "all"))
    assert not found.holds


def test_quarantine_counts() -> None:
    topology = fleet(Pool("eu", EU[:2]), quarantine=QuarantinePolicy(cells=("eu-2", "us-2")))
    at_home = row(topology, Resident(Tenant("acme", jurisdiction="eu"), "eu", "eu-2"))
    assert at_home.holds
    assert at_home.may_be == EU
    assert not row(topology, Resident(Tenant("acme"), "eu", "us-2")).holds


@pytest.mark.parametrize(
    ("pool", "act"),
    [
        (Pool("eu", EU[:2], policy=Policy(reads=Reads.STANDBY, standby="us-0")), "standby"),
        (Pool("eu", EU[:2], policy=Policy(shadow="us-0")), "shadow"),
        (Pool("eu", EU[:2], canary=Canary("us-0", 5.0)), "canary"),
    ],
)
def test_cells_that_see_its_requests_count(pool: Pool, act: str) -> None:
    found = row(fleet(pool), Resident(Tenant("acme"), "eu"))
    assert (found.holds, found.others) == (False, ("us-0",))
    assert found.why == f"{act}: it is under eu, cell 'us-0' under us"


def test_a_cell_that_is_not_there_does_not_hold() -> None:
    found = row(fleet(Pool("eu", EU)), Resident(Tenant("acme", ("gone",)), "eu"))
    assert (found.holds, found.why) == (False, "no cell is named 'gone'")


def test_a_tenant_may_be_where_its_pool_overflows_to() -> None:
    own, rest = Pool("own", EU[:1], StrategyName.EXPLICIT, overflow="rest"), Pool("rest", EU[1:])
    assert row(fleet(rest, own), Resident(Tenant("acme", ("eu-0",)), "own")).may_be == EU


shards = st.lists(st.sampled_from(ALL), max_size=3, unique=True).map(tuple)
tenants = st.builds(Tenant, st.just("acme"), shards, jurisdiction=st.sampled_from(["", "eu", "us"]))


@given(tenants, st.sampled_from([*StrategyName]), st.sampled_from([EU, ALL]), st.sampled_from([None, "eu-2", "us-2"]))
def test_a_report_never_holds_for_a_tenant_that_may_be_under_another_law(
    tenant: Tenant, strategy: StrategyName, cells: tuple[str, ...], quarantine: str | None
) -> None:
    topology = fleet(Pool("one", cells, strategy))
    found = row(topology, Resident(tenant, "one", quarantine))
    by_id = {cell.id: cell for cell in CELLS}
    reached = [by_id[each] for each in (*found.cells, *found.others, *filter(None, [found.quarantine]))]
    assert found.holds == (not violations(Act.PLACEMENT, "acme", tenant.jurisdiction, reached))


def many(count: int) -> Iterator[Resident]:
    for number in range(count):
        yield Resident(Tenant(f"tenant-{number}", jurisdiction="eu" if number % 10 else "us"), "eu")


@pytest.mark.parametrize("form", list(Form))
def test_a_file_has_a_row_for_each_and_a_statement_about_all_of_its_bytes(form: Form) -> None:
    file = ResidencyFile(ResidencyReport(fleet(Pool("eu", EU))).rows(many(100)), form)
    data = b"".join(file.lines())
    said = file.statement("shop", 7, "2026-01-01T00:00:00Z")
    assert (said.tenants, said.violations) == (100, 10)
    assert json.loads(said.to_bytes()) == {
        "kind": "cellplane.residency/1", "fleet": "shop", "jurisdiction": "", "epoch": 7, "at": "2026-01-01T00:00:00Z",
        "form": form.value, "tenants": 100, "violations": 10, "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    lines = data.decode().splitlines()
    if form is Form.CSV:
        assert lines[0] == ",".join(COLUMNS)
        assert [each["holds"] for each in csv.DictReader(lines)][:2] == ["false", "true"]
        assert next(csv.DictReader(lines))["may_be"] == ""
    else:
        first = json.loads(lines[1])
        assert (first["tenant"], first["holds"], first["may_be"]) == ("tenant-1", True, list(EU))


def test_more_places_than_are_remembered_are_judged_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellplane.planning.residency.MAX_REMEMBERED", 2)
    shards = [(cell.id,) for cell in CELLS] * 2
    rows = ResidencyReport(fleet(Pool("all", ALL))).rows(Resident(Tenant("a", shard), "all") for shard in shards)
    assert [(row.cells, row.holds) for row in rows] == [(shard, True) for shard in shards]


def test_rows_are_made_when_they_are_asked_for() -> None:
    def endless() -> Iterator[Resident]:
        number = 0
        while True:
            yield Resident(Tenant(f"tenant-{number}"), "eu")
            number += 1

    rows = ResidencyReport(fleet(Pool("eu", EU))).rows(endless())
    assert [next(rows).tenant for _ in range(3)] == ["tenant-0", "tenant-1", "tenant-2"]


def test_tenants_of_a_topology_are_in_the_pool_that_rules_give_them() -> None:
    own = Pool("own", EU[:1], StrategyName.EXPLICIT, overflow="eu")
    tenants = (
        Tenant("a"),
        Tenant("b", pool="own"),
        Tenant("overflowed", ("eu-1",), pool="own"),
        Tenant("elsewhere", ("us-1",), pool="own"),
    )
    topology = replace(fleet(Pool("eu", EU), own), tenants=tenants)
    assert [(each.pool, each.quarantine) for each in residents(topology, {"b": "eu-1"})] == [
        ("eu", None), ("own", "eu-1"), ("eu", None), ("own", None),
    ]  # fmt: skip
