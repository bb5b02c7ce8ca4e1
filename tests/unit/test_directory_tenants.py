"""Tenants in the directory: the pool that rules choose, assignment, and what others read of them."""

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from cellplane.directory import Entry, schema
from cellplane.directory.placing import MAX_SEARCHED_AT_ONCE
from cellplane.errors import ConflictError, NoCellError, ValidationError
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
    Rule,
    StrategyName,
    Tenant,
    TenantState,
    UnknownTenant,
)
from support.directory import Directory

GOLD = Rule("gold", "big", tiers=("gold",))
EU = Rule("eu", "eu", jurisdictions=("eu",))


@pytest.fixture
def directory(location: Path | str) -> Iterator[Directory]:
    """Slots on cell-1 and cell-2; ``big`` assigns to cell-3 and cell-4; ``eu`` has slots on cell-5."""
    directory = Directory(location)
    fleet = Fleet("shop", rules=(GOLD, EU))
    cells = [Cell(f"cell-{number}", "127.0.0.1", 8000 + number) for number in range(1, 5)]
    cells.append(Cell("cell-5", "127.0.0.1", 8005, jurisdiction="eu"))
    pools = (
        Pool("default", ("cell-1", "cell-2")),
        Pool("big", ("cell-3", "cell-4"), StrategyName.EXPLICIT),
        Pool("eu", ("cell-5",)),
    )
    directory.apply([fleet, *cells, *pools], actor="test")
    yield directory
    directory.close()


def placed(directory: Directory, tenant_id: str) -> tuple[str | None, tuple[str, ...]]:
    record = directory.tenant(tenant_id)
    return record.placed_pool, record.tenant.shard


def change(directory: Directory, tenant_id: str, *, anew: bool = False, **fields: Any) -> tuple[str, ...]:
    return directory.change_tenant(tenant_id, fields, anew=anew, actor="test").record.tenant.shard


# What is put is what is read


def test_every_field_is_read_back(directory: Directory) -> None:
    fleet = Fleet(
        "shop",
        (
            KeySource(KeySourceKind.JWT_CLAIM, "org.id"),
            KeySource(KeySourceKind.COOKIE, "route"),
            KeySource(KeySourceKind.SUBDOMAIN, "example.com"),
            KeySource(KeySourceKind.PATH, "/t/"),
            KeySource.trusted_header("x-tenant-id"),
        ),
        "default",
        UnknownTenant.DEFAULT_CELL,
        7,
        MissingKey.DEFAULT_CELL,
        "cell-2",
        (GOLD, Rule("all", "eu", ("a", "b"), ("eu",), "x*", (("plan", "p 1"), ("size", "xl")))),
        (
            JwtProvider("id", "https://id.example", ("shop", "api"), "https://id.example/jwks", "", "session", 5),
            JwtProvider("own", "own", jwks_file="/etc/jwks.json"),
        ),
    )
    cell = Cell(
        "cell-6", "c.example", 443, "r", "eu", CellStatus.LOCKED, 2.5, "z", "r-7", Capacity(10, 2.5, storage_gib=1e12)
    )
    pool = Pool(
        "wide",
        ("cell-4", "cell-2", "cell-3", "cell-1"),
        StrategyName.SHUFFLE,
        shard_size=2,
        seed=2**64 - 1,
        spread=(Dimension.ZONE, Dimension.RELEASE),
        max_overlap=1,
    )
    dedicated = Pool("own", ("cell-6",), StrategyName.EXPLICIT, dedicated=True, overflow="eu")
    tenant = Tenant(
        "acme",
        ("cell-5",),
        TenantState.SUSPENDED,
        "eu",
        "gold",
        "eu",
        (("a", "1"), ("b", "2")),
        Load(3, 0.1, 12.5),
        2,
    )
    places = [("z-a", "r1"), ("z-b", "r2"), ("z-a", "r2"), ("z-b", "r1")]
    spread = [
        Cell(f"cell-{number}", "127.0.0.1", 8000 + number, zone=zone, release=release)
        for number, (zone, release) in enumerate(places, start=1)
    ]
    directory.apply([cell, pool, dedicated, *spread], actor="test")
    directory.put_fleet(fleet, actor="test")
    directory.put_tenant(tenant, actor="test")
    found = directory.topology()
    assert found is not None
    topology = found[0]
    assert topology.fleet == fleet
    assert cell in topology.cells
    assert pool in topology.pools
    assert dedicated in topology.pools
    assert topology.tenants == (tenant,)


# Rules


def test_a_tenant_is_in_its_own_pool_else_in_that_of_the_first_rule_else_in_the_default(directory: Directory) -> None:
    change(directory, "a")
    change(directory, "b", tier="gold", jurisdiction="none")
    change(directory, "c", jurisdiction="eu")
    change(directory, "d", tier="gold", pool="default")
    assert placed(directory, "a") == ("default", ())
    assert placed(directory, "b")[0] == "big"
    assert placed(directory, "c") == ("eu", ())
    assert placed(directory, "d") == ("default", ())


def test_a_change_of_the_rules_places_tenants_in_the_same_transaction(directory: Directory) -> None:
    change(directory, "a", tier="silver")
    change(directory, "b-1", tier="gold", shard=("cell-1",))
    silver = Rule("silver", "big", tiers=("silver",))
    directory.put_fleet(Fleet("shop", rules=(silver, EU)), actor="test")
    assert placed(directory, "a") == ("big", ("cell-3",)), "it lost its slot, and is assigned"
    assert placed(directory, "b-1") == ("default", ("cell-1",)), "what is assigned stays"
    log = directory.changes(limit=10, after=directory.epoch() - 2)
    assert [(entry.kind, entry.id) for entry in log] == [("fleet", "shop"), ("tenant", "a")]
    by_id = Rule("by-id", "eu", id_pattern="b-?")
    directory.put_fleet(Fleet("shop", rules=(by_id,)), actor="test")
    assert placed(directory, "b-1")[0] == "eu"


def test_a_change_of_the_default_pool_moves_those_whom_nothing_else_places(directory: Directory) -> None:
    change(directory, "a")
    change(directory, "b", pool="default")
    directory.put_fleet(Fleet("shop", default_pool="eu"), actor="test")
    assert placed(directory, "a") == ("eu", ())
    assert placed(directory, "b") == ("default", ())


def test_tenants_that_came_before_their_fleet_get_a_pool_with_it(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "directory.sqlite3")
    directory.put_tenant(Tenant("acme", tier="gold"), actor="test")
    assert placed(directory, "acme") == (None, ())
    directory.put_cell(Cell("cell-1", "127.0.0.1", 1), actor="test")
    directory.put_fleet(Fleet("shop", rules=(Rule("gold", "big", tiers=("gold",)),)), actor="test")
    assert placed(directory, "acme") == ("big", ())
    directory.put_pool(Pool("big", ("cell-1",), StrategyName.EXPLICIT), actor="test")
    directory.put_pool(Pool("default", ("cell-1",)), actor="test")
    assert placed(directory, "acme") == ("big", ("cell-1",))
    directory.close()


def test_rules_that_no_tenant_can_be_placed_by_are_refused_and_change_nothing(directory: Directory) -> None:
    change(directory, "acme", tier="silver")
    for number in (3, 4):
        directory.put_cell(Cell(f"cell-{number}", "127.0.0.1", 1, status=CellStatus.LOCKED), actor="test")
    epoch = directory.epoch()
    silver = Rule("silver", "big", tiers=("silver",))
    with pytest.raises(NoCellError, match="'acme' is not placed") as refused:
        directory.put_fleet(Fleet("shop", rules=(silver,)), actor="test")
    assert refused.value.cells == (("cell-3", "is locked"), ("cell-4", "is locked"))
    assert directory.epoch() == epoch
    assert directory.fleet().rules == (GOLD, EU)
    assert placed(directory, "acme") == ("default", ())


# Assignment


def test_a_pool_that_assigns_takes_the_least_loaded_cell(directory: Directory) -> None:
    assert change(directory, "a", tier="gold") == ("cell-3",)
    assert change(directory, "b", tier="gold") == ("cell-4",)
    assert change(directory, "c", tier="gold", shard=("cell-4",)) == ("cell-4",)
    assert change(directory, "d", tier="gold") == ("cell-3",)
    assert {cell: load.tenants for cell, load in directory.loads().items() if load.tenants} == {
        "cell-3": 2,
        "cell-4": 2,
    }


def test_an_assignment_stays_until_what_it_follows_from_changes(directory: Directory) -> None:
    change(directory, "a", tier="gold")
    for number in range(3):
        change(directory, f"b-{number}", tier="gold", shard=("cell-3",))
    assert change(directory, "a", state=TenantState.SUSPENDED) == ("cell-3",)
    assert change(directory, "a", attributes=(("plan", "p"),)) == ("cell-3",)
    assert change(directory, "a", load=Load(1, 5.0)) == ("cell-3",)
    assert change(directory, "a", anew=True) == ("cell-4",)
    assert change(directory, "a", tier="") == ("cell-4",), "in its new pool it is pinned"
    assert change(directory, "a", anew=True) == ()


def test_a_tenant_stays_by_its_slot_when_its_pool_comes_to_assign(directory: Directory) -> None:
    cells = [Cell(f"s-{number}", "127.0.0.1", 1) for number in range(6)]
    wide = Pool("wide", tuple(cell.id for cell in cells), StrategyName.SHUFFLE, shard_size=2)
    directory.apply([*cells, wide, Tenant("a", pool="wide")], actor="test")
    directory.put_pool(replace(wide, max_overlap=1), actor="test")
    found = directory.change_tenant("a", {"state": TenantState.SUSPENDED}, actor="test")
    assert (found.record.tenant.shard, found.reason) == ((), "by its slot")
    assert change(directory, "a", tier="silver", load=Load(1, 5.0), attributes=(("plan", "p"),)) == ()
    assert change(directory, "a", jurisdiction="none") == (), "its slot leaves it under its law"
    assert change(directory, "a", shard_size=2) == (), "as many as its slot gives it"
    assert len(change(directory, "a", shard_size=3)) == 3
    assert change(directory, "new", pool="wide") != ()


@pytest.mark.parametrize("asked", [{"anew": True}, {"shard": ()}, {"pool": "big"}])
def test_a_tenant_leaves_its_slot_where_that_is_asked_for(directory: Directory, asked: dict[str, Any]) -> None:
    directory.put_pool(Pool("default", ("cell-1", "cell-2"), StrategyName.SHUFFLE), actor="test")
    assert change(directory, "a") == ()
    pool = Pool("default", ("cell-1", "cell-2"), StrategyName.SHUFFLE, max_overlap=1)
    directory.put_pool(pool, actor="test")
    assert change(directory, "a", **asked) != ()


def test_a_slot_that_leads_to_a_foreign_law_is_left_for_cells_under_ones_own(directory: Directory) -> None:
    cells = ("cell-4", "cell-5")
    directory.put_pool(Pool("mixed", cells, StrategyName.SHUFFLE, shard_size=1), actor="test")
    assert change(directory, "a", pool="mixed") == ()
    directory.put_pool(Pool("mixed", cells, StrategyName.SHUFFLE, shard_size=1, max_overlap=0), actor="test")
    assert change(directory, "a", jurisdiction="eu") == ("cell-5",)


def test_a_pin_stays_that_what_is_asked_for_allows(directory: Directory) -> None:
    cells = [Cell(f"eu-{number}", "127.0.0.1", 1, jurisdiction="eu") for number in (1, 2, 3)]
    names = ("cell-3", *(cell.id for cell in cells))
    directory.apply([*cells, Pool("mixed", names, StrategyName.EXPLICIT)], actor="test")
    assert change(directory, "a", pool="mixed", shard=("eu-3",)) == ("eu-3",)
    assert change(directory, "a", jurisdiction="eu") == ("eu-3",)
    assert change(directory, "a", shard_size=1) == ("eu-3",)
    assert change(directory, "a", jurisdiction="") == ("eu-3",)
    assert change(directory, "a", jurisdiction="none") == ("cell-3",), "its cell was under a foreign law"
    assert len(change(directory, "a", jurisdiction="eu", shard_size=2)) == 2
    assert change(directory, "b", pool="mixed", shard=("eu-3", "eu-2")) == ("eu-3", "eu-2")
    assert change(directory, "b", jurisdiction="eu") == ("eu-3", "eu-2"), "pinned to more cells than its pool gives"
    assert change(directory, "b", shard_size=2) == ("eu-3", "eu-2")


def test_to_name_the_pool_that_a_tenant_is_in_does_not_move_it(directory: Directory) -> None:
    own = Pool("big", ("cell-3",), StrategyName.EXPLICIT, dedicated=True, overflow="spare")
    directory.apply([own, Pool("spare", ("cell-4", "cell-2"), StrategyName.EXPLICIT)], actor="test")
    change(directory, "a", tier="gold")
    change(directory, "b", tier="gold")
    assert placed(directory, "b") == ("spare", ("cell-2",))
    change(directory, "c", shard=("cell-2",))
    change(directory, "b", pool="spare")
    assert placed(directory, "b") == ("spare", ("cell-2",)), "though the other cell is emptier"
    directory.delete_tenant("a", actor="test")
    change(directory, "b", pool="big")
    assert placed(directory, "b") == ("big", ("cell-3",)), "named, and not where it was"


def test_a_tenant_that_is_placed_again_does_not_count_against_itself(directory: Directory) -> None:
    directory.put_cell(Cell("cell-3", "127.0.0.1", 1, capacity=Capacity(rps=100)), actor="test")
    directory.put_cell(Cell("cell-4", "127.0.0.1", 1, status=CellStatus.LOCKED), actor="test")
    assert change(directory, "a", tier="gold", load=Load(1, 90.0)) == ("cell-3",)
    assert change(directory, "a", load=Load(1, 95.0)) == ("cell-3",)
    with pytest.raises(NoCellError):
        change(directory, "b", tier="gold", load=Load(1, 10.0))
    assert change(directory, "b", tier="gold", load=Load(1, 5.0)) == ("cell-3",)


def test_a_cell_that_is_not_well_gets_no_new_tenants(directory: Directory) -> None:
    found = directory.change_tenant("a", {"tier": "gold"}, actor="test", unhealthy={"cell-3"})
    assert found.record.tenant.shard == ("cell-4",)
    assert found.rule == "gold"
    with pytest.raises(NoCellError) as refused:
        directory.change_tenant("b", {"tier": "gold"}, actor="test", unhealthy={"cell-3", "cell-4"})
    assert refused.value.cells == (("cell-3", "is not healthy"), ("cell-4", "is not healthy"))


def test_what_overflows_is_in_the_other_pool_and_stays_there(directory: Directory) -> None:
    own = Pool("big", ("cell-3",), StrategyName.EXPLICIT, dedicated=True, overflow="spare")
    directory.apply([own, Pool("spare", ("cell-4",), StrategyName.EXPLICIT)], actor="test")
    change(directory, "a", tier="gold")
    change(directory, "b", tier="gold")
    assert placed(directory, "a") == ("big", ("cell-3",))
    assert placed(directory, "b") == ("spare", ("cell-4",))
    directory.put_fleet(Fleet("shop", rules=(EU, GOLD), retry_after_seconds=9), actor="test")
    change(directory, "b", state=TenantState.SUSPENDED)
    assert placed(directory, "b") == ("spare", ("cell-4",))
    with pytest.raises(ConflictError, match="pool 'big' as its overflow"):
        directory.delete_pool("spare", actor="test")
    directory.put_pool(replace(own, overflow=None), actor="test")
    with pytest.raises(ConflictError, match="tenant 'b' is in pool 'spare'"):
        directory.delete_pool("spare", actor="test")


def test_no_two_shards_of_a_searching_pool_share_too_many_cells(directory: Directory) -> None:
    cells = [Cell(f"s-{number}", "127.0.0.1", 1) for number in range(9)]
    wide = Pool("wide", tuple(cell.id for cell in cells), StrategyName.SHUFFLE, shard_size=3, max_overlap=1)
    directory.apply([*cells, wide, *(Tenant(f"t-{number}", pool="wide") for number in range(6))], actor="test")
    change(directory, "late", pool="wide")
    shards = [set(shard) for shard in directory.shards_of_pool("wide").values()]
    assert len(shards) == 7
    assert all(len(one & other) <= 1 for place, one in enumerate(shards) for other in shards[:place])
    two = sorted(shards[0])[:2]
    with pytest.raises(ConflictError, match="share more than 1 cells"):
        change(directory, "pinned", pool="wide", shard=tuple(two))


def test_a_tenant_beyond_its_part_of_a_cell_gets_no_shard_of_several(directory: Directory) -> None:
    for number in (1, 2, 3):
        cell = Cell(f"wide-{number}", "127.0.0.1", 9000 + number, capacity=Capacity(rps=100))
        directory.put_cell(cell, actor="test")
    names = ("wide-1", "wide-2", "wide-3")
    directory.put_pool(Pool("wide", names, StrategyName.SHUFFLE, shard_size=2), actor="test")
    assert change(directory, "small", pool="wide", load=Load(1, rps=50)) == ()
    with pytest.raises(NoCellError, match=r"1/2 of the capacity of 3 of 3 cells") as refusal:
        change(directory, "large", pool="wide", load=Load(1, rps=51))
    assert [cell for cell, _ in refusal.value.cells] == list(names)
    with pytest.raises(NoCellError):
        change(directory, "small", load=Load(1, rps=51))
    assert change(directory, "large", pool="wide", load=Load(1, rps=51), shard=("wide-1",)) == ("wide-1",), "pinned"


def test_a_dedicated_cell_is_not_shared_by_pinning(directory: Directory) -> None:
    directory.put_pool(Pool("big", ("cell-3", "cell-4"), StrategyName.EXPLICIT, dedicated=True), actor="test")
    change(directory, "a", tier="gold")
    with pytest.raises(ConflictError, match="'a'"):
        change(directory, "b", shard=("cell-3",))
    change(directory, "b", shard=("cell-4",))


def test_a_pool_that_loses_its_slots_assigns_whom_they_placed(directory: Directory) -> None:
    for number in range(4):
        change(directory, f"t-{number}", pool="default")
    directory.put_fleet(Fleet("shop", unknown_tenant=UnknownTenant.REJECT), actor="test")
    directory.put_pool(Pool("default", ("cell-1", "cell-2"), StrategyName.EXPLICIT), actor="test")
    assert sorted(directory.shards_of_pool("default").values()) == [("cell-1",)] * 2 + [("cell-2",)] * 2


@pytest.mark.long
def test_more_tenants_than_can_be_searched_for_at_once_keep_their_slots(directory: Directory) -> None:
    cells = [Cell(f"s-{number}", "127.0.0.1", 1) for number in range(60)]
    slots = Pool("wide", tuple(cell.id for cell in cells), StrategyName.SHUFFLE, shard_size=2)
    tenants = [Tenant(f"t-{number}", pool="wide") for number in range(MAX_SEARCHED_AT_ONCE + 1)]
    directory.apply([*cells, slots, *tenants], actor="test")
    searched = replace(slots, strategy=StrategyName.EXPLICIT)
    with pytest.raises(ConflictError, match=r"more than 1000 tenants .* in wide: assign them to cells first"):
        directory.put_pool(searched, actor="test")
    assert directory.shards_of_pool("wide") == {}
    directory.put_pool(replace(searched, shard_size=1), actor="test")
    assert len(directory.shards_of_pool("wide")) == len(tenants), "least loaded cells are not searched for"


# Jurisdictions


def test_a_shard_of_two_jurisdictions_is_refused(directory: Directory) -> None:
    with pytest.raises(ValidationError) as refused:
        change(directory, "a", shard=("cell-1", "cell-5"))
    assert refused.value.field == "tenant.shard[1]"


def test_a_tenant_is_placed_under_no_foreign_law(directory: Directory) -> None:
    with pytest.raises(ValidationError) as refused:
        change(directory, "a", jurisdiction="eu", shard=("cell-1",))
    assert refused.value.field == "tenant.shard[0]"
    with pytest.raises(ValidationError) as refused:
        change(directory, "a", jurisdiction="us")
    assert refused.value.field == "tenant.jurisdiction"
    change(directory, "a", shard=("cell-1",))
    with pytest.raises(ValidationError) as refused:
        change(directory, "a", jurisdiction="eu")
    assert refused.value.field == "tenant.jurisdiction"
    with pytest.raises(NoCellError):
        change(directory, "b", tier="gold", jurisdiction="us")


def test_no_change_of_cells_pools_or_rules_puts_a_tenant_under_a_foreign_law(directory: Directory) -> None:
    change(directory, "slot", jurisdiction="eu")
    change(directory, "pin", shard=("cell-1", "cell-2"))
    epoch = directory.epoch()
    with pytest.raises(ConflictError, match="'pin'"):
        directory.put_cell(Cell("cell-2", "127.0.0.1", 1, jurisdiction="eu"), actor="test")
    with pytest.raises(ConflictError, match="'slot' is under eu"):
        directory.put_cell(Cell("cell-5", "127.0.0.1", 1), actor="test")
    with pytest.raises(ConflictError, match="'slot' is under eu"):
        directory.put_pool(Pool("eu", ("cell-5", "cell-1")), actor="test")
    with pytest.raises(ConflictError, match="'slot' is under eu"):
        directory.put_fleet(Fleet("shop"), actor="test")
    assert directory.epoch() == epoch
    change(directory, "slot", shard=("cell-5",))
    directory.put_fleet(Fleet("shop"), actor="test")
    assert placed(directory, "slot") == ("default", ("cell-5",))


# What publishing reads


def test_entries_are_of_those_whom_unknown_treatment_does_not_place(directory: Directory) -> None:
    change(directory, "plain")
    change(directory, "pinned", shard=("cell-2", "cell-1"))
    change(directory, "suspended", state=TenantState.SUSPENDED)
    change(directory, "elsewhere", jurisdiction="eu")
    entries = [
        Entry("elsewhere", "eu", (), TenantState.ACTIVE),
        Entry("pinned", "default", ("cell-2", "cell-1"), TenantState.ACTIVE),
        Entry("suspended", "default", (), TenantState.SUSPENDED),
    ]
    assert list(directory.entries()) == entries
    directory.put_fleet(Fleet("shop", rules=(GOLD, EU), unknown_tenant=UnknownTenant.REJECT), actor="test")
    plain = Entry("plain", "default", (), TenantState.ACTIVE)
    assert sorted(directory.entries()) == sorted([*entries, plain])


def test_changed_tenants_are_told_with_what_is_so_now(directory: Directory) -> None:
    change(directory, "kept", shard=("cell-1",))
    change(directory, "gone", shard=("cell-1",))
    epoch = directory.epoch()
    assert directory.topology_epoch() == 9
    for cell in ("cell-2", "cell-1", "cell-2"):
        change(directory, "moved", shard=(cell,))
    directory.delete_tenant("gone", actor="test")
    change(directory, "plain")
    with directory.snapshot() as snapshot:
        assert list(snapshot.changed_tenants(epoch)) == [
            ("gone", None),
            ("moved", Entry("moved", "default", ("cell-2",), TenantState.ACTIVE)),
            ("plain", None),
        ]
        assert snapshot.topology_epoch() == 9
    directory.put_cell(Cell("cell-1", "127.0.0.2", 1), actor="test")
    assert directory.topology_epoch() == directory.epoch()


def test_whatever_happens_the_sums_the_pools_and_the_log_are_right(directory: Directory) -> None:
    rng = random.Random(11)
    known: dict[str, Entry | None] = {entry.id: entry for entry in directory.entries()}
    epoch = topology_epoch = directory.epoch()
    for step in range(150):
        with suppress(ConflictError, ValidationError):
            happen(directory, rng)
        if step % 5:
            continue
        check_sums_and_pools(directory)
        with directory.snapshot() as snapshot:
            now = {entry.id: entry for entry in snapshot.entries()}
            if snapshot.topology_epoch() == topology_epoch:
                known |= dict(snapshot.changed_tenants(epoch))
                assert {name: entry for name, entry in known.items() if entry is not None} == now
            known, epoch, topology_epoch = dict(now), snapshot.epoch(), snapshot.topology_epoch()


def happen(directory: Directory, rng: random.Random) -> None:
    name = f"t-{rng.randrange(25)}"
    cells = [f"cell-{rng.randrange(1, 6)}" for _ in range(rng.randrange(1, 3))]
    match rng.randrange(10):
        case 0:
            rules = rng.sample([GOLD, EU, Rule("odd", "default", id_pattern="t-*[13579]")], rng.randrange(4))
            directory.put_fleet(Fleet("shop", rules=tuple(rules)), actor="test")
        case 1:
            jurisdiction = rng.choice(["none", "eu"])
            directory.put_cell(Cell(cells[0], "127.0.0.1", 1, jurisdiction=jurisdiction), actor="test")
        case 2 | 3:
            change(directory, name, shard=tuple(dict.fromkeys(cells)))
        case 4:
            change(directory, name, load=Load(rng.randrange(3), rng.random(), rng.random() * 100))
        case 5 | 6:
            change(directory, name, tier=rng.choice(["", "gold"]), jurisdiction=rng.choice(["", "", "eu"]))
        case 7:
            change(directory, name, anew=True, state=rng.choice([TenantState.ACTIVE, TenantState.SUSPENDED]))
        case _ if any(record.tenant.id == name for record in directory.tenants(limit=100).items):
            directory.delete_tenant(name, actor="test")


def check_sums_and_pools(directory: Directory) -> None:
    found = directory.topology()
    assert found is not None
    topology = found[0]
    topology.validate()
    sums = dict.fromkeys((cell.id for cell in topology.cells), Load())
    assigned = dict.fromkeys(sums, 0)
    for tenant in topology.tenants:
        assert placed(directory, tenant.id)[0] == topology.pool_of(tenant)[0]
        for cell in tenant.shard:
            sums[cell] += replace(tenant.load, tenants=max(1, tenant.load.tenants))
            assigned[cell] += 1
    assert directory.assigned_tenants() == assigned
    for cell, load in directory.loads().items():
        assert load.tenants == sums[cell].tenants
        assert load.rps == pytest.approx(sums[cell].rps, abs=1e-4)
        assert load.storage_gib == pytest.approx(sums[cell].storage_gib, abs=1e-4)
    with directory._database.reading() as connection:
        there = {(row.tenant, row.cell) for row in connection.execute(select(schema.assignments))}
    assert there == {(tenant.id, cell) for tenant in topology.tenants for cell in tenant.shard}


# What it costs


@pytest.mark.parametrize("location", ["sqlite"], indirect=True)  # the one that tells its plan for any statement
def test_a_change_of_a_tenant_looks_at_no_other_one(directory: Directory) -> None:
    change(directory, "other", tier="gold")
    asked: list[tuple[str, Any]] = []

    @event.listens_for(directory._database._writer, "before_cursor_execute")
    def ask(*arguments: Any) -> None:
        _connection, _cursor, statement, parameters, _context, is_many = arguments
        asked.append((statement, parameters[0] if is_many else parameters))

    change(directory, "acme")
    change(directory, "acme", tier="gold", load=Load(1, 2.0))
    change(directory, "acme", shard=("cell-1", "cell-2"))
    directory.delete_tenant("acme", actor="test")
    event.remove(directory._database._writer, "before_cursor_execute", ask)
    with directory._database.reading() as connection:
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = [row.detail for row in plan]
            assert not any(
                step.startswith(f"SCAN {table}") for step in steps for table in ("tenants", "assignments", "changes")
            ), (statement, steps)
    assert len(asked) > 10


@pytest.mark.long
def test_a_hundred_thousand_tenants_are_put_at_once(directory: Directory) -> None:
    tenants = [Tenant(f"t-{number}", tier="gold" if number % 100 == 0 else "") for number in range(100_000)]
    applied = directory.apply(tenants, actor="test")
    assert len(applied.changes) == 100_000
    assert applied.epoch == directory.epoch()
    assert sum(load.tenants for load in directory.loads().values()) == 1000
    assert sum(1 for _ in directory.entries()) == 1000
