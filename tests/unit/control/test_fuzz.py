"""Random ids and bodies: never a 5xx, and after every change that is taken the table still compiles."""

import json
import string
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellplane.control.publication import compile_base
from support.depth import examples
from unit.control.serving import KEY_SOURCES, SHOP, Api

bounded = settings(
    derandomize=True,
    deadline=None,
    max_examples=examples(33),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# Lone surrogates have tests of their own.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=140)
names = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=8)
cells = st.sampled_from(["cell-1", "cell-2", "cell-3", "cell-9"])
ids = st.one_of(text, names, cells, st.text("aZ9._:@|+=~-/%\0", max_size=130))
# A path that ends with a slash is redirected: test_refusals.py.
segments = ids.filter(lambda value: value != "" and not value.endswith("/"))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)


def mixed(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Bodies with these members, sometimes with anything in their place, sometimes anything at all."""
    optional = {name: st.one_of(value, value, value, anything) for name, value in members.items()}
    likely = st.fixed_dictionaries({}, optional=optional)
    return st.one_of(likely, likely, likely, anything)


amounts = st.integers(-1, 3) | st.floats(0, 1e13)
jurisdictions = st.sampled_from(["", "none", "eu", "us"])
tenants = mixed(
    cell=st.none() | cells,
    cells=st.lists(cells, max_size=3),
    place=st.booleans(),
    state=st.sampled_from(["active", "suspended", "moving"]),
    pool=st.none() | st.sampled_from(["default", "canary", "big", "nowhere"]),
    tier=st.sampled_from(["", "gold", "free"]),
    jurisdiction=jurisdictions,
    attributes=st.dictionaries(names, text, max_size=2),
    load=mixed(tenants=st.integers(-1, 3), rps=amounts, storage_gib=amounts),
    shard_size=st.none() | st.integers(-1, 4),
)
cell_bodies = mixed(
    address=st.sampled_from(["127.0.0.1", "c.example", "::1", "", "a b"]),
    port=st.integers(-1, 65_536),
    region=names,
    zone=names,
    jurisdiction=jurisdictions | names,
    release=names,
    capacity=mixed(tenants=st.integers(-1, 3), rps=amounts, storage_gib=amounts),
    status=st.sampled_from(["active", "locked", "retired", "gone"]),
    weight=st.floats(0, 10),
)
pools = mixed(
    cells=st.lists(cells, max_size=3),
    strategy=st.sampled_from(["modulo", "ring", "rendezvous", "shuffle", "explicit", "random"]),
    virtual_nodes=st.integers(-1, 300),
    shard_size=st.none() | st.integers(-1, 4),
    seed=st.integers(-1, 2**65),
    spread=st.lists(st.sampled_from(["zone", "region", "release", "weather"]), max_size=3),
    max_overlap=st.none() | st.integers(-1, 3),
    dedicated=st.booleans(),
    overflow=st.none() | st.sampled_from(["default", "canary", "big", "nowhere"]),
)
rules = mixed(
    name=names,
    pool=st.sampled_from(["default", "canary", "big", "nowhere"]),
    tiers=st.lists(st.sampled_from(["gold", "free"]), max_size=2),
    jurisdictions=st.lists(st.sampled_from(["eu", "us"]), max_size=2),
    id_pattern=st.sampled_from(["", "a*", "[ab]?", "[", "\\"]),
    attributes=st.dictionaries(names, text, max_size=2),
)
fleets = mixed(
    name=st.just("shop"),
    key_sources=st.lists(
        st.just(KEY_SOURCES[0])
        | mixed(
            kind=st.sampled_from(["header", "cookie", "path", "subdomain", "jwt-claim"]),
            name=names | text,
            trusted=st.booleans(),
        ),
        max_size=3,
    ),
    jwt=st.lists(
        mixed(
            name=names,
            issuer=names | text,
            audiences=st.lists(names | text, max_size=2),
            jwks_url=st.sampled_from(["", "https://id.example/jwks", "http://id.example/", "https://[", "ftp://a"]),
            jwks_file=st.sampled_from(["", "/etc/jwks.json", "jwks.json"]),
            cookie=names | text,
            clock_skew_seconds=st.integers(-1, 400),
        ),
        max_size=2,
    ),
    default_pool=st.sampled_from(["default", "canary", "big", "nowhere"]),
    unknown_tenant=st.sampled_from(["hash", "reject", "default-cell"]),
    missing_key=st.sampled_from(["reject", "default-cell", "source-hash"]),
    default_cell=st.none() | cells,
    rules=st.lists(rules, max_size=3),
)


def check(api: Api, put: Callable[[], Any]) -> None:
    response = put()
    assert response.status_code < 500, response.text
    if response.status_code == 200:
        publication = compile_base(api.service.directory)
        assert publication is not None
        assert publication.table.epoch >= response.json()["epoch"]
    else:
        assert response.status_code in {400, 404, 405, 409, 413, 422}
        assert response.headers["content-type"] == "application/problem+json"


@bounded
@given(tenant_id=ids, body=tenants)
def test_any_tenant(steady_shop: Api, tenant_id: str, body: object) -> None:
    path = f"/v1/tenants/{quote(tenant_id, safe='')}"
    check(steady_shop, lambda: steady_shop.put_bytes(path, json.dumps(body).encode()))


@settings(bounded, max_examples=examples(20))
@given(cell_id=cells | segments, body=cell_bodies)
def test_any_cell(steady_shop: Api, cell_id: str, body: object) -> None:
    path = f"/v1/cells/{quote(cell_id, safe='')}"
    check(steady_shop, lambda: steady_shop.put_bytes(path, json.dumps(body).encode()))


@settings(bounded, max_examples=examples(20))
@given(name=st.sampled_from(["default", "canary", "big"]) | segments, body=pools)
def test_any_pool(steady_shop: Api, name: str, body: object) -> None:
    path = f"/v1/pools/{quote(name, safe='')}"
    check(steady_shop, lambda: steady_shop.put_bytes(path, json.dumps(body).encode()))


@bounded
@given(body=fleets, whole=st.booleans())
def test_any_fleet(steady_shop: Api, body: object, whole: bool) -> None:
    if whole and isinstance(body, dict):
        body = {**SHOP, **body}
    check(steady_shop, lambda: steady_shop.put_bytes("/v1/fleet", json.dumps(body).encode()))


resources = mixed(
    kind=st.sampled_from(["Fleet", "Cell", "Pool", "Tenant", "Router"]),
    name=st.sampled_from(["shop", "default", "big", "acme"]) | cells,
    spec=st.one_of(
        mixed(address=st.just("127.0.0.1"), port=st.integers(1, 9)),
        mixed(cells=st.lists(cells, max_size=3), strategy=st.sampled_from(["ring", "explicit"])),
        mixed(tier=st.sampled_from(["gold"]), pool=st.sampled_from(["default", "big"])),
        mixed(unknownTenant=st.sampled_from(["hash", "reject"]), keySources=st.just(KEY_SOURCES)),
    ),
)


@bounded
@given(body=mixed(resources=st.lists(resources, max_size=4), prune=st.booleans(), base_epoch=st.none()))
def test_any_apply(steady_shop: Api, body: object) -> None:
    data = json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    check(steady_shop, lambda: steady_shop.http.post("/v1/apply", content=data, headers=headers))


@bounded
@given(source=text | st.ip_addresses().map(str))
def test_any_source(steady_shop: Api, source: str) -> None:
    assert steady_shop.http.get("/v1/route", params={"source": source}).status_code in {200, 422}


@bounded
@given(tenant_id=ids)
def test_any_route(steady_shop: Api, tenant_id: str) -> None:
    response = steady_shop.http.get("/v1/route", params={"tenant": tenant_id})
    assert response.status_code in {200, 422}, response.text


@settings(bounded, max_examples=examples(20))
@given(body=st.binary(max_size=60))
def test_any_bytes(steady_shop: Api, body: bytes) -> None:
    for path in ("/v1/tenants/acme", "/v1/cells/cell-1", "/v1/pools/default"):
        assert steady_shop.put_bytes(path, body).status_code in {200, 400, 422}
