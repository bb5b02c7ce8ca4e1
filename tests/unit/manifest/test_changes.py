"""What applying resources would change."""

from dataclasses import replace
from typing import Any

import pytest

from cellplane.errors import ValidationError
from cellplane.manifest.changes import Action, changes, wanted
from cellplane.manifest.kinds import Kind, Value
from cellplane.manifest.resources import Resource, parse_resource, resource_of
from cellplane.manifest.settings import ApplySettings
from cellplane.model import Capacity, Cell, CellStatus, Fleet, Pool, StrategyName, Tenant, TenantState, Topology
from support.plan import plan_change
from unit.manifest.building import policy

NOW = Topology(
    Fleet("shop"),
    (Cell("cell-1", "h", 1), Cell("cell-2", "h", 2, status=CellStatus.DRAINING)),
    (Pool("default", ("cell-1", "cell-2")),),
    (Tenant("a"), Tenant("b", ("cell-2",), TenantState.SUSPENDED)),
)


def want(kind: str, name: str, **spec: Any) -> Resource:
    return parse_resource(kind, name, spec)


def everything(topology: Topology) -> list[Resource]:
    values: tuple[Value, ...] = (topology.fleet, *topology.cells, *topology.pools, *topology.tenants)
    return [parse_resource(**resource_of(value)) for value in values]


def shown(plan: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = plan.as_json()["changes"]
    return found


def test_what_is_said_below_a_policy_is_shown_of_what_is_new_and_of_what_changes() -> None:
    compare = {"percent": 10, "ignore": ["/at"]}
    made = plan_change(NOW, [want("Tenant", "c", policy={"shadow": "cell-2", "compare": compare})], prune=False)
    (fields,) = [change["fields"] for change in shown(made)]
    before = {"policy.shadow": [None, "cell-2"], "policy.compare.percent": [None, 10]}
    assert fields == {**before, "policy.compare.ignore": [None, ["/at"]]}
    changed = plan_change(
        made.topology, [want("Tenant", "c", policy={"shadow": "cell-2", "compare": {"percent": 20}})], prune=False
    )
    (fields,) = [change["fields"] for change in shown(changed)]
    assert fields == {"policy.compare.percent": [10, 20], "policy.compare.ignore": [["/at"], []]}


def test_the_same_again_changes_nothing() -> None:
    plan = plan_change(NOW, everything(NOW), prune=True)
    assert plan.topology == NOW
    assert plan.changes == ()


def test_nothing_wanted_changes_nothing() -> None:
    assert plan_change(NOW, [], prune=True).topology == NOW


def test_a_changed_field_is_shown_before_and_after() -> None:
    plan = plan_change(NOW, [want("Cell", "cell-1", address="h", port=1, zone="a", capacity={"rps": 5})], prune=False)
    assert shown(plan) == [
        {
            "kind": "Cell",
            "name": "cell-1",
            "action": "change",
            "fields": {"zone": [None, "a"], "capacity.rps": [None, 5]},
        }
    ]
    assert plan.topology.cells[0] == Cell("cell-1", "h", 1, zone="a", capacity=Capacity(rps=5))
    assert plan.topology.cells[1] is NOW.cells[1]


def test_what_a_file_does_not_name_goes_back_to_its_default() -> None:
    there = replace(NOW, cells=(replace(NOW.cells[0], weight=2.0), NOW.cells[1]))
    plan = plan_change(there, [want("Cell", "cell-1", address="h", port=1)], prune=False)
    assert [change.fields for change in plan.changes] == [{"weight": (2, 1)}]


def test_what_operations_change_stays() -> None:
    resources = [want("Cell", "cell-2", address="h", port=2), want("Tenant", "b", tier="gold")]
    plan = plan_change(NOW, resources, prune=False)
    assert [change.as_json() for change in plan.changes] == [
        {"kind": "Tenant", "name": "b", "action": "change", "fields": {"tier": [None, "gold"]}}
    ]
    assert plan.topology.tenants[1] == Tenant("b", ("cell-2",), TenantState.SUSPENDED, tier="gold")


def test_a_new_resource_shows_what_differs_from_the_defaults() -> None:
    resources = [
        want("Cell", "cell-3", address="h", port=3, capacity={"rps": 5}),
        want("Tenant", "c", state="active", cells=["cell-3"]),
    ]
    plan = plan_change(NOW, resources, prune=False)
    assert [(change.name, change.action, change.fields) for change in plan.changes] == [
        ("cell-3", Action.CREATE, {"address": (None, "h"), "port": (None, 3), "capacity.rps": (None, 5)}),
        ("c", Action.CREATE, {"cells": (None, ["cell-3"])}),
    ]


def test_changes_stand_in_the_order_of_kinds_and_names() -> None:
    resources = [
        want("Tenant", "z"),
        want("Tenant", "c"),
        want("Pool", "other", cells=["cell-3"]),
        want("Cell", "cell-3", address="h", port=3),
        want("Fleet", "shop", **policy(retryAfterSeconds=2)),
    ]
    found = plan_change(NOW, resources, prune=False).changes
    assert [(change.kind, change.name) for change in found] == [
        (Kind.FLEET, "shop"),
        (Kind.CELL, "cell-3"),
        (Kind.POOL, "other"),
        (Kind.TENANT, "c"),
        (Kind.TENANT, "z"),
    ]


def test_pruning_deletes_what_is_not_named_of_the_kinds_that_are() -> None:
    plan = plan_change(NOW, [want("Tenant", "b")], prune=True)
    assert shown(plan) == [{"kind": "Tenant", "name": "a", "action": "delete", "fields": {}}]
    assert (plan.topology.cells, plan.topology.pools) == (NOW.cells, NOW.pools)
    assert plan_change(NOW, [want("Tenant", "b")], prune=False).changes == ()


def test_the_first_fleet_is_all_new() -> None:
    plan = plan_change(None, everything(NOW), prune=False)
    assert plan.topology == NOW
    assert [change.action for change in plan.changes] == [Action.CREATE] * 6
    assert plan.changes[0].fields == {"keySources": (None, policy()["keySources"])}
    assert plan.moves.as_json(1)["tenants_total"] == 0


@pytest.mark.parametrize(
    ("current", "resources", "field"),
    [
        (None, [want("Cell", "a", address="h", port=1)], "fleet"),
        (NOW, [want("Fleet", "other", **policy())], "fleet.name"),
        (NOW, [want("Tenant", "a"), want("Tenant", "a", tier="gold")], "resources"),
    ],
)
def test_what_makes_no_fleet_is_refused(current: Topology | None, resources: list[Resource], field: str) -> None:
    with pytest.raises(ValidationError) as raised:
        wanted(current, resources, prune=False)
    assert raised.value.field == field


def test_a_fleet_that_would_not_be_valid_is_refused() -> None:
    with pytest.raises(ValidationError, match="no cell is named 'cell-2'"):
        plan_change(NOW, [want("Cell", "cell-1", address="h", port=1)], prune=True)


def test_rules_are_compared_as_a_whole() -> None:
    rule = {"name": "gold", "pool": "default", "match": {"tiers": ["gold"]}}
    (change,) = plan_change(NOW, [want("Fleet", "shop", **policy(rules=[rule]))], prune=False).changes
    assert change.fields == {"rules": ([], [rule])}


def test_equal_values_that_are_not_the_same_object_are_no_change() -> None:
    assert changes(NOW, replace(NOW, tenants=(Tenant("a"), NOW.tenants[1]))) == ()


def test_the_plan_lists_as_many_rows_as_it_is_told() -> None:
    many = replace(NOW, tenants=tuple(Tenant(f"t{number}") for number in range(50)))
    plan = plan_change(many, [want("Pool", "default", cells=["cell-1", "cell-2"], strategy="rendezvous")], prune=False)
    assert len(plan.as_json()["moves"]["by_cell"]) == 2
    assert len(plan.as_json(ApplySettings(max_rows=1))["moves"]["by_cell"]) == 1


ASSIGNING = replace(
    NOW,
    cells=(*NOW.cells, Cell("cell-3", "h", 3), Cell("cell-4", "h", 4)),
    pools=(
        *NOW.pools,
        Pool("big", ("cell-3",), StrategyName.EXPLICIT, overflow="more"),
        Pool("more", ("cell-4",), StrategyName.EXPLICIT, overflow="big"),
    ),
)


@pytest.mark.parametrize(
    ("spec", "shard", "kept"),
    [
        ({"pool": "big"}, "cell-3", True),
        ({"pool": "big"}, "cell-4", True),
        ({"pool": "big"}, "cell-1", False),
        ({}, "cell-1", False),
        ({"shardSize": 2}, "cell-1", True),
        ({"shardSize": 1}, "cell-1", False),
        ({"pool": "none"}, "cell-1", False),
    ],
)
def test_no_cells_are_those_that_the_pool_assigned(spec: dict[str, Any], shard: str, kept: bool) -> None:
    there = replace(Tenant("t", (shard,)), pool=spec.get("pool"), shard_size=spec.get("shardSize"))
    after = wanted(replace(ASSIGNING, tenants=(there,)), [want("Tenant", "t", cells=[], **spec)], prune=False)
    assert [tenant.shard for tenant in after.tenants] == [(shard,) if kept else ()]


def test_no_cells_stay_none_where_there_are_none_yet() -> None:
    resources = [want("Tenant", "t", cells=[], pool="big"), want("Tenant", "a", cells=[])]
    after = wanted(ASSIGNING, resources, prune=False)
    assert {tenant.id: tenant.shard for tenant in after.tenants} == {"a": (), "b": ("cell-2",), "t": ()}
