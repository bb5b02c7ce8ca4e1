"""The model as JSON and as YAML, there and back."""

import re
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cellplane.errors import ValidationError
from cellplane.manifest.dump import dump
from cellplane.manifest.files import read
from cellplane.manifest.health_fields import HEALTH
from cellplane.manifest.kinds import KINDS, Kind, Value, spec_path
from cellplane.manifest.resources import kind_of, model_of, parse_resource, resource_of
from cellplane.manifest.shapes import NAME_PATTERN, Amended, Choice, Field, Number, Object, Part, Whole
from cellplane.model import (
    Balance,
    Canary,
    CanaryBy,
    Capacity,
    Cell,
    CellProtocol,
    CellStatus,
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
    Reads,
    Rule,
    StrategyName,
    Tenant,
    TenantState,
    Topology,
    UnknownTenant,
    Writes,
    is_name,
)
from cellplane.model.health import BreakerSettings, Health, HealthThresholds, PeerSettings
from unit.manifest.building import policy

FULL: tuple[Value, ...] = (
    Fleet(
        "shop",
        (
            KeySource(KeySourceKind.JWT_CLAIM, "no"),
            KeySource(KeySourceKind.COOKIE, "1e3"),
            KeySource(KeySourceKind.SUBDOMAIN, "example.com"),
            KeySource.trusted_header("x-id"),
        ),
        "gold",
        UnknownTenant.DEFAULT_CELL,
        9,
        MissingKey.DEFAULT_CELL,
        "cell-1",
        (
            Rule("one", "gold", tiers=("no", "on")),
            Rule("two", "gold", id_pattern="[ab]*", attributes=(("a", "1e3"), ("b", "~"))),
        ),
        (
            JwtProvider("on", "https://id.example", ("yes", "0x1f"), "https://id.example/jwks", "", "null", 300),
            JwtProvider("null", "1e3", jwks_file="/etc/jwks.json"),
        ),
        Policy(
            Writes.FAIL, Reads.STANDBY, "cell-2", Balance.ROUND_ROBIN, Mode.REDIRECT, 1.5, 0.5, Priority.HIGH, "cell-2"
        ),
        FailOpen.ALL,
        3,
        Health(
            score=HealthThresholds(min_requests=20, p99_objective_seconds=0.5),
            breaker=BreakerSettings(trip_p99_seconds=0, open_seconds=5),
            peers=PeerSettings(z=4.5),
        ),
    ),
    Cell(
        "cell-1",
        "::1",
        1,
        "0x1f",
        "no",
        CellStatus.LOCKED,
        0.5,
        "1e3",
        "null",
        Capacity(1, 2.5, 3, 4),
        "https://cell-1.example/eu",
        "yes\n# no",
        CellProtocol.HTTP2,
    ),
    Pool(
        "gold",
        ("cell-1",),
        StrategyName.SHUFFLE,
        7,
        1,
        2**64 - 1,
        (Dimension.REGION,),
        0,
        policy=Policy(balance=Balance.LEAST_LOADED),
        canary=Canary("cell-1", 12.34, CanaryBy.REQUEST),
        p99_objective_seconds=0.25,
    ),
    Pool("own", ("cell-1",), StrategyName.EXPLICIT, dedicated=True, overflow="gold"),
    Tenant("0o17", ("cell-1",), TenantState.SUSPENDED, "gold", "true", "no", (("a", "yes"),), Load(3, 1, 0.25), 1),
    Tenant("1e3"),
    Tenant("2", policy=Policy(shadow="cell-1", copies=Copies.READS, priority=Priority.NORMAL)),
    Tenant("3", policy=Policy(reads=Reads.CACHE, cache_seconds=60)),
)


def bare(kind: Kind, **fields: Any) -> Value:
    """The least of a kind."""
    least: dict[Kind, Value] = {
        Kind.FLEET: Fleet("a"),
        Kind.CELL: Cell("a", "h", 1),
        Kind.POOL: Pool("a", tuple("bcdefghi"), StrategyName.SHUFFLE, shard_size=8, canary=Canary("b", 1)),
        Kind.TENANT: Tenant("a"),
    }
    return replace(least[kind], **fields)


@pytest.mark.parametrize("value", FULL, ids=lambda value: type(value).__name__)
def test_a_value_is_the_same_after_json(value: Value) -> None:
    resource = resource_of(value)
    assert model_of(resource["kind"], resource["name"], resource["spec"]) == value


def test_json_has_nothing_of_what_is_default() -> None:
    assert resource_of(Tenant("a")) == {"kind": "Tenant", "name": "a", "spec": {}}
    assert resource_of(Cell("a", "h", 1))["spec"] == {"address": "h", "port": 1}
    assert resource_of(Tenant("a", load=Load(1, 2)))["spec"] == {"load": {"rps": 2}}


def test_a_move_is_nothing_that_a_file_says() -> None:
    assert resource_of(Tenant("a", state=TenantState.MOVING))["spec"] == {}


def test_a_fleet_is_the_same_after_yaml() -> None:
    fleet, *others = FULL
    assert isinstance(fleet, Fleet)
    topology = Topology(
        fleet,
        tuple(value for value in others if isinstance(value, Cell)),
        tuple(value for value in others if isinstance(value, Pool)),
        tuple(value for value in others if isinstance(value, Tenant)),
    )
    text = dump(topology)
    found = read([("dumped.yaml", text)])
    assert found.problems == ()
    assert found.topology() == topology
    assert dump(found.topology()) == text
    shuffled = replace(topology, tenants=topology.tenants[::-1], pools=topology.pools[::-1])
    assert dump(shuffled) == text, "the order of a dump is that of names"
    # Readers of YAML 1.1 see the same texts.
    loaded = list(yaml.safe_load_all(text))
    assert [document["metadata"]["name"] for document in loaded] == [
        "shop",
        "cell-1",
        "gold",
        "own",
        "0o17",
        "1e3",
        "2",
        "3",
    ]
    assert loaded[1]["spec"]["jurisdiction"] == "no"


WORDS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20)
ATTRIBUTES = st.dictionaries(WORDS, TEXTS.filter(str.isprintable), max_size=4).map(lambda a: tuple(sorted(a.items())))
TENANTS = st.builds(
    Tenant,
    id=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:@|+=~-]{0,20}", fullmatch=True),
    shard=st.lists(WORDS, unique=True, max_size=8).map(tuple),
    state=st.sampled_from([TenantState.ACTIVE, TenantState.SUSPENDED]),
    pool=st.none() | WORDS,
    tier=st.just("") | WORDS,
    jurisdiction=st.just("") | WORDS,
    attributes=ATTRIBUTES,
    load=st.builds(Load, st.integers(0, 9), st.floats(0, 1e12), st.floats(0, 1e12)),
    shard_size=st.none() | st.integers(1, 8),
    policy=st.builds(
        Policy,
        writes=st.none() | st.sampled_from(Writes),
        reads=st.none() | st.just(Reads.STANDBY),
        standby=st.none() | WORDS,
        balance=st.none() | st.sampled_from(Balance),
        mode=st.none() | st.sampled_from(Mode),
        rps=st.none() | st.floats(0.001, 1e6),
        burst_seconds=st.none() | st.floats(0.001, 3600),
        priority=st.none() | st.sampled_from(Priority),
        shadow=st.none() | WORDS,
        copies=st.none() | st.sampled_from(Copies),
    ),
)


@given(TENANTS)
def test_any_tenant_is_the_same_after_yaml(tenant: Tenant) -> None:
    topology = Topology(Fleet("f"), (), (), (tenant,))
    found = read([("dumped.yaml", dump(topology))])
    assert found.problems == ()
    assert found.topology() == topology


def test_what_a_resource_names_is_known() -> None:
    resource = parse_resource("Cell", "a", {"address": "h", "port": 1, "status": "locked"})
    assert resource.named == {"address", "port", "status"}
    assert resource.as_json() == {
        "kind": "Cell",
        "name": "a",
        "spec": {"address": "h", "port": 1, "status": "locked"},
    }


def test_json_keeps_what_is_named_though_it_is_the_default() -> None:
    rule = {"name": "a", "pool": "b", "match": {"tiers": ["c"]}}
    spec = {"defaultPool": "default", "keySources": policy()["keySources"], "rules": [rule]}
    assert parse_resource("Fleet", "a", spec).as_json()["spec"] == spec


def test_what_operations_change_stays_where_it_is_not_named() -> None:
    resource = parse_resource("Cell", "a", {"address": "new", "port": 1})
    current = Cell("a", "old", 1, status=CellStatus.DRAINING, weight=3)
    assert resource.over(current) == Cell("a", "new", 1, status=CellStatus.DRAINING)
    assert resource.over(None) == Cell("a", "new", 1)
    tenant = Tenant("a", ("cell-1",), TenantState.MOVING, tier="gold")
    assert parse_resource("Tenant", "a", {}).over(tenant) == replace(tenant, tier="")
    named = parse_resource("Tenant", "a", {"cells": [], "state": "active"})
    assert named.over(tenant) == Tenant("a")


@pytest.mark.parametrize(
    ("kind", "name", "spec", "field", "message"),
    [
        ("Cel", "a", {}, "kind", "expected Fleet, Cell, Pool or Tenant; found 'Cel': did you mean Cell?"),
        ("Cell", "a", {"address": "h", "port": 0}, "Cell/a.spec.port", "expected 1 to 65535, found 0"),
        ("Cell", "a", {}, "Cell/a.spec.address", "is missing (and 1 more)"),
        ("Cell", "A", {"address": "h", "port": 1}, "Cell/A.metadata.name", "a name is 1 to 63"),
        ("Tenant", "a", {"tier": object()}, "spec", "expected JSON, found object"),
        ("Tenant", "a", {1: 2}, "spec", "expected JSON, found dict"),
        ("Tenant", "a", {"tier": [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}, "spec", "expected at most 16 levels"),
    ],
)
def test_json_is_refused_with_its_field(kind: str, name: str, spec: dict[Any, Any], field: str, message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        parse_resource(kind, name, spec)
    assert raised.value.field == field
    assert message in raised.value.message


def every_field(known: tuple[Field, ...], value: Any) -> Iterator[tuple[Field, Any]]:
    for field in known:
        held = value if isinstance(field.shape, Part) else getattr(value, field.attribute)
        if isinstance(field.shape, Object | Amended | Part):
            # What nobody has said has no fields.
            yield from every_field(field.shape.fields, held) if held is not None else ()
        else:
            yield field, value


@pytest.mark.parametrize("kind", Kind)
def test_the_model_draws_every_bound_where_the_format_does(kind: Kind) -> None:
    def refuses(held: Any, field: Field, value: Any) -> bool:
        try:
            replace(held, **{field.attribute: value}).validate("x")
        except ValidationError:
            return True
        return False

    # The bounds of thresholds are the model's own, and each limits others beside.
    fields = tuple(field for field in KINDS[kind].fields if field.shape is not HEALTH)
    for field, held in every_field(fields, bare(kind)):
        shape = field.shape
        if isinstance(shape, Whole):
            below, above = shape.low - 1, shape.high + 1
            assert [refuses(held, field, at) for at in (below, shape.low, shape.high, above)] == [
                True,
                False,
                False,
                True,
            ]
        elif isinstance(shape, Number):
            tiny = shape.low - 1e-9 if not shape.exclusive else shape.low
            values = (tiny, shape.low + 1e-9, shape.high, shape.high * 1.01)
            assert [refuses(held, field, at) for at in values] == [True, False, False, True], field.name


@pytest.mark.parametrize("kind", Kind)
def test_every_attribute_of_the_model_is_in_the_format(kind: Kind) -> None:
    declared = {field.attribute for field in KINDS[kind].fields} | {KINDS[kind].name}
    assert declared == set(KINDS[kind].of.__dataclass_fields__)
    for field in KINDS[kind].fields:
        if isinstance(field.shape, Choice):
            assert issubclass(field.shape.of, Enum)
        if isinstance(field.shape, Object):
            assert {below.attribute for below in field.shape.fields} == set(field.shape.of.__dataclass_fields__)


@given(st.text("abzAZ09-_.é", max_size=5))
def test_the_pattern_of_names_is_that_of_the_model(text: str) -> None:
    assert (re.search(NAME_PATTERN, text) is not None) == is_name(text)


@pytest.mark.parametrize(
    ("kind", "path", "named"),
    [
        (Kind.CELL, "id", "metadata.name"),
        (Kind.FLEET, "name", "metadata.name"),
        (Kind.CELL, "capacity.storage_gib", "spec.capacity.storageGib"),
        (Kind.TENANT, "shard[1]", "spec.cells[1]"),
        (Kind.TENANT, "load.storage_gib", "spec.load.storageGib"),
        (Kind.TENANT, "attributes.size-class", "spec.attributes.size-class"),
        (Kind.FLEET, "key_sources[0].name", "spec.keySources[0].name"),
        (Kind.FLEET, "key_sources[2].trusted", "spec.keySources[2].trusted"),
        (Kind.FLEET, "jwt[1].clock_skew_seconds", "spec.jwt[1].clockSkewSeconds"),
        (Kind.FLEET, "jwt[1].audiences[0]", "spec.jwt[1].audiences[0]"),
        (Kind.FLEET, "jwt[1]", "spec.jwt[1]"),
        (Kind.FLEET, "rules[3].id_pattern", "spec.rules[3].match.idPattern"),
        (Kind.FLEET, "rules[3].attributes.a", "spec.rules[3].match.attributes.a"),
        (Kind.FLEET, "rules[3]", "spec.rules[3]"),
        (Kind.POOL, "policy.burst_seconds", "spec.policy.burstSeconds"),
        (Kind.POOL, "policy.cache_seconds", "spec.policy.cacheSeconds"),
        (Kind.POOL, "canary.cell", "spec.canary.cell"),
        (Kind.POOL, "p99_objective_seconds", "spec.p99ObjectiveSeconds"),
        (Kind.FLEET, "health.score.error_rate_bad", "spec.health.score.errorRateBad"),
        (Kind.TENANT, "policy.compare.ignore[2]", "spec.policy.compare.ignore[2]"),
        (Kind.POOL, "zones", "spec.zones"),
        (Kind.POOL, "members[2].zone", "spec.members[2].zone"),
    ],
)
def test_paths_of_the_model_are_named_as_in_a_file(kind: Kind, path: str, named: str) -> None:
    assert spec_path(kind, path) == named


@pytest.mark.parametrize("value", FULL, ids=lambda value: type(value).__name__)
def test_the_kind_of_a_value_is_known(value: Value) -> None:
    assert kind_of(value).value == type(value).__name__
