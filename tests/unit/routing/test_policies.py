"""Policies in the table, and what the decision makes of them."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xxhash

from cellplane.errors import BaseNeededError, TableError, ValidationError
from cellplane.model import (
    Balance,
    Canary,
    CanaryBy,
    Capacity,
    Cell,
    CellProtocol,
    CellStatus,
    Compare,
    Copies,
    FailOpen,
    Fleet,
    MissingKey,
    Mode,
    Policy,
    Pool,
    Priority,
    Reads,
    StrategyName,
    Tenant,
    TenantState,
    Topology,
    UnknownTenant,
    Writes,
)
from cellplane.routing import (
    CanaryRow,
    Decision,
    PlacedTenants,
    PolicyRow,
    PoolSlots,
    Redirect,
    Refusal,
    Route,
    RoutingTable,
    TableContents,
    TenantColumns,
    TenantEntry,
    compile_overlay,
    compile_table,
    decide,
    decide_many,
    encode,
    encode_overlay,
    layout,
)
from cellplane.routing.decide import RefusalCode
from cellplane.routing.policies import MAX_MILLI, in_order, pack, shared_milli, unpack

CELLS = tuple(Cell(f"cell-{number}", "127.0.0.1", 8000 + number, jurisdiction="eu") for number in range(1, 5))
SHARD = ("cell-1", "cell-2")
FLEET = Topology(Fleet("shop"), CELLS, (Pool("default", SHARD, shard_size=2),))


def compiled(topology: Topology, epoch: int = 1) -> RoutingTable:
    return RoutingTable(encode(compile_table(topology, epoch)))


def saying(policy: Policy, *, statuses: dict[str, CellStatus] | None = None, **pool: Any) -> RoutingTable:
    """The table of a tenant ``acme``, assigned to cell-1 and cell-2, with this policy."""
    cells = tuple(replace(cell, status=(statuses or {}).get(cell.id, cell.status)) for cell in CELLS)
    topology = replace(
        FLEET,
        cells=cells,
        pools=(replace(FLEET.pools[0], **pool),),
        tenants=(Tenant("acme", SHARD, policy=policy),),
    )
    return compiled(topology)


def asked(table: RoutingTable, *down: str, writes: bool = False, key: bytes = b"acme", **known: Any) -> Decision:
    return decide(table, key, writes=writes, has_healthy_host=lambda cell: cell not in down, **known)


def cell_of(decision: Decision) -> str:
    assert isinstance(decision, Route), decision
    return decision.cell


def refused(decision: Decision) -> tuple[RefusalCode, str | None]:
    assert isinstance(decision, Refusal), decision
    return decision.code, decision.cell


UNAVAILABLE = (RefusalCode.CELL_UNAVAILABLE, "cell-1")
MAINTENANCE = (RefusalCode.CELL_MAINTENANCE, "cell-1")


# The table


def test_a_policy_is_the_same_after_its_bytes() -> None:
    row = PolicyRow(
        Writes.FAIL,
        Reads.STANDBY,
        Balance.LEAST_LOADED,
        Mode.REDIRECT,
        Priority.HIGH,
        3,
        4,
        1_500,
        2_500,
        0,
        1_000,
        "/at\n/items/*",
        Copies.READS,
    )

    def text(_what: str, offset: int, length: int) -> str:
        return f"strings{row.ignored}"[offset : offset + length]

    for each in (row, PolicyRow()):
        assert unpack("policy", memoryview(pack(each, (7, len(each.ignored)))), 5, text) == each


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        (PolicyRow(shadow=1, copies=Copies.READS), 2, "copies is 2, expected 0 to 1"),
        (PolicyRow(shadow=1), 0xFF, "copies is 255, expected 0 to 1"),
        (PolicyRow(), 1, "copies is 1, expected 0 without a shadow"),
    ],
)
def test_which_requests_are_copied_is_one_byte_and_nothing_without_a_shadow(
    row: PolicyRow, code: int, message: str
) -> None:
    data = bytearray(pack(row))
    assert data[5] == layout.COPIES_CODES[row.copies]
    data[5] = code
    with pytest.raises(TableError, match=message):
        unpack("policy", memoryview(data), 5, lambda *_: "")


def test_a_shadow_of_reads_gets_no_write() -> None:
    compare = Compare(100)
    for copies, writes, expected in (
        (None, False, ("cell-3", True)),
        (None, True, ("cell-3", True)),
        (Copies.ALL, True, ("cell-3", True)),
        (Copies.READS, False, ("cell-3", True)),
        (Copies.READS, True, (None, False)),
    ):
        found = asked(saying(Policy(shadow="cell-3", copies=copies, compare=compare)), writes=writes)
        assert isinstance(found, Route)
        assert (found.cell, (found.shadow, found.compares)) == ("cell-1", expected)


def test_what_is_compared_of_a_shadow_stands_in_the_table() -> None:
    compare = Compare(2.5, ("/at", "/items/*/id"))
    table = saying(Policy(shadow="cell-3", compare=compare))
    (row,) = {policy for policy in table.policies if policy.shadow is not None}
    assert (row.compare_bp, row.ignored) == (250, "/at\n/items/*/id")
    for chance, compares in ((249, True), (250, False)):
        found = asked(table, chance=chance)
        assert isinstance(found, Route)
        assert (found.shadow, found.compares) == ("cell-3", compares)
    found = asked(table, "cell-3")
    assert isinstance(found, Route)
    assert (found.shadow, found.compares) == (None, False)


def test_tenants_whose_comparisons_ignore_different_things_have_different_policies() -> None:
    policies = [Policy(shadow="cell-3", compare=Compare(10, ignore)) for ignore in ((), ("/a",), ("/b",), ("/a",))]
    tenants = tuple(Tenant(f"tenant-{number}", SHARD, policy=policy) for number, policy in enumerate(policies))
    table = compiled(replace(FLEET, tenants=tenants))
    assert [row.ignored for row in table.policies] == ["", "", "/a", "/b"]
    found = [asked(table, key=tenant.id.encode()) for tenant in tenants]
    assert [one.policy.ignored for one in found if isinstance(one, Route)] == ["", "/a", "/b", "/a"]


def test_a_fleet_of_which_nobody_says_anything_has_one_policy() -> None:
    table = compiled(FLEET)
    assert table.policies == (PolicyRow(),)
    assert (table.default_policy, table.pool_policies, table.canaries) == (PolicyRow(), (PolicyRow(),), (None,))
    assert table.fail_open is FailOpen.READS
    assert table.is_plain


def test_the_fleets_policy_is_first_then_those_of_tenants_then_those_of_pools() -> None:
    topology = replace(
        FLEET,
        fleet=replace(FLEET.fleet, policy=Policy(rps=1)),
        pools=(
            FLEET.pools[0],
            Pool("a", SHARD, policy=Policy(rps=7)),
            Pool("b", SHARD, policy=Policy(rps=2)),
            Pool("c", SHARD, policy=Policy(rps=3)),
        ),
        tenants=(
            Tenant("one", policy=Policy(rps=3)),
            Tenant("two", policy=Policy(rps=2)),
            Tenant("again", ("cell-1",), policy=Policy(rps=2)),
            Tenant("as-the-fleet", pool="b", policy=Policy(rps=1)),
            Tenant("as-its-pool", ("cell-2",), policy=Policy(rps=1)),
            Tenant("silent", ("cell-2",)),
        ),
    )
    table = compiled(topology)
    limits = [row.rps_milli for row in table.policies]
    assert (limits[0], sorted(limits[1:4]), limits[4:]) == (1_000, [1_000, 2_000, 3_000], [7_000])
    assert [row.rps_milli for row in table.pool_policies] == [7_000, 2_000, 3_000, 1_000]
    assert table.is_plain, "limits say nothing of where requests go"
    own = {row.key: None if row.policy is None else row.policy.rps_milli for row in table.tenants()}
    assert own == {
        b"one": 3_000,
        b"two": 2_000,
        b"again": 2_000,
        b"as-the-fleet": 1_000,
        b"as-its-pool": None,
        b"silent": None,
    }


def test_a_tenant_that_says_what_its_pool_says_needs_no_entry() -> None:
    topology = replace(
        FLEET, tenants=(Tenant("same", policy=Policy(writes=Writes.SHARD)), Tenant("other", policy=Policy(rps=1)))
    )
    assert compiled(topology).keys() == [b"other"]


@pytest.mark.parametrize(
    ("rps", "routers", "milli"),
    [(None, 3, 0), (1, 1, 1_000), (1, 3, 334), (0.001, 1, 1), (0.001, 100, 1), (1e6, 1, 10**9), (1e12, 1, MAX_MILLI)],
)
def test_each_router_has_its_part_of_a_limit_rounded_up(rps: float | None, routers: int, milli: int) -> None:
    assert shared_milli(rps, routers) == milli


def test_a_table_has_limits_urls_and_pages_of_cells() -> None:
    first = replace(
        CELLS[0],
        capacity=Capacity(rps=100, concurrency=7),
        public_url="https://cell-1.example",
        maintenance_page="Zurück\num 6.",
        protocol=CellProtocol.HTTP2,
    )
    table = compiled(replace(FLEET, fleet=replace(FLEET.fleet, routers=3), cells=(first, *CELLS[1:])))
    row, other = table.cells[:2]
    assert (row.rps_milli, row.concurrency) == (33_334, 3)
    assert (row.protocol, other.protocol) == (CellProtocol.HTTP2, CellProtocol.HTTP1)
    assert (row.public_url, row.maintenance_page) == ("https://cell-1.example", "Zurück\num 6.")
    assert (other.rps_milli, other.concurrency, other.public_url, other.maintenance_page) == (0, 0, "", "")


@pytest.mark.parametrize(
    "url", ["ftp://a", "https://", "https:///a", "https://a/", "https://a b", "https://a\n", "x" * 2000]
)
def test_a_url_that_no_header_may_have_makes_no_table(url: str) -> None:
    contents = replace(CONTENTS, cells=(replace(CELLS[0], public_url=url), *CELLS[1:]))
    with pytest.raises(TableError, match="public_url"):
        RoutingTable(encode(contents))


@pytest.mark.parametrize("page", ["a\tb", "\x7f", "ü" * 4_001])
def test_a_page_that_no_answer_may_have_makes_no_table(page: str) -> None:
    contents = replace(CONTENTS, cells=(replace(CELLS[0], maintenance_page=page), *CELLS[1:]))
    with pytest.raises(TableError, match="maintenance page"):
        RoutingTable(encode(contents))


CONTENTS = TableContents(
    3,
    Fleet("shop", unknown_tenant=UnknownTenant.REJECT),
    CELLS,
    (PoolSlots("default", StrategyName.EXPLICIT, None),),
    ((0, 1),),
    TenantColumns.of((TenantEntry(b"acme", 0, policy=1),)),
    policies=(PolicyRow(), PolicyRow(rps_milli=1)),
)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"policies": ()}, "policies"),
        ({"policies": (PolicyRow(),) * 65_536}, "policies"),
        ({"policies": (PolicyRow(), PolicyRow(shadow=4))}, "policies[1]"),
        ({"policies": (PolicyRow(), PolicyRow(compare_bp=1))}, "policies[1]"),
        ({"policies": (PolicyRow(), PolicyRow(shadow=1, compare_bp=10_001))}, "policies[1]"),
        ({"policies": (PolicyRow(), PolicyRow(copies=Copies.READS))}, "policies[1]"),
        ({"policies": (PolicyRow(), PolicyRow(reads=Reads.STANDBY, standby=-1))}, "policies[1]"),
        ({"policies": (PolicyRow(standby=1), PolicyRow())}, "policies[0]"),
        ({"policies": (PolicyRow(reads=Reads.STANDBY), PolicyRow())}, "policies[0]"),
        ({"policies": (PolicyRow(reads=Reads.CACHE), PolicyRow())}, "policies[0]"),
        ({"policies": (PolicyRow(reads=Reads.CACHE, cache_s=604_801), PolicyRow())}, "policies[0]"),
        ({"policies": (PolicyRow(cache_s=1), PolicyRow())}, "policies[0]"),
        ({"policies": (PolicyRow(rps_milli=1 << 32), PolicyRow())}, "policies[0]"),
        ({"policies": (PolicyRow(burst_ms=0), PolicyRow())}, "policies[0]"),
        ({"policies": (PolicyRow(burst_ms=3_600_001), PolicyRow())}, "policies[0]"),
        ({"policies": (PolicyRow(),)}, "tenants[0].policy"),
        ({"pools": (replace(CONTENTS.pools[0], policy=2),)}, "pools[0].policy"),
        ({"pools": (replace(CONTENTS.pools[0], canary=CanaryRow(4, 1)),)}, "pools[0].canary"),
        ({"pools": (replace(CONTENTS.pools[0], canary=CanaryRow(0, 10_001)),)}, "pools[0].canary"),
    ],
)
def test_what_no_table_can_hold_is_refused_where_it_stands(changes: dict[str, Any], field: str) -> None:
    encode(CONTENTS)
    with pytest.raises(ValidationError) as refusal:
        encode(replace(CONTENTS, **changes))
    assert refusal.value.field == field


def test_no_column_holds_a_policy_beyond_255() -> None:
    with pytest.raises(ValidationError, match="a policy in range"):
        TenantColumns.of((TenantEntry(b"acme", 0, policy=256),))


def test_equal_policies_stand_once_and_in_one_order() -> None:
    one, two, three = (PolicyRow(rps_milli=number) for number in (1, 2, 3))
    assert in_order(two, [three, one, three], [one, two, three, PolicyRow()]) == (two, one, three, PolicyRow())


# Overlays


def overlaid(base: RoutingTable, topology: Topology, *changed: Tenant) -> RoutingTable:
    placed = PlacedTenants.of(replace(topology, tenants=changed))
    stands_on = (base.epoch, base.sha256)
    overlay = compile_overlay(topology, stands_on, base.epoch + 1, placed, (), policies=base.policies)
    return RoutingTable(base.base, encode_overlay(overlay))


def test_an_overlay_names_policies_of_its_base() -> None:
    topology = replace(FLEET, tenants=(Tenant("acme", policy=Policy(writes=Writes.FAIL)),))
    base = compiled(topology)
    table = overlaid(
        base,
        topology,
        Tenant("acme"),
        Tenant("other", policy=Policy(writes=Writes.FAIL)),
        Tenant("third", SHARD, policy=Policy(reads=Reads.SHARD)),
    )
    for key, policy in ((b"acme", None), (b"other", base.policies[1]), (b"third", None)):
        row = table.find(key)
        assert (None if row is None else row.policy) == policy
    assert refused(asked(table, "cell-1", "cell-2", key=b"other", writes=True))[0] is RefusalCode.CELL_UNAVAILABLE


def test_a_policy_that_the_base_does_not_have_needs_another_base() -> None:
    base = compiled(FLEET)
    with pytest.raises(BaseNeededError, match="the policy of tenant 'acme' is not among those of base 1"):
        overlaid(base, FLEET, Tenant("zero"), Tenant("acme", policy=Policy(rps=1)))


def test_entry_0_is_not_for_tenants() -> None:
    topology = replace(FLEET, pools=(replace(FLEET.pools[0], policy=Policy(rps=2)),))
    base = compiled(topology)
    assert [row.rps_milli for row in base.policies] == [0, 2_000]
    overlaid(base, topology, Tenant("acme", policy=Policy(rps=2)))
    as_the_fleet = PlacedTenants(["acme"], ["default"], [()], [TenantState.ACTIVE], [Policy(writes=Writes.SHARD)])
    stands_on = (base.epoch, base.sha256)
    fleet = replace(FLEET, pools=(replace(FLEET.pools[0], policy=Policy(writes=Writes.FAIL)),))
    with pytest.raises(BaseNeededError):
        compile_overlay(fleet, stands_on, 2, as_the_fleet, (), policies=base.policies[:1])


def test_who_is_gone_has_no_policy() -> None:
    topology = replace(FLEET, tenants=(Tenant("acme", policy=Policy(writes=Writes.FAIL)),))
    base = compiled(topology)
    nobody = PlacedTenants.of(FLEET)
    gone = compile_overlay(topology, (1, base.sha256), 2, nobody, ("acme",), policies=base.policies)
    assert RoutingTable(base.base, encode_overlay(gone)).find(b"acme") is None
    gone.tenants.policy[0] = 1
    with pytest.raises(TableError, match="its policy is not valid"):
        RoutingTable(base.base, encode_overlay(gone))


@pytest.mark.parametrize(
    ("pool", "policy", "message"),
    [("none", Policy(rps=1), "no pool is named 'none'"), ("default", Policy(shadow="none"), "no cell is named 'none'")],
)
def test_tenants_that_no_table_can_name_are_refused(pool: str, policy: Policy, message: str) -> None:
    placed = PlacedTenants(["acme"], [pool], [()], [TenantState.ACTIVE], [policy])
    with pytest.raises(ValidationError, match=message):
        compile_table(FLEET, 1, placed)


# The decision


def test_by_default_another_cell_of_the_shard_takes_over() -> None:
    table = saying(Policy())
    assert table.is_plain
    for writes in (False, True):
        assert cell_of(asked(table, writes=writes)) == "cell-1"
        assert cell_of(asked(table, "cell-1", writes=writes)) == "cell-2"
        assert refused(asked(table, *SHARD, writes=writes)) == UNAVAILABLE


def test_writes_may_fail_while_reads_go_on() -> None:
    table = saying(Policy(writes=Writes.FAIL))
    assert cell_of(asked(table, writes=True)) == "cell-1"
    assert refused(asked(table, "cell-1", writes=True)) == UNAVAILABLE
    assert cell_of(asked(table, "cell-1")) == "cell-2"
    maintained = saying(Policy(writes=Writes.FAIL), statuses={"cell-1": CellStatus.MAINTENANCE})
    assert refused(asked(maintained, writes=True)) == MAINTENANCE


def test_reads_may_fail_while_writes_go_on() -> None:
    table = saying(Policy(reads=Reads.FAIL))
    assert refused(asked(table, "cell-1")) == UNAVAILABLE
    assert cell_of(asked(table, "cell-1", writes=True)) == "cell-2"


def test_reads_go_to_the_standby_and_not_to_the_shard() -> None:
    table = saying(Policy(reads=Reads.STANDBY, standby="cell-3"))
    assert cell_of(asked(table)) == "cell-1"
    assert cell_of(asked(table, "cell-1")) == "cell-3"
    assert refused(asked(table, "cell-1", "cell-3")) == UNAVAILABLE
    assert cell_of(asked(table, "cell-1", writes=True)) == "cell-2"
    of_shard = saying(Policy(reads=Reads.STANDBY, standby="cell-2"))
    assert cell_of(asked(of_shard, "cell-1")) == "cell-2"


def test_reads_from_a_cache_name_the_cell_whose_answers_they_are() -> None:
    table = saying(Policy(reads=Reads.CACHE, shadow="cell-3"))
    fresh, stale = asked(table), asked(table, "cell-1")
    assert isinstance(fresh, Route)
    assert isinstance(stale, Route)
    assert (fresh.cell, fresh.stale, fresh.shadow) == ("cell-1", False, "cell-3")
    assert (stale.cell, stale.stale, stale.shadow) == ("cell-1", True, None)
    assert cell_of(asked(table, "cell-1", writes=True)) == "cell-2"


def test_turns_go_round_and_pass_over_what_is_down() -> None:
    table = saying(Policy(balance=Balance.ROUND_ROBIN, writes=Writes.FAIL, reads=Reads.STANDBY, standby="cell-3"))
    assert [cell_of(asked(table, turn=turn)) for turn in range(4)] == ["cell-1", "cell-2", "cell-1", "cell-2"]
    for turn in range(2):
        assert cell_of(asked(table, "cell-2", turn=turn, writes=True)) == "cell-1"
        assert refused(asked(table, *SHARD, turn=turn, writes=True)) == UNAVAILABLE
        assert cell_of(asked(table, *SHARD, turn=turn)) == "cell-3"


def test_the_least_loaded_is_first_and_the_shards_order_decides_among_equals() -> None:
    table = saying(Policy(balance=Balance.LEAST_LOADED, reads=Reads.CACHE))
    for loads, expected in (((0, 0), "cell-1"), ((1, 0), "cell-2"), ((1, 1), "cell-1"), ((0, 9), "cell-1")):
        load = dict(zip(SHARD, loads, strict=True)).__getitem__
        assert cell_of(asked(table, load=load)) == expected
        assert cell_of(asked(table, expected, load=load)) in set(SHARD) - {expected}
    nothing = asked(table, *SHARD)
    assert isinstance(nothing, Route)
    assert nothing.stale


def test_a_canary_has_always_the_same_tenants() -> None:
    table = compiled(replace(FLEET, pools=(replace(FLEET.pools[0], canary=Canary("cell-4", 12.5)),)))
    keys = [f"tenant-{number}".encode() for number in range(2_000)]
    taken = set()
    for key in keys:
        route = asked(table, key=key, chance=9_999)
        assert isinstance(route, Route)
        assert route.canary == (route.cell == "cell-4") == (xxhash.xxh32_intdigest(key, 0x63616E61) % 10_000 < 1_250)
        assert route.reason == "slot"
        taken |= {key} if route.canary else set()
    assert 200 < len(taken) < 300
    assert cell_of(asked(table, "cell-4", key=next(iter(taken)))) in SHARD


def test_a_canary_by_request_goes_by_chance() -> None:
    table = saying(Policy(writes=Writes.FAIL), canary=Canary("cell-4", 12.5, CanaryBy.REQUEST))
    assert [cell_of(asked(table, chance=chance)) for chance in (0, 1_249, 1_250, 9_999)] == [
        "cell-4",
        "cell-4",
        "cell-1",
        "cell-1",
    ]
    assert cell_of(asked(table, "cell-1", chance=0, writes=True)) == "cell-4"
    assert refused(asked(table, "cell-1", "cell-4", chance=0, writes=True)) == UNAVAILABLE
    closed = saying(Policy(), canary=Canary("cell-4", 100), statuses={"cell-4": CellStatus.MAINTENANCE})
    assert cell_of(asked(closed)) == "cell-1"


def test_a_canary_may_be_of_the_shard() -> None:
    table = saying(Policy(), canary=Canary("cell-2", 100))
    route = asked(table)
    assert isinstance(route, Route)
    assert (route.cell, route.canary, route.reason) == ("cell-2", True, "assignment")


def test_a_request_is_copied_to_a_shadow_that_is_up() -> None:
    table = saying(Policy(shadow="cell-3"), canary=Canary("cell-3", 50, CanaryBy.REQUEST))
    for down, chance, shadow in (
        ((), 9_999, "cell-3"),
        (("cell-1",), 9_999, "cell-3"),
        (("cell-3",), 0, None),
        ((), 0, None),
    ):
        for writes in (False, True):
            route = asked(table, *down, chance=chance, writes=writes)
            assert isinstance(route, Route)
            assert route.shadow == shadow


def redirecting(policy: Policy, *public: str) -> RoutingTable:
    """The table of ``saying``; the cells that are not ``public`` have lost their URL since it was compiled."""
    cells = tuple(replace(cell, public_url=f"https://{cell.id}.example/eu") for cell in CELLS)
    tenant = Tenant("acme", SHARD, policy=policy)
    contents = compile_table(replace(FLEET, cells=cells, tenants=(tenant,)), 1)
    cells = tuple(cell if cell.id in public else replace(cell, public_url="") for cell in cells)
    return RoutingTable(encode(replace(contents, cells=cells)))


def test_clients_are_sent_to_the_cell() -> None:
    table = redirecting(Policy(mode=Mode.REDIRECT, shadow="cell-3"), *SHARD)
    for down, cell in (((), "cell-1"), (("cell-1",), "cell-2")):
        found = asked(table, *down, writes=True)
        assert isinstance(found, Redirect)
        assert (found.cell, found.location) == (cell, f"https://{cell}.example/eu")
        assert (found.shard, found.pool, found.reason, found.canary) == (SHARD, "default", "assignment", False)
    assert refused(asked(table, *SHARD)) == UNAVAILABLE


def test_a_cell_without_a_public_url_is_proxied_to() -> None:
    table = redirecting(Policy(mode=Mode.REDIRECT), "cell-2")
    assert cell_of(asked(table)) == "cell-1"
    assert isinstance(asked(table, "cell-1"), Redirect)


def test_a_moving_tenant_is_refused_before_any_policy() -> None:
    cells = tuple(replace(cell, public_url="https://a.example") for cell in CELLS)
    tenant = Tenant("acme", SHARD, TenantState.MOVING, policy=Policy(mode=Mode.REDIRECT))
    table = compiled(replace(FLEET, cells=cells, tenants=(tenant,)))
    assert refused(asked(table, writes=True)) == (RefusalCode.TENANT_MOVING, None)
    assert isinstance(asked(table), Redirect)


def foreign(**policy: Any) -> RoutingTable:
    """A table whose policy names cell-4, which is under another law than the shard of ``acme``: no model lets it be."""
    cells = (*CELLS[:3], replace(CELLS[3], jurisdiction="us"))
    return RoutingTable(
        encode(
            replace(
                CONTENTS,
                cells=cells,
                pools=(replace(CONTENTS.pools[0], canary=CanaryRow(3, 10_000)),),
                policies=(PolicyRow(), PolicyRow(**policy)),
            )
        )
    )


@pytest.mark.parametrize("policy", [{"reads": Reads.STANDBY, "standby": 3}, {"shadow": 3}])
@pytest.mark.parametrize("down", [(), ("cell-1",), SHARD])
def test_no_table_leads_a_request_out_of_its_jurisdiction(policy: dict[str, Any], down: Collection[str]) -> None:
    table = foreign(**policy)
    one = asked(table, *down)
    assert isinstance(one, Refusal) or (one.cell in SHARD and not one.canary)
    assert not isinstance(one, Route) or one.shadow is None
    up = np.array([cell.id not in down for cell in CELLS])
    many = decide_many(table, [b"acme"], up=up)
    assert (many.cell[0] >= 0) == isinstance(one, Route)
    assert not many.canary.any()


# Without a key


def keyless(fail_open: FailOpen, missing_key: MissingKey, **fleet: Any) -> RoutingTable:
    default_cell = "cell-1" if missing_key is MissingKey.DEFAULT_CELL else None
    policy = Fleet("shop", missing_key=missing_key, fail_open=fail_open, default_cell=default_cell, **fleet)
    return compiled(replace(FLEET, fleet=policy))


@pytest.mark.parametrize("missing_key", [MissingKey.DEFAULT_CELL, MissingKey.SOURCE_HASH])
def test_who_has_no_key_reads_and_does_not_write(missing_key: MissingKey) -> None:
    reads, all_ = (keyless(fail_open, missing_key) for fail_open in (FailOpen.READS, FailOpen.ALL))
    for table, writes, goes in ((reads, False, True), (reads, True, False), (all_, False, True), (all_, True, True)):
        found = decide(table, None, writes=writes, has_healthy_host=lambda _cell: True, source=b"192.0.2.1")
        assert isinstance(found, Route) == goes
        assert goes or refused(found) == (RefusalCode.MISSING_KEY, None)


def test_an_unknown_tenant_is_nobody_without_a_key() -> None:
    table = keyless(FailOpen.READS, MissingKey.DEFAULT_CELL, unknown_tenant=UnknownTenant.DEFAULT_CELL)
    for writes in (False, True):
        assert cell_of(asked(table, key=b"stranger", writes=writes)) == "cell-1"


def test_the_default_cell_has_the_policy_of_the_fleet_and_no_canary() -> None:
    fleet = Fleet(
        "shop",
        unknown_tenant=UnknownTenant.DEFAULT_CELL,
        default_cell="cell-1",
        policy=Policy(reads=Reads.STANDBY, standby="cell-3"),
    )
    pool = replace(FLEET.pools[0], canary=Canary("cell-4", 100), policy=Policy(reads=Reads.FAIL))
    table = compiled(replace(FLEET, fleet=fleet, pools=(pool,)))
    assert cell_of(asked(table, key=b"stranger")) == "cell-1"
    assert cell_of(asked(table, "cell-1", key=b"stranger")) == "cell-3"


def test_the_canary_of_a_request_without_a_key_goes_by_the_address() -> None:
    fleet = replace(FLEET.fleet, missing_key=MissingKey.SOURCE_HASH)
    table = compiled(replace(FLEET, fleet=fleet, pools=(replace(FLEET.pools[0], canary=Canary("cell-4", 50)),)))
    always: Callable[[str], bool] = lambda _cell: True  # noqa: E731
    for number in range(50):
        source = f"192.0.2.{number}".encode()
        route = decide(table, None, writes=False, has_healthy_host=always, source=source)
        assert isinstance(route, Route)
        assert route.canary == (xxhash.xxh32_intdigest(source, 0x63616E61) % 10_000 < 5_000)
        assert route.reason == "source"
