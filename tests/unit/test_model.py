"""What the model refuses, and that it says where; which pool a tenant is in."""

import time
from dataclasses import replace
from typing import Any

import pytest

from cellplane.errors import ValidationError
from cellplane.model import (
    Capacity,
    Cell,
    CellStatus,
    Dimension,
    Fleet,
    JwtProvider,
    KeySource,
    KeySourceKind,
    Load,
    MissingKey,
    Pool,
    QuarantinePolicy,
    Rule,
    StrategyName,
    Tenant,
    Topology,
    UnknownTenant,
    is_key,
    is_name,
)
from cellplane.model.capacity import MAX_AMOUNT
from cellplane.model.topology import MAX_CELLS

NAN = float("nan")
EXPLICIT, SHUFFLE = StrategyName.EXPLICIT, StrategyName.SHUFFLE
ISSUER = JwtProvider("id", "https://id.example", ("shop",), jwks_file="/etc/jwks.json")
REJECTING = Fleet("shop", unknown_tenant=UnknownTenant.REJECT)

GOOD = Topology(
    fleet=Fleet("shop", rules=(Rule("gold", "gold", tiers=("gold",)),)),
    cells=(
        Cell("cell-1", "127.0.0.1", 8001, jurisdiction="eu", zone="a", release="r1", capacity=Capacity(100, 1e3, 50.0)),
        Cell("cell-2", "cell-2.internal", 8002, jurisdiction="eu", zone="b"),
        Cell("cell-3", "::1", 8003, jurisdiction="us"),
        Cell("own-1", "h", 8004, jurisdiction="us"),
    ),
    pools=(
        Pool("default", ("cell-1", "cell-2"), SHUFFLE, spread=(Dimension.ZONE,), seed=7, max_overlap=1),
        Pool("gold", ("own-1",), EXPLICIT, dedicated=True, overflow="silver"),
        Pool("silver", ("cell-3", "cell-2"), EXPLICIT, overflow="default"),
    ),
    tenants=(
        Tenant("acme", jurisdiction="eu"),
        Tenant("Globex", ("cell-2", "cell-1"), attributes=(("plan", "Größer als 3"), ("region", "eu"))),
        Tenant("umbrella", ("own-1",), tier="gold", jurisdiction="us", load=Load(rps=1.5), shard_size=1),
        Tenant("later", pool="silver", jurisdiction="eu"),
    ),
)


def fleet(**changes: Any) -> Topology:
    return replace(GOOD, fleet=replace(GOOD.fleet, **changes))


def cell(**changes: Any) -> Topology:
    return replace(GOOD, cells=(*GOOD.cells, replace(Cell("cell-9", "h", 1), **changes)))


def pool(*changed: Pool) -> Topology:
    return replace(GOOD, pools=(*GOOD.pools, *changed))


def tenant(**changes: Any) -> Topology:
    return replace(GOOD, tenants=(*GOOD.tenants, replace(Tenant("initech"), **changes)))


def rule(**changes: Any) -> Topology:
    return fleet(rules=(*GOOD.fleet.rules, replace(Rule("second", "gold", tiers=("x",)), **changes)))


def test_a_sound_topology_passes() -> None:
    GOOD.validate()
    fleet(unknown_tenant=UnknownTenant.DEFAULT_CELL, default_cell="cell-3").validate()
    fleet(missing_key=MissingKey.DEFAULT_CELL, default_cell="cell-3").validate()
    fleet(default_pool="silver", unknown_tenant=UnknownTenant.REJECT, retry_after_seconds=0).validate()


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (fleet(name="Shop"), "fleet.name"),
        (fleet(default_pool="Gold"), "fleet.default_pool"),
        (fleet(default_pool="bronze"), "fleet.default_pool"),
        (fleet(retry_after_seconds=-1), "fleet.retry_after_seconds"),
        (fleet(retry_after_seconds=3601), "fleet.retry_after_seconds"),
        (fleet(default_cell="cell-1"), "fleet.default_cell"),
        (fleet(missing_key=MissingKey.DEFAULT_CELL), "fleet.default_cell"),
        (fleet(unknown_tenant=UnknownTenant.DEFAULT_CELL, default_cell="Cell"), "fleet.default_cell"),
        (fleet(unknown_tenant=UnknownTenant.DEFAULT_CELL, default_cell="cell-9"), "fleet.default_cell"),
        (fleet(unknown_tenant=UnknownTenant.DEFAULT_CELL, default_cell="own-1"), "fleet.default_cell"),
        (fleet(default_pool="silver"), "pools[2].strategy"),
        (
            fleet(default_pool="silver", unknown_tenant=UnknownTenant.REJECT, missing_key=MissingKey.SOURCE_HASH),
            "pools[2].strategy",
        ),
        (fleet(rules=tuple(Rule(f"rule-{n}", "gold", tiers=("x",)) for n in range(257))), "fleet.rules"),
        (fleet(rules=GOOD.fleet.rules * 2), "fleet.rules[1].name"),
        (rule(name="Second"), "fleet.rules[1].name"),
        (rule(pool="Gold"), "fleet.rules[1].pool"),
        (rule(pool="bronze"), "fleet.rules[1].pool"),
        (rule(tiers=("gold", "Silver")), "fleet.rules[1].tiers[1]"),
        (rule(tiers=("gold",) * 65), "fleet.rules[1].tiers"),
        (rule(jurisdictions=("EU",)), "fleet.rules[1].jurisdictions[0]"),
        (rule(jurisdictions=("eu",) * 65), "fleet.rules[1].jurisdictions"),
        (rule(id_pattern="a" * 129), "fleet.rules[1].id_pattern"),
        (rule(id_pattern="ü*"), "fleet.rules[1].id_pattern"),
        (rule(attributes=(("Plan", "x"),)), "fleet.rules[1].attributes.Plan"),
        (rule(attributes=(("b", "x"), ("a", "x"))), "fleet.rules[1].attributes"),
        (rule(tiers=()), "fleet.rules[1]"),
        (fleet(quarantine=QuarantinePolicy(tuple(f"q-{n}" for n in range(65)))), "fleet.quarantine.cells"),
        (fleet(quarantine=QuarantinePolicy(("cell-3", "cell-3"))), "fleet.quarantine.cells[1]"),
        (fleet(quarantine=QuarantinePolicy(("Cell",))), "fleet.quarantine.cells[0]"),
        (fleet(jwt=(JwtProvider("id", "https://id", ("a",) * 2, jwks_file="/k"),)), "fleet.jwt[0].audiences"),
    ],
)
def test_a_broken_fleet_is_refused_with_the_path_of_the_field(broken: Topology, field: str) -> None:
    refused_at(broken, field)


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (replace(GOOD, cells=()), "cells"),
        (replace(GOOD, cells=GOOD.cells[:1] * 100_000), "cells"),
        (replace(GOOD, cells=(*GOOD.cells, GOOD.cells[0])), "cells[4].id"),
        (cell(id="cell_1"), "cells[4].id"),
        (cell(id=""), "cells[4].id"),
        (cell(id="c" * 64), "cells[4].id"),
        (cell(address="127.0.0.1 "), "cells[4].address"),
        (cell(address=""), "cells[4].address"),
        (cell(address="a" * 254), "cells[4].address"),
        (cell(address="münchen.example"), "cells[4].address"),
        (cell(port=0), "cells[4].port"),
        (cell(port=65536), "cells[4].port"),
        (cell(region="EU"), "cells[4].region"),
        (cell(jurisdiction="EU"), "cells[4].jurisdiction"),
        (cell(zone="eu/1"), "cells[4].zone"),
        (cell(release="1.2.3"), "cells[4].release"),
        *((cell(weight=weight), "cells[4].weight") for weight in (0, -1.0, 0.0009, 100.001, NAN, float("inf"))),
        (cell(capacity=Capacity(tenants=0)), "cells[4].capacity.tenants"),
        (cell(capacity=Capacity(rps=NAN)), "cells[4].capacity.rps"),
        (cell(capacity=Capacity(storage_gib=-1.0)), "cells[4].capacity.storage_gib"),
    ],
)
def test_broken_cells_are_refused_with_the_path_of_the_field(broken: Topology, field: str) -> None:
    refused_at(broken, field)


TWO = ("cell-1", "cell-2")


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (replace(GOOD, pools=()), "pools"),
        (pool(*(Pool(f"pool-{number}", ("cell-1",)) for number in range(256))), "pools"),
        (pool(GOOD.pools[1]), "pools[3].name"),
        (pool(Pool("Bronze", TWO)), "pools[3].name"),
        (pool(Pool("bronze", ())), "pools[3].cells"),
        (pool(Pool("bronze", ("cell-1", "cell-1"))), "pools[3].cells[1]"),
        (pool(Pool("bronze", ("cell-1", "cell_2"))), "pools[3].cells[1]"),
        (pool(Pool("bronze", ("cell-1", "cell-9"))), "pools[3].cells[1]"),
        (pool(Pool("bronze", ("cell-1", "own-1"))), "pools[3].cells[1]"),
        (pool(Pool("bronze", TWO, virtual_nodes=0)), "pools[3].virtual_nodes"),
        (pool(Pool("bronze", TWO, virtual_nodes=4097)), "pools[3].virtual_nodes"),
        (pool(Pool("bronze", TWO, shard_size=0)), "pools[3].shard_size"),
        (pool(Pool("bronze", TWO, shard_size=9)), "pools[3].shard_size"),
        (pool(Pool("bronze", TWO, shard_size=3)), "pools[3].shard_size"),
        (pool(Pool("bronze", ("cell-1",), SHUFFLE)), "pools[3].shard_size"),
        (pool(Pool("bronze", ("cell-1", "cell-3"), SHUFFLE)), "pools[3].cells"),
        (pool(Pool("bronze", ("cell-1", "cell-3"), shard_size=2)), "pools[3].cells"),
        (pool(Pool("bronze", TWO, SHUFFLE, max_overlap=2)), "pools[3].max_overlap"),
        (pool(Pool("bronze", TWO, SHUFFLE, max_overlap=-1)), "pools[3].max_overlap"),
        (pool(Pool("bronze", TWO, max_overlap=0)), "pools[3].max_overlap"),
        (pool(Pool("bronze", TWO, SHUFFLE, seed=-1)), "pools[3].seed"),
        (pool(Pool("bronze", TWO, SHUFFLE, seed=2**64)), "pools[3].seed"),
        (pool(Pool("bronze", TWO, StrategyName.RENDEZVOUS, seed=1)), "pools[3].seed"),
        (pool(Pool("bronze", TWO, SHUFFLE, spread=(Dimension.ZONE,) * 2)), "pools[3].spread"),
        (pool(Pool("bronze", TWO, EXPLICIT, spread=(Dimension.ZONE,))), "pools[3].spread"),
        (pool(Pool("bronze", TWO, SHUFFLE, dedicated=True)), "pools[3].dedicated"),
        (pool(Pool("bronze", TWO, EXPLICIT, shard_size=2, dedicated=True)), "pools[3].dedicated"),
        (pool(Pool("bronze", TWO, StrategyName.MODULO, overflow="default")), "pools[3].overflow"),
        (pool(Pool("bronze", TWO, EXPLICIT, overflow="Default")), "pools[3].overflow"),
        (pool(Pool("bronze", TWO, EXPLICIT, overflow="tin")), "pools[3].overflow"),
        (pool(Pool("bronze", TWO, EXPLICIT, overflow="bronze")), "pools[3].overflow"),
        (pool(Pool("a", TWO, EXPLICIT, overflow="b"), Pool("b", TWO, EXPLICIT, overflow="tin")), "pools[4].overflow"),
    ],
)
def test_broken_pools_are_refused_with_the_path_of_the_field(broken: Topology, field: str) -> None:
    refused_at(broken, field)


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (tenant(id="acme"), "tenants[4].id"),
        (tenant(id="a/b"), "tenants[4].id"),
        (tenant(id="\udc80"), "tenants[4].id"),
        (tenant(shard=("cell-1", "Cell")), "tenants[4].shard[1]"),
        (tenant(shard=("cell-1", "cell-9")), "tenants[4].shard[1]"),
        (tenant(shard=("cell-1", "cell-1")), "tenants[4].shard"),
        (tenant(shard=tuple(f"cell-{number}" for number in range(9))), "tenants[4].shard"),
        (tenant(shard=("cell-2", "cell-3")), "tenants[4].shard"),
        (tenant(pool="Gold"), "tenants[4].pool"),
        (tenant(pool="bronze"), "tenants[4].pool"),
        (tenant(tier="Gold"), "tenants[4].tier"),
        (tenant(jurisdiction="EU"), "tenants[4].jurisdiction"),
        (tenant(jurisdiction="us"), "tenants[4].jurisdiction"),
        (tenant(jurisdiction="us", shard=("cell-1",)), "tenants[4].jurisdiction"),
        (tenant(jurisdiction="us", pool="silver", shard=("cell-2",)), "tenants[4].jurisdiction"),
        (tenant(load=Load(tenants=-1)), "tenants[4].load.tenants"),
        (tenant(load=Load(rps=NAN)), "tenants[4].load.rps"),
        (tenant(load=Load(storage_gib=2 * MAX_AMOUNT)), "tenants[4].load.storage_gib"),
        (tenant(shard_size=0), "tenants[4].shard_size"),
        (tenant(shard_size=9), "tenants[4].shard_size"),
        (tenant(attributes=tuple((f"name-{number:02}", "x") for number in range(33))), "tenants[4].attributes"),
        (tenant(attributes=(("b", "x"), ("a", "x"))), "tenants[4].attributes"),
        (tenant(attributes=(("a", "x"), ("a", "y"))), "tenants[4].attributes"),
        (tenant(attributes=(("a", ""),)), "tenants[4].attributes.a"),
        (tenant(attributes=(("a", "x\n"),)), "tenants[4].attributes.a"),
        (tenant(attributes=(("a", "x" * 129),)), "tenants[4].attributes.a"),
        (tenant(attributes=(("A", "x"),)), "tenants[4].attributes.A"),
    ],
)
def test_broken_tenants_are_refused_with_the_path_of_the_field(broken: Topology, field: str) -> None:
    refused_at(broken, field)


def refused_at(broken: Topology, field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        broken.validate()
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")


def test_a_ring_of_too_many_points_is_refused() -> None:
    heavy = tuple(Cell(f"cell-{number}", "h", 1, weight=100.0) for number in range(3))
    names = tuple(cell.id for cell in heavy)
    ring = Topology(Fleet("shop"), heavy, (Pool("default", names, virtual_nodes=4096),))
    refused_at(ring, "pools[0].virtual_nodes")
    replace(ring, pools=(Pool("default", names, StrategyName.RENDEZVOUS, virtual_nodes=4096),)).validate()


def test_a_circle_of_overflows_is_named_without_what_leads_to_it() -> None:
    def explicit(name: str, overflow: str) -> Pool:
        return Pool(name, TWO, EXPLICIT, overflow=overflow)

    broken = pool(explicit("lead", "a"), explicit("a", "b"), explicit("b", "c"), explicit("c", "a"))
    with pytest.raises(ValidationError, match=r"goes round in a circle: a → b → c → a$") as refused:
        broken.validate()
    assert refused.value.field == "pools[4].overflow"


def test_a_thousand_cells_in_fifty_pools_are_validated_in_no_time() -> None:
    cells = tuple(Cell(f"cell-{number}", "h", 1, zone=f"z{number % 3}") for number in range(1000))
    names = tuple(cell.id for cell in cells)
    pools = tuple(
        Pool(f"pool-{number}", names, EXPLICIT, overflow=f"pool-{number + 1}" if number < 49 else None)
        for number in range(50)
    )
    rules = tuple(Rule(f"rule-{number}", "pool-1", id_pattern=f"*-{number}-*") for number in range(50))
    tenants = tuple(Tenant(f"tenant-{number}", (names[number % 1000],), jurisdiction="none") for number in range(5000))
    big = Topology(replace(REJECTING, default_pool="pool-0", rules=rules), cells, pools, tenants)
    started = time.process_time()
    big.validate()
    assert time.process_time() - started < 30  # generous: this is for what grows with the square


def test_as_many_cells_as_a_table_can_name_are_validated_in_seconds() -> None:
    cells = tuple(Cell(f"cell-{number}", "h", 1) for number in range(MAX_CELLS))
    rendezvous = Pool("default", tuple(cell.id for cell in cells), StrategyName.RENDEZVOUS)
    started = time.process_time()
    Topology(Fleet("shop"), cells, (rendezvous,)).validate()
    assert time.process_time() - started < 30  # generous: this is for what grows with the square


# What values say of themselves.


def test_the_first_rule_that_matches_chooses_the_pool() -> None:
    rules = (
        Rule("by-tier", "a", tiers=("gold", "silver")),
        Rule("by-law", "b", jurisdictions=("eu",), id_pattern="t-[0-9]*"),
        Rule("by-attributes", "c", attributes=(("plan", "x"), ("team", "y"))),
        Rule("by-all", "d", tiers=("tin",), jurisdictions=("us",), id_pattern="?", attributes=(("plan", "x"),)),
    )
    topology = Topology(Fleet("shop", rules=rules), (), ())

    def chosen(**fields: Any) -> tuple[str, str | None]:
        name, by = topology.pool_of(replace(Tenant("t-1"), **fields))
        return name, by.name if by else None

    both = (("plan", "x"), ("size", "9"), ("team", "y"))
    assert chosen() == ("default", None)
    assert chosen(tier="silver", jurisdiction="eu") == ("a", "by-tier")
    assert chosen(jurisdiction="eu") == ("b", "by-law")
    assert chosen(id="T-1", jurisdiction="eu") == ("default", None)
    assert chosen(attributes=both) == ("c", "by-attributes")
    assert chosen(attributes=both[:1]) == ("default", None)
    assert chosen(id="z", tier="tin", jurisdiction="us", attributes=both[:1]) == ("d", "by-all")
    assert chosen(id="zz", tier="tin", jurisdiction="us", attributes=both[:1]) == ("default", None)
    assert chosen(pool="z", tier="gold") == ("z", None)


def test_a_cell_without_a_zone_has_its_region_for_one() -> None:
    bare = Cell("c", "h", 1, region="eu")
    full = Cell("c", "h", 1, region="eu", zone="eu-a", release="r1")
    assert [bare.coordinate(dimension) for dimension in Dimension] == ["eu", "eu", "none"]
    assert [full.coordinate(dimension) for dimension in Dimension] == ["eu-a", "eu", "r1"]


def test_a_cell_serves_from_active_to_draining() -> None:
    serving = {CellStatus.ACTIVE, CellStatus.LOCKED, CellStatus.DRAINING}
    assert {status for status in CellStatus if status.serves} == serving


@pytest.mark.parametrize(
    ("some", "size", "has_slots", "assigns", "overlap"),
    [
        (Pool("p", TWO), 1, True, False, None),
        (Pool("p", TWO, shard_size=2), 2, True, False, None),
        (Pool("p", TWO, SHUFFLE), 2, True, False, None),
        (Pool("p", TWO, SHUFFLE, max_overlap=1), 2, True, True, 1),
        (Pool("p", TWO, EXPLICIT), 1, False, True, None),
        (Pool("p", TWO, EXPLICIT, max_overlap=0), 1, False, True, 0),
        (Pool("p", TWO, EXPLICIT, shard_size=2), 2, False, True, 1),
        (Pool("p", TWO, EXPLICIT, shard_size=2, max_overlap=0), 2, False, True, 0),
    ],
)
def test_what_a_pool_does(some: Pool, size: int, has_slots: bool, assigns: bool, overlap: int | None) -> None:
    assert (some.size, some.has_slots, some.assigns, some.overlap) == (size, has_slots, assigns, overlap)


def test_the_preferred_cell_of_a_tenant() -> None:
    assert Tenant("a").cell is None
    assert Tenant("a", ("cell-2", "cell-1")).cell == "cell-2"


def test_loads_add_up() -> None:
    assert Load(1, 2.0, 3.0) + Load(4, 5.0, 6.0) == Load(5, 7.0, 9.0)


@pytest.mark.parametrize("name", ["tenants", "rps", "storage_gib"])
@pytest.mark.parametrize("amount", [-1, NAN, float("inf"), 1e13])
def test_amounts_are_numbers(name: str, amount: Any) -> None:
    for value in (Load(**{name: amount}), Capacity(**{name: amount})):
        with pytest.raises(ValidationError) as refused:
            value.validate("cells[3].x")
        assert refused.value.field == f"cells[3].x.{name}"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (KeySourceKind.JWT_CLAIM, "sub"),
        (KeySourceKind.JWT_CLAIM, "resource_access.shop-api.tenant:id"),
        (KeySourceKind.JWT_CLAIM, "c" * 128),
        (KeySourceKind.COOKIE, "__Host-cell"),
        (KeySourceKind.COOKIE, "c" * 64),
        (KeySourceKind.HEADER, "x-tenant-id"),
        (KeySourceKind.SUBDOMAIN, "shop.example.com"),
        (KeySourceKind.PATH, "/"),
        (KeySourceKind.PATH, "/api/v1.0/"),
    ],
)
def test_key_sources(kind: KeySourceKind, name: str) -> None:
    is_header = kind is KeySourceKind.HEADER
    fleet(key_sources=(KeySource(kind, name, trusted=is_header),), jwt=(ISSUER,)).validate()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (KeySourceKind.JWT_CLAIM, ""),
        (KeySourceKind.JWT_CLAIM, "tenant id"),
        (KeySourceKind.JWT_CLAIM, "https://example.com/tenant_id"),
        (KeySourceKind.JWT_CLAIM, ".sub"),
        (KeySourceKind.JWT_CLAIM, "org."),
        (KeySourceKind.JWT_CLAIM, "org..id"),
        (KeySourceKind.JWT_CLAIM, "é"),
        (KeySourceKind.JWT_CLAIM, "c" * 129),
        (KeySourceKind.COOKIE, ""),
        (KeySourceKind.COOKIE, "c" * 65),
        (KeySourceKind.COOKIE, "é"),
        (KeySourceKind.COOKIE, "a=b"),
        (KeySourceKind.COOKIE, "a/b"),
        (KeySourceKind.HEADER, ""),
        (KeySourceKind.HEADER, "X-Tenant"),
        (KeySourceKind.HEADER, "x_tenant"),
        (KeySourceKind.HEADER, "h" * 64),
        (KeySourceKind.HEADER, "host"),
        (KeySourceKind.HEADER, "x-cell-id"),
        (KeySourceKind.SUBDOMAIN, ".example.com"),
        (KeySourceKind.SUBDOMAIN, "Example.com"),
        (KeySourceKind.SUBDOMAIN, "a." * 126 + "example"),
        (KeySourceKind.PATH, "t/"),
        (KeySourceKind.PATH, "/t"),
        (KeySourceKind.PATH, "//"),
        (KeySourceKind.PATH, "/t//"),
        (KeySourceKind.PATH, "/../"),
        (KeySourceKind.PATH, "/a%41/"),
        (KeySourceKind.PATH, f"/{'a' * 252}/"),
    ],
)
def test_what_is_no_key_source(kind: KeySourceKind, name: str) -> None:
    refused_at(
        fleet(key_sources=(KeySource.trusted_header("x-first"), KeySource(kind, name))),
        "fleet.key_sources[1].name",
    )


def test_a_header_is_a_key_source_only_where_it_is_trusted() -> None:
    refused_at(fleet(key_sources=(KeySource(KeySourceKind.HEADER, "x-a"),)), "fleet.key_sources[0].trusted")
    refused_at(fleet(key_sources=(KeySource(KeySourceKind.HEADER, "X"),)), "fleet.key_sources[0].name")
    with pytest.raises(ValidationError, match="every client can write the header 'x-a'"):
        KeySource(KeySourceKind.HEADER, "x-a").validate("source")
    assert KeySource.trusted_header("x-a") == KeySource(KeySourceKind.HEADER, "x-a", trusted=True)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (KeySourceKind.JWT_CLAIM, "sub"),
        (KeySourceKind.COOKIE, "route"),
        (KeySourceKind.SUBDOMAIN, "example.com"),
        (KeySourceKind.PATH, "/t/"),
    ],
)
def test_nothing_but_a_header_is_trusted(kind: KeySourceKind, name: str) -> None:
    sources = (KeySource(kind, name, trusted=True),)
    refused_at(fleet(key_sources=sources, jwt=(ISSUER,)), "fleet.key_sources[0].trusted")


def test_a_claim_needs_somebody_who_signs_it() -> None:
    sources = (KeySource.trusted_header("x-a"), KeySource(KeySourceKind.JWT_CLAIM, "org.id"))
    refused_at(fleet(key_sources=sources), "fleet.key_sources[1]")
    fleet(key_sources=sources, jwt=(ISSUER,)).validate()


def test_too_few_too_many_and_equal_key_sources() -> None:
    sources = tuple(KeySource.trusted_header(f"x-{number}") for number in range(9))
    refused_at(fleet(key_sources=()), "fleet.key_sources")
    refused_at(fleet(key_sources=sources), "fleet.key_sources")
    refused_at(fleet(key_sources=(*sources[:3], sources[1])), "fleet.key_sources[3]")
    fleet(key_sources=sources[:8]).validate()


@pytest.mark.parametrize("key", [b"a", b"tenant-001", b"A.b_c:d@e|f+g=h~i-j", b"0" * 128])
def test_keys(key: bytes) -> None:
    assert is_key(key)


@pytest.mark.parametrize(
    "key", [b"", b"-a", b".a", b"a b", b"a/b", b"a%41", b"a\n", b"a\x00", b"\xc3\xbc", b"a,b", b'a"', b"0" * 129]
)
def test_what_is_no_key(key: bytes) -> None:
    assert not is_key(key)


def test_names() -> None:
    assert all(is_name(name) for name in ("a", "0", "a-b", "a" * 63))
    assert not any(is_name(name) for name in ("", "-a", "a-", "A", "a.b", "a_b", "a\n", "ü", "a" * 64))
