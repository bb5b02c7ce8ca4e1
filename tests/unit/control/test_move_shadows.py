"""A move's shadow is two fields of the tenant's policy, and goes again; one that the tenant has stays."""

from collections.abc import Iterator

import pytest

from cellplane.client import Client
from cellplane.moves.errors import ChangedError, MoveError
from cellplane.moves.move import Move
from cellplane.moves.shadowing import Heard, PolicyShadows, Seen, ShadowRules, Sight
from unit.control.serving import Api
from unit.control.test_shadows import counts, of_tenant, report, sample

TENANT = "acme"
PATH = f"/v1/tenants/{TENANT}"
MOVE = Move("m1", TENANT, "cell-1", "cell-2", True, 0.0, shadow_seconds=5.0)
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
    shadows.end(MOVE)
    assert policy(shop) == before
    for _ in range(2):
        epoch = shadows.begin(MOVE)
        assert policy(shop) == {
            **before,
            "shadow": "cell-2",
            "copies": "reads",
            "compare": {"percent": 100.0, "ignore": ["/at", "/items/*/id"]},
        }
        assert shop.get(PATH).json()["version"] == epoch
    for _ in range(2):
        shadows.end(MOVE)
        assert policy(shop) == before
    assert shadows.look(MOVE) == Sight()


def test_it_says_of_each_router_what_it_counted_of_the_tenant(shop: Api, shadows: PolicyShadows) -> None:
    acme = of_tenant(TENANT, match=3, mismatch=1, unanswered=2)
    mine = counts("cell-1", shadow="cell-2", tenants=[acme], samples=[sample(9), sample(8, tenant="globex")])
    others = counts("cell-1", shadow="cell-2", tenants=[of_tenant("globex", match=7)])
    elsewhere = counts("cell-3", shadow="cell-2", tenants=[acme])
    for router, said in (("router-1", [mine, elsewhere]), ("router-2", [others]), ("router-3", [])):
        answer = shop.http.post(f"/v1/routers/{router}/report", json={**report(*said), "at": 5.0})
        assert answer.status_code == 200
    assert shadows.look(MOVE) == Sight(
        {"router-1": Heard(Seen(3, 1, 2), 5.0), "router-2": Heard(Seen(), 5.0), "router-3": Heard(Seen(), 5.0)},
        ("GET /orders/*: /total number / text of 4",),
    )


@pytest.mark.parametrize("own", [{"shadow": "cell-2"}, {"copies": "all"}, {"compare": {"percent": 1.0}}])
def test_a_tenant_with_a_shadow_of_its_own_keeps_it(shop: Api, shadows: PolicyShadows, own: dict[str, object]) -> None:
    shop.put_epoch(PATH, {"policy": own})
    before = policy(shop)
    with pytest.raises(MoveError, match=f"acme has a shadow of its own: take away what it says of {next(iter(own))}"):
        shadows.begin(MOVE)
    shadows.end(MOVE)
    assert policy(shop) == before


def test_one_that_comes_late_is_refused(shop: Api, shadows: PolicyShadows) -> None:
    version = shop.get(PATH).json()["version"]
    shop.put_epoch(PATH, {"tier": "gold"})
    with pytest.raises(ChangedError):
        shadows._tenants.change(TENANT, version, policy={"shadow": "cell-2"})
    assert "shadow" not in policy(shop)
