"""An operator who gets everything wrong: changes that the control plane refuses, each with the field to blame."""

import random
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
Change = tuple[str, Json | bytes]
"""Path below ``/v1`` of a PUT (or ``apply``, which is a POST), and what is sent."""

CELL: Json = {"address": "127.0.0.1", "port": 8001, "jurisdiction": "eu"}
POOL: Json = {"cells": ["cell-1", "cell-2", "cell-3"]}
SOURCES: list[Json] = [
    {"kind": "header", "name": "x-tenant-id", "trusted": True},
    {"kind": "subdomain", "name": "shop.example"},
]
FLEET: Json = {"name": "shop", "key_sources": SOURCES}
ISSUER: Json = {"name": "id", "issuer": "https://id.example", "jwks_url": "https://id.example/jwks.json"}

Way = Callable[[random.Random], Change]


def _cell(**changes: list[Any]) -> Way:
    (name, values) = next(iter(changes.items()))
    return lambda rng: (f"cells/cell-{rng.randint(1, 3)}", {**CELL, name: rng.choice(values)})


def _pool(**changes: list[Any]) -> Way:
    (name, values) = next(iter(changes.items()))
    return lambda rng: ("pools/default", {**POOL, name: rng.choice(values)})


def _fleet(**changes: list[Any]) -> Way:
    (name, values) = next(iter(changes.items()))
    return lambda rng: ("fleet", {**FLEET, name: rng.choice(values)})


def _tenant(*bodies: Json) -> Way:
    return lambda rng: (f"tenants/t-{rng.randint(1, 99)}", rng.choice(bodies))


def _policy(*policies: Json) -> Way:
    """A policy of the fleet, the pool or a tenant."""

    def change(rng: random.Random) -> Change:
        policy = {"policy": rng.choice(policies)}
        return rng.choice(
            [("fleet", {**FLEET, **policy}), ("pools/default", {**POOL, **policy}), ("tenants/t-1", policy)]
        )

    return change


def _issuer(*changes: Json) -> Way:
    return lambda rng: ("fleet", {**FLEET, "jwt": [{**ISSUER, **rng.choice(changes)}]})


def _applied(*resources: tuple[str, str, Json]) -> Way:
    return lambda _rng: (
        "apply",
        {"resources": [{"kind": kind, "name": name, "spec": spec} for kind, name, spec in resources]},
    )


def _damaged(rng: random.Random) -> Change:
    text = bytearray(b'{"address": "127.0.0.1", "port": 8001, "jurisdiction": "eu"}')
    # What opens or closes the text, or a value in it.
    for place in rng.sample([0, 1, 11, 12, 24, len(text) - 1], 2):
        text[place] = rng.choice(b"\0\x01{[,\xff")
    return "cells/cell-1", bytes(text)


def _larger(rng: random.Random) -> Change:
    return "apply", b'{"resources": [' + b'{"kind": "Cell", "name": "a"},' * rng.randint(350_000, 400_000) + b"]}"


_NOBODY = ["cell-9", "nobody", "cell-1.example"]
_BAD_ADDRESSES = [
    "",
    "a b",
    "a\nb",
    "x" * 300,
    "h." * 140,
    "host:80",
    "http://a",
    "a/b",
    "256.1.1.1",
    "1.2.3",
    ":::",
    "[::1]",
    "..",
    "-a",
    "ü.example",
    "fe80::1%eth0",
]
_BAD_PORTS = [0, -1, 65_536, 70_000, 2**40, 1.5, "http", None]
_NUMBERS = [-1, 1e300, "many", [1]]

WAYS: dict[str, Way] = {
    "a dangling cell in a pool": lambda rng: ("pools/default", {"cells": ["cell-1", rng.choice(_NOBODY)]}),
    "a dangling cell of a tenant": _tenant(*({"cell": cell} for cell in _NOBODY), {"cells": ["cell-1", "cell-9"]}),
    "a dangling default cell": lambda rng: (
        "fleet",
        {**FLEET, "missing_key": "default-cell", "default_cell": rng.choice(_NOBODY)},
    ),
    "a dangling canary": _pool(canary=[{"cell": "cell-9", "percent": 5}]),
    "a dangling standby or shadow": _policy({"reads": "standby", "standby": "cell-9"}, {"shadow": "cell-9"}),
    "a dangling pool": _tenant({"pool": "nowhere"}),
    "a dangling default pool": _fleet(default_pool=["nowhere", ""]),
    "a rule for no pool": _fleet(rules=[[{"name": "r", "pool": "nowhere"}]]),
    "a cell twice in a pool": _pool(cells=[["cell-1", "cell-1"], ["cell-1", "cell-2", "cell-1"]]),
    "a cell twice in a shard": _tenant({"cells": ["cell-1", "cell-1"]}),
    "a resource twice": _applied(
        ("Cell", "cell-1", {"address": "a", "port": 1}), ("Cell", "cell-1", {"address": "b", "port": 2})
    ),
    "a source twice": _fleet(key_sources=[[SOURCES[0], SOURCES[0]]]),
    "an issuer twice": _fleet(jwt=[[ISSUER, ISSUER]]),
    "no cells": _pool(cells=[[], None, "cell-1"]),
    "no sources": _fleet(key_sources=[[], None]),
    "nothing": lambda rng: (rng.choice(["fleet", "cells/cell-1", "pools/default"]), {}),
    "an address that no proxy takes": _cell(address=_BAD_ADDRESSES),
    "a port that is none": _cell(port=_BAD_PORTS),
    "a weight": _cell(weight=[0, -1, 101, 1e-9, "heavy"]),
    "a status": _cell(status=["gone", "", 1]),
    "a region": _cell(region=["", "EU", "a b", "x" * 64]),
    "capacity": _cell(capacity=[{"rps": -1}, {"tenants": -1}, {"concurrency": -1}, {"rps": "many"}, {"cores": 4}]),
    "a public URL": _cell(
        public_url=["javascript:x", "http://cell-1.example.com", "https://a/", "https://a?b", "https://a b"]
    ),
    "a maintenance page": _cell(maintenance_page=["x" * 2_001, "a\x00b", "\x1b[2J"]),
    "another jurisdiction in a shard": lambda _: ("pools/default", {"cells": ["cell-1", "cell-4"], "shard_size": 2}),
    "another jurisdiction of a tenant": _tenant(
        {"cell": "cell-1", "jurisdiction": "us"}, {"cells": ["cell-1", "cell-4"]}
    ),
    "another jurisdiction of a standby": lambda _: (
        "pools/default",
        {**POOL, "policy": {"reads": "standby", "standby": "cell-4"}},
    ),
    "another jurisdiction of a shadow": lambda _: ("pools/default", {**POOL, "policy": {"shadow": "cell-4"}}),
    "another jurisdiction of a canary": _pool(canary=[{"cell": "cell-4", "percent": 5}]),
    "a policy that contradicts itself": _policy(
        {"reads": "cache", "standby": "cell-1"}, {"reads": "standby"}, {"mode": "redirect"}
    ),
    "limits of a policy": _policy({"rps": 0}, {"rps": -1}, {"rps": 1e12}, {"burst_seconds": 0}, {"burst_seconds": 1e9}),
    "words of a policy": _policy({"writes": "maybe"}, {"balance": "best"}, {"priority": 1}, {"quota": 1}),
    "a canary's share": _pool(canary=[{"cell": "cell-2", "percent": share} for share in (-1, 101, 0.123, "half")]),
    "a huge Retry-After": _fleet(retry_after_seconds=[-1, 3_601, 2**32, 2**70, "soon"]),
    "routers": _fleet(routers=[0, -1, 10**9]),
    "strategy": _pool(strategy=["random", "", 3]),
    "shard size": _pool(shard_size=[0, -1, 4, 9, 2**40]),
    "virtual nodes": _pool(virtual_nodes=[0, -1, 10**9]),
    "overflow in a circle": _pool(overflow=["default", "nowhere"]),
    "a header that nobody vouches for": _fleet(key_sources=[[{"kind": "header", "name": "x-tenant-id"}]]),
    "a header of proxies": _fleet(
        key_sources=[
            [{"kind": "header", "name": name, "trusted": True}] for name in ("x-cell-id", "host", "X-A", "a b", "x_a")
        ]
    ),
    "a claim that nobody verifies": _fleet(key_sources=[[{"kind": "jwt-claim", "name": "org"}]]),
    "a path or domain": _fleet(
        key_sources=[[{"kind": "path", "name": name}] for name in ("t", "/t", "/../", "//", "/a b/")]
        + [[{"kind": "subdomain", "name": name}] for name in ("", "a..b", "-a", "x" * 300)]
    ),
    "where an issuer's keys are": _issuer(
        {"jwks_url": "http://id.example/"},
        {"jwks_file": "/k"},
        {"jwks_url": ""},
        {"jwks_url": "", "jwks_file": "k.json"},
        {"jwks_url": "https://["},
    ),
    "an issuer": _issuer(
        {"issuer": ""},
        {"issuer": "a b"},
        {"clock_skew_seconds": 0},
        {"clock_skew_seconds": 999},
        {"cookie": "a;b"},
        {"audiences": ["a", "a"]},
        {"name": "ID"},
    ),
    "too many issuers": _fleet(jwt=[[{**ISSUER, "name": f"id-{number}"} for number in range(9)]]),
    "a name": lambda rng: (
        f"cells/{rng.choice(['Cell', '-a', 'a-', 'a.b', 'x' * 64, 'agent%3A', '%00', 'a%20b'])}",
        CELL,
    ),
    "a tenant's key": lambda rng: (
        f"tenants/{rng.choice(['-a', 'a%20b', 'x' * 129, '%C3%BC', 'a%00', 'a%2Cb'])}",
        {"cell": "cell-1"},
    ),
    "numbers": lambda rng: ("tenants/t-1", {"load": {"rps": rng.choice([-1, "many", [1]])}}),
    "an unknown field": lambda rng: (
        rng.choice(["fleet", "cells/cell-1", "pools/default", "tenants/t-1"]),
        {**FLEET, **CELL, **POOL},
    ),
    "damaged JSON": _damaged,
    "a hundred times as large": _larger,
    "another base": lambda _: ("apply", {"resources": [], "base_epoch": 999_999}),
}
"""Each gives a change that is to be refused. The fleet has cell-1 to cell-3 under the law of ``eu``, in the pool
``default``, and cell-4 under that of ``us``."""
