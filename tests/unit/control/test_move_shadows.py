"""A move's shadow is two fields of the tenant's policy, and goes again; one that the tenant has stays."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from cellplane.client import Client
from cellplane.moves.errors import ChangedError, MoveError
from cellplane.moves.move import Move
from cellplane.moves.shadowing import Heard, PolicyShadows, Sample, Seen, ShadowRules, Sight
from unit.control.serving import Api
from unit.control.test_shadows import counts, of_tenant, report, sample

TENANT = "acme"
PATH = f"/v1/tenants/{TENANT}"
MOVE = Move("m1", TENANT, "cell-1", "cell-2", True, 0.0, shadow_seconds=5.0)
BEGUN = replace(MOVE, has_shadow=True)
RULES = ShadowRules(("/at", "/items/*/id"))


@pytest.fixture
def shadows(shop: Api) -> Iterator[PolicyShadows]:
    shop.put_epoch(PATH, {"cell": "cell-1", "policy": {"rps": 50.0}})
    with Client(f"http://127.0.0.1:{shop.port}", "test", shop.token) as client:
        yield PolicyShadows(client, RULES)


def policy(shop: Api) -> dict[str, object]:
    said: dict[str, object] = shop.get(PATH).json()["policy"]
    return {name: value for name, value in said.items() if value is not None}


def test_it_begins_and_ends_and_leaves_the_rest_of_the_policy(shop: Api, shadows: PolicyShadows) -> None:
    before = policy(shop)
    assert not shadows.end(MOVE)
    assert policy(shop) == before
    for move in (MOVE, BEGUN):
        epoch = shadows.begin(move, unkept)
        assert shadows.is_on(MOVE)
        assert policy(shop) == {
            **before,
            "shadow": "cell-2",
            "copies": "reads",
            "compare": {"percent": 100.0, "ignore": ["/at", "/items/*/id"]},
        }
        assert shop.get(PATH).json()["version"] == epoch
    for was_on in (True, False):
        assert shadows.end(MOVE) is was_on
        assert policy(shop) == before
        assert not shadows.is_on(MOVE)
    assert shadows.look(MOVE) == Sight()


def test_it_says_of_each_router_what_it_counted_of_the_tenant(shop: Api, shadows: PolicyShadows) -> None:
    acme = of_tenant(TENANT, match=3, mismatch=1, unanswered=2, too_large=4)
    mine = counts("cell-1", shadow="cell-2", tenants=[acme], samples=[sample(9), sample(8, tenant="globex")])
    others = counts("cell-1", shadow="cell-2", tenants=[of_tenant("globex", match=7)])
    elsewhere = counts("cell-3", shadow="cell-2", tenants=[acme])
    for router, said in (("router-1", [mine, elsewhere]), ("router-2", [others]), ("router-3", [])):
        said_too = {"at": 5.0, "waiting_seconds": 7.0}
        answer = shop.http.post(f"/v1/routers/{router}/report", json={**report(*said), **said_too})
        assert answer.status_code == 200
    sight = shadows.look(MOVE)
    assert {router: replace(heard, age_seconds=0.0) for router, heard in sight.routers.items()} == {
        "router-1": Heard(Seen(3, 1, 2, 4), 5.0, 0.0, 7.0),
        "router-2": Heard(Seen(), 5.0, 0.0, 7.0),
        "router-3": Heard(Seen(), 5.0, 0.0, 7.0),
    }
    assert {heard.has_counted(7.0) for heard in sight.routers.values()} == {False}
    assert {heard.has_counted(3_600.0) for heard in sight.routers.values()} == {True}
    assert sight.samples == (Sample(9.0, "GET /orders/*: /total number / text of 4"),)


@pytest.mark.parametrize(
    "own",
    [
        {"shadow": "cell-2"},
        {"copies": "all"},
        {"compare": {"percent": 1.0}},
        {"shadow": "cell-2", "copies": "reads", "compare": {"percent": 1.0, "ignore": ["/at"]}},
        {"shadow": "cell-2", "copies": "reads", "compare": {"percent": 100.0, "ignore": list(RULES.ignore)}},
    ],
)
def test_a_tenant_with_a_shadow_of_its_own_keeps_it(shop: Api, shadows: PolicyShadows, own: dict[str, object]) -> None:
    shop.put_epoch(PATH, {"policy": own})
    before = policy(shop)
    with pytest.raises(MoveError, match=f"acme has a shadow of its own: take away what it says of {next(iter(own))}"):
        shadows.begin(MOVE, never)
    assert policy(shop) == before


def never(*, has_shadow: bool) -> None:
    raise AssertionError("it has not begun")


def unkept(*, has_shadow: bool) -> None:
    """Nobody asks."""


@pytest.mark.parametrize("move", [MOVE, BEGUN])
def test_that_one_may_be_there_is_taken_back_where_somebody_else_was_first(
    shop: Api, shadows: PolicyShadows, move: Move
) -> None:
    noted: list[bool] = []

    def note(*, has_shadow: bool) -> None:
        noted.append(has_shadow)
        if len(noted) == 1:
            shop.put_epoch(PATH, {"policy": {"rps": 60.0}})

    with pytest.raises(ChangedError):
        shadows.begin(move, note)
    assert noted == [True, move.has_shadow], "what was asked for before may still come"
    assert "shadow" not in policy(shop)


@pytest.mark.parametrize("changes", [{"shadow": None, "copies": None, "compare": None}, {"compare": {"percent": 1.0}}])
def test_one_that_somebody_changed_is_not_what_it_was(
    shop: Api, shadows: PolicyShadows, changes: dict[str, object]
) -> None:
    shadows.begin(MOVE, unkept)
    shop.put_epoch(PATH, {"policy": {**policy(shop), **changes}})
    assert not shadows.is_on(BEGUN)
    assert not shadows.end(BEGUN)


def test_one_that_somebody_left_ends_before_it_begins_anew(shop: Api, shadows: PolicyShadows) -> None:
    first = shadows.begin(MOVE, unkept)
    seen_by_the_dead = shop.get(PATH).json()["version"]
    assert shadows.begin(BEGUN, unkept) > first
    with pytest.raises(ChangedError):
        shadows._tenants.change(TENANT, seen_by_the_dead, policy={"rps": 50.0})
    assert shadows.is_on(MOVE)


def test_one_that_comes_late_is_refused(shop: Api, shadows: PolicyShadows) -> None:
    version = shop.get(PATH).json()["version"]
    shop.put_epoch(PATH, {"tier": "gold"})
    with pytest.raises(ChangedError):
        shadows._tenants.change(TENANT, version, policy={"shadow": "cell-2"})
    assert "shadow" not in policy(shop)
