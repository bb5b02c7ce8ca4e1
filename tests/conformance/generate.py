"""Writes the conformance vectors from the Python reference: ``make vectors``.

The tables and the questions are chosen here; the answers are the reference's. Read the difference before you commit it:
a changed answer means that routers of two releases disagree.
"""

import json
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cellplane.cell.door import RequestLine, Routing, decoded
from cellplane.cell.proof import parse_keys, sign
from cellplane.model import (
    Balance,
    CanaryBy,
    Capacity,
    Cell,
    CellStatus,
    Copies,
    FailOpen,
    Fleet,
    JwtProvider,
    KeySource,
    KeySourceKind,
    MissingKey,
    Mode,
    Priority,
    Reads,
    StrategyName,
    TenantState,
    UnknownTenant,
    Writes,
)
from cellplane.placement import SLOT_COUNT, slot_of
from cellplane.routing import (
    CanaryRow,
    Decision,
    OverlayContents,
    PolicyRow,
    PoolSlots,
    Redirect,
    RequestKeys,
    Route,
    RoutingTable,
    TableContents,
    TenantColumns,
    TenantEntry,
    decide_request,
    encode,
    encode_overlay,
    layout,
)
from cellplane.routing.keys import key_value
from cellplane.routing.layout import HEADER_SIZE, SECTION, Section
from cellplane.signed_cookie import Keyring
from conformance import manifests

HOSTS = [
    "tenant-001.example.com",
    "TENANT-001.Example.COM:8443",
    "tenant-002.example.com.",
    "tenant-002.example.com.:80",
    "example.com",
    ".example.com",
    "a.tenant-001.example.com",
    "tenant-001.example.org",
    "tenant-001example.com",
    "-tenant.example.com",
    "ten_ant.example.com",
    "[2001:db8::1]:8080",
    "192.0.2.9:80",
]
PATHS = [
    "/t/tenant-001",
    "/t/tenant-001/orders",
    "/t/tenant-002?x=/t/tenant-001",
    "/t/tenant-001%2F",
    "/t/",
    "/t//tenant-001",
    "/t",
    "/T/tenant-001",
    "/x/t/tenant-001",
    "/t/Tenant-001",
    "/t/..",
    "/?t=/t/tenant-001",
]

PROOF_KEYS = """new AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8
old ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8
"""

VECTORS = Path(__file__).parent / "vectors"

KEYS = [f"tenant-{number:03}".encode() for number in range(1, 21)]
ODD_KEYS = [
    b"",
    b"\xff\xfe",
    b"tenant\x00-001",
    b"tenant\r\n-001",
    b"tenant/001",
    b"../tenant-001",
    b"tenant%2D001",
    b" tenant-001",
    b"tenant-001,tenant-002",
    b"-tenant",
    "zürich".encode(),
    b"a" * 128,
    b"a" * 129,
    b"x" * 10_240,
    b"TENANT-001",
    b"a",
    b"auth0|5f7c8ec7c33c6c004bbafe82",
    b"urn:acct:7+8=15~.@_",
]


def one_pool() -> TableContents:
    """Three cells, one of them locked; every state of a tenant; unknown keys are hashed."""
    return TableContents(
        epoch=17,
        fleet=Fleet("vectors", retry_after_seconds=2),
        cells=(
            Cell("cell-1", "127.0.0.1", 8001, "eu-central", "eu"),
            Cell("cell-2", "cell-2.internal", 8002, "eu-west", "eu", CellStatus.LOCKED, weight=2.5),
            Cell("cell-3", "::1", 8003, "us-east", "us"),
        ),
        pools=(PoolSlots("default", StrategyName.MODULO, [slot % 3 for slot in range(SLOT_COUNT)]),),
        shards=((0,), (1,), (2,)),
        tenants=TenantColumns.of(
            (
                TenantEntry(b"tenant-001", 2),
                TenantEntry(b"tenant-002", 0, state=TenantState.MOVING),
                TenantEntry(b"tenant-003", None, state=TenantState.SUSPENDED),
                TenantEntry(b"tenant-004", 1, state=TenantState.QUARANTINED),
                TenantEntry(b"tenant-005", None),
            )
        ),
    )


def two_pools() -> TableContents:
    """Shards of up to eight cells in two pools, every status of a cell; unknown keys are refused."""
    statuses = list(CellStatus)
    cells = tuple(
        Cell(f"cell-{number}", f"10.0.0.{number}", 9000 + number, status=statuses[number % len(statuses)])
        for number in range(1, 10)
    )
    shards = ((0, 1), (1, 2), (3, 4, 5), (7, 6, 5, 4, 3, 2, 1, 0), (4,), (3,), (8, 6))
    return TableContents(
        epoch=2**40 + 3,
        fleet=Fleet(
            "vectors",
            key_sources=(KeySource.trusted_header("x-org"),),
            default_pool="shared",
            unknown_tenant=UnknownTenant.REJECT,
        ),
        cells=cells,
        pools=(
            PoolSlots("enterprise", StrategyName.RING, [slot % 3 + 4 for slot in range(SLOT_COUNT)]),
            PoolSlots("shared", StrategyName.RING, [slot % 4 for slot in range(SLOT_COUNT)]),
        ),
        shards=shards,
        tenants=TenantColumns.of(
            TenantEntry(key, None if number % 3 else number % len(shards), pool=number % 2)
            for number, key in enumerate(KEYS)
        ),
    )


def key_sources() -> TableContents:
    """A key from a header, else the subdomain, else the path; without one, the slot of the client's address."""
    return TableContents(
        epoch=5,
        fleet=Fleet(
            "vectors",
            key_sources=(
                KeySource.trusted_header("x-org"),
                KeySource(KeySourceKind.SUBDOMAIN, "example.com"),
                KeySource(KeySourceKind.PATH, "/t/"),
                KeySource.trusted_header("x-tenant-id"),
            ),
            missing_key=MissingKey.SOURCE_HASH,
        ),
        cells=tuple(Cell(f"cell-{number}", "127.0.0.1", 8000 + number) for number in range(1, 6)),
        pools=(PoolSlots("default", StrategyName.RENDEZVOUS, [slot * 7 % 5 for slot in range(SLOT_COUNT)]),),
        shards=((0, 1), (1, 2), (2, 3), (3, 4), (4, 0)),
        tenants=TenantColumns.of((TenantEntry(b"tenant-001", 2), TenantEntry(b"tenant-002", 0))),
    )


COOKIE_KEYS = """# the first signs
2026-11 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8
2026-10 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8
"""
KEYRING = Keyring.parse(COOKIE_KEYS)
NOW = 1_800_000_000
LATER, BEFORE = 4_000_000_000, 1_000_000_000
"""When cookies expire: both on the same side of NOW as of any day on which a test runs."""


def verified() -> TableContents:
    """A key from a claim, else a signed cookie, else a header that something in front sets; without one, 401."""
    issuer = JwtProvider("id", "https://id.example", ("shop",), jwks_file="/etc/cellplane/jwks.json", cookie="session")
    return TableContents(
        epoch=23,
        fleet=Fleet(
            "vectors",
            key_sources=(
                KeySource(KeySourceKind.JWT_CLAIM, "org.id"),
                KeySource(KeySourceKind.COOKIE, "route"),
                KeySource.trusted_header("x-org"),
            ),
            jwt=(issuer,),
        ),
        cells=tuple(Cell(f"cell-{number}", "127.0.0.1", 8000 + number) for number in range(1, 6)),
        pools=(PoolSlots("default", StrategyName.RENDEZVOUS, [slot * 3 % 5 for slot in range(SLOT_COUNT)]),),
        shards=((0, 1), (1, 2), (2, 3), (3, 4), (4, 0)),
        tenants=TenantColumns.of((TenantEntry(b"tenant-001", 2), TenantEntry(b"tenant-002", 0))),
    )


def no_slots() -> TableContents:
    """The default pool has no slots; unknown tenants and requests without a key go to the default cell."""
    return TableContents(
        epoch=9,
        fleet=Fleet(
            "vectors",
            default_pool="explicit",
            unknown_tenant=UnknownTenant.DEFAULT_CELL,
            missing_key=MissingKey.DEFAULT_CELL,
            default_cell="cell-3",
        ),
        cells=tuple(Cell(f"cell-{number}", "127.0.0.1", 8000 + number) for number in range(1, 4)),
        pools=(
            PoolSlots("explicit", StrategyName.EXPLICIT, None),
            PoolSlots("shuffled", StrategyName.SHUFFLE, [slot % 2 for slot in range(SLOT_COUNT)]),
        ),
        shards=((0, 1), (1, 0), (2,)),
        tenants=TenantColumns.of(
            (
                TenantEntry(b"tenant-001", 0),
                TenantEntry(b"tenant-002", None),
                TenantEntry(b"tenant-003", None, pool=1),
                TenantEntry(b"tenant-004", 2, pool=1, state=TenantState.MOVING),
            )
        ),
        default_shard=2,
    )


CANARY, CELL_1, CELL_2, CELL_3, CELL_4, SHADOW, STANDBY = range(7)
"""Cells of the table ``policies``, in its order."""


QUARANTINED = {b"away-standby": 2, b"away-cache": 3, b"away-redirect": 9, b"away-shadow": 10}
"""Tenants in quarantine, in a pool of which the lowest chances go to a canary, and the policy of each."""

COPIED_READS = b"copied-reads"
"""The tenant of which what reads is copied, and what writes is not."""


def policies() -> TableContents:
    """A policy for each tenant; canaries by tenant and by request; limits that three routers share."""
    rows = (
        PolicyRow(),
        PolicyRow(writes=Writes.FAIL),
        PolicyRow(reads=Reads.STANDBY, standby=STANDBY),
        PolicyRow(reads=Reads.CACHE, rps_milli=500_000, burst_ms=2_500, cache_s=1),
        PolicyRow(writes=Writes.FAIL, reads=Reads.FAIL),
        PolicyRow(balance=Balance.ROUND_ROBIN, writes=Writes.FAIL),
        PolicyRow(balance=Balance.ROUND_ROBIN, reads=Reads.STANDBY, standby=STANDBY),
        PolicyRow(balance=Balance.LEAST_LOADED),
        PolicyRow(balance=Balance.LEAST_LOADED, reads=Reads.CACHE, cache_s=3_600),
        PolicyRow(mode=Mode.REDIRECT),
        PolicyRow(shadow=SHADOW, priority=Priority.HIGH, compare_bp=2_500, ignored="/at\n/items/*/id"),
        PolicyRow(mode=Mode.REDIRECT, reads=Reads.CACHE, shadow=SHADOW, cache_s=604_800),
        PolicyRow(rps_milli=1, burst_ms=3_600_000),
        PolicyRow(shadow=SHADOW, compare_bp=5_000, copies=Copies.READS),
    )
    pair = 1
    entries = (
        TenantEntry(b"tenant-001", pair, 2, policy=1),
        TenantEntry(b"tenant-002", pair, 2, policy=2),
        TenantEntry(b"tenant-003", pair, 2, policy=3),
        TenantEntry(b"tenant-004", pair, 2, policy=4),
        TenantEntry(b"tenant-005", pair, 2, policy=5),
        TenantEntry(b"tenant-006", 2, 2, policy=6),
        TenantEntry(b"tenant-007", 2, 2, policy=7),
        TenantEntry(b"tenant-008", 3, 2, policy=8),
        TenantEntry(b"tenant-009", 4, 2, policy=9),
        TenantEntry(b"tenant-010", 5, 2, policy=1),
        TenantEntry(b"tenant-011", 6, 2, policy=2),
        TenantEntry(b"tenant-012", 7, 2, policy=2),
        TenantEntry(b"tenant-013", 7, 2, policy=10),
        TenantEntry(b"tenant-014", pair, 2, policy=10),
        TenantEntry(b"tenant-015", 8, 2, policy=10),
        TenantEntry(b"tenant-016", None, 0),
        TenantEntry(b"tenant-017", None, 1, policy=4),
        TenantEntry(b"tenant-018", pair, 3),
        TenantEntry(b"tenant-019", 9, 2, policy=11),
        TenantEntry(b"tenant-020", pair, 2, TenantState.MOVING, policy=9),
        *(TenantEntry(key, pair, 0, TenantState.QUARANTINED, policy) for key, policy in QUARANTINED.items()),
        TenantEntry(b"away-by-slot", None, 0, TenantState.QUARANTINED, policy=2),
        TenantEntry(COPIED_READS, pair, 2, policy=13),
    )
    slots = [slot % 2 for slot in range(SLOT_COUNT)]
    return TableContents(
        epoch=31,
        fleet=Fleet(
            "vectors", default_pool="by-tenant", missing_key=MissingKey.SOURCE_HASH, retry_after_seconds=3, routers=3
        ),
        cells=(
            Cell("canary", "127.0.0.1", 8001, jurisdiction="eu"),
            Cell(
                "cell-1",
                "127.0.0.1",
                8002,
                jurisdiction="eu",
                capacity=Capacity(rps=1_000, concurrency=100),
                public_url="https://cell-1.example.com",
            ),
            Cell("cell-2", "127.0.0.1", 8003, jurisdiction="eu", public_url="https://cell-2.example.com:8443/eu"),
            Cell(
                "cell-3",
                "127.0.0.1",
                8004,
                jurisdiction="eu",
                status=CellStatus.MAINTENANCE,
                maintenance_page='Back at 6:00.\n"Zürich" moves house.',
            ),
            Cell("cell-4", "127.0.0.1", 8005, jurisdiction="us", capacity=Capacity(rps=1e9, concurrency=1)),
            Cell("shadow", "127.0.0.1", 8006, jurisdiction="eu"),
            Cell("standby", "127.0.0.1", 8007, jurisdiction="eu"),
        ),
        pools=(
            PoolSlots("by-request", StrategyName.RING, slots, 12, CanaryRow(CANARY, 2_500, CanaryBy.REQUEST)),
            PoolSlots("by-tenant", StrategyName.RING, slots, 0, CanaryRow(CANARY, 5_000)),
            PoolSlots("plain", StrategyName.EXPLICIT, None),
            PoolSlots("redirecting", StrategyName.EXPLICIT, None, 9, CanaryRow(CELL_2, 10_000, CanaryBy.REQUEST)),
        ),
        shards=(
            (CELL_2, CELL_1),
            (CELL_1, CELL_2),
            (CANARY, CELL_1, CELL_2),
            (CELL_2, CELL_3, CELL_1),
            (CELL_1, CELL_3),
            (CELL_3, CELL_1),
            (CELL_3,),
            (CELL_4,),
            (SHADOW, CELL_1),
            (CANARY, CELL_2),
        ),
        tenants=TenantColumns.of(entries),
        policies=rows,
    )


def policies_changed(base: RoutingTable) -> OverlayContents:
    """Tenants of ``policies`` with policies of other tenants, and of pools, in an overlay."""
    return OverlayContents(
        epoch=base.epoch + 1,
        base_epoch=base.epoch,
        base_sha256=base.sha256,
        shards=((CELL_1, CELL_2),),
        tenants=TenantColumns.of(
            (
                TenantEntry(b"tenant-001", 0, 2, policy=4),
                TenantEntry(b"tenant-002", 0, 2),
                TenantEntry(b"tenant-003", None, 1, policy=12),
                TenantEntry(b"tenant-016", 0, 3),
            )
        ),
    )


def open_to_all() -> TableContents:
    """Who has no key, or an unknown one, is sent to the public URL of the default cell, whatever is asked."""
    return TableContents(
        epoch=3,
        fleet=Fleet(
            "vectors",
            unknown_tenant=UnknownTenant.DEFAULT_CELL,
            missing_key=MissingKey.DEFAULT_CELL,
            default_cell="cell-1",
            fail_open=FailOpen.ALL,
        ),
        cells=(
            Cell("cell-1", "127.0.0.1", 8001, public_url="http://127.0.0.1:8001"),
            Cell("cell-2", "127.0.0.1", 8002),
        ),
        pools=(PoolSlots("default", StrategyName.EXPLICIT, None, canary=CanaryRow(1, 10_000)),),
        shards=((0,), (1,)),
        tenants=TenantColumns.of((TenantEntry(b"tenant-001", 0), TenantEntry(b"tenant-002", None))),
        default_shard=0,
        policies=(PolicyRow(mode=Mode.REDIRECT, reads=Reads.STANDBY, standby=1),),
    )


def changes(base: RoutingTable) -> OverlayContents:
    """What has become of some tenants of one-pool: pinned elsewhere, unpinned, in another state, new, gone."""
    entries = TenantColumns.of(
        (
            TenantEntry(b"tenant-001", 0),
            TenantEntry(b"tenant-002", None),
            TenantEntry(b"tenant-003", 1, state=TenantState.MOVING),
            TenantEntry(b"tenant-004", None),
            TenantEntry(b"tenant-006", 1),
            TenantEntry(b"tenant-007", None, state=TenantState.SUSPENDED),
            TenantEntry(b"tenant-020", None),
        )
    )
    gone = np.array([entry in {3, 6} for entry in range(len(entries))])
    return OverlayContents(
        epoch=base.epoch + 6,
        base_epoch=base.epoch,
        base_sha256=base.sha256,
        shards=((1, 0), (2, 1, 0)),
        tenants=entries.with_state(layout.GONE, gone),
    )


def expectation(decision: Decision) -> dict[str, Any]:
    """The JSON of a decision, without what the file as a whole says."""
    if isinstance(decision, Route | Redirect):
        is_route = isinstance(decision, Route)
        way = {
            "outcome": "route" if is_route else "redirect",
            "status": None if is_route else 307,
            "cell": decision.cell,
            "location": decision.location if isinstance(decision, Redirect) else None,
            "pool": decision.pool,
            "slot": decision.slot,
            "reason": decision.reason,
            "canary": decision.canary or None,
            "stale": (isinstance(decision, Route) and decision.stale) or None,
            "shadow": decision.shadow if isinstance(decision, Route) else None,
            "compares": (isinstance(decision, Route) and decision.compares) or None,
        }
        return {name: value for name, value in way.items() if value is not None}
    refusal = {"outcome": "refuse", "status": int(decision.code.status), "code": decision.code.code}
    return refusal if decision.cell is None else {**refusal, "cell": decision.cell}


def all_but(down: Container[str]) -> Callable[[str], bool]:
    """Every cell but these has a healthy host."""
    return lambda cell: cell not in down


@dataclass(frozen=True)
class Question:
    """A request, which cells are down, and what else the router knows."""

    name: str
    values: tuple[bytes, ...] = ()
    authority: str = "shop.example"
    path: str = "/x"
    source: str = "192.0.2.1"
    writes: bool = False
    down: tuple[str, ...] = ()
    claims: tuple[bytes, ...] = ()
    cookies: tuple[str, ...] = ()
    turn: int = 0
    load: tuple[tuple[str, int], ...] = ()
    chance: int = 0

    def key(self, table: RoutingTable) -> bytes | None:
        """The value that the request has for a key."""
        return key_value(table.key_sources, self._request(table))

    def decide(self, table: RoutingTable) -> Decision:
        """What the reference says."""
        return decide_request(
            table,
            self._request(table),
            writes=self.writes,
            has_healthy_host=all_but(self.down),
            source=self.source.encode(),
            turn=self.turn,
            load=lambda cell: dict(self.load).get(cell, 0),
            chance=self.chance,
        )

    def known(self) -> Mapping[str, Any]:
        """What the router knows, as members of a case; what is 0 is left out."""
        members = {"turn": self.turn, "load": dict(self.load), "chance": self.chance}
        return {name: value for name, value in members.items() if value}

    def _request(self, table: RoutingTable) -> RequestKeys:
        named = {kind: next((s.name for s in table.key_sources if s.kind is kind), None) for kind in KeySourceKind}
        headers = [cookie.encode() for cookie in self.cookies]
        return RequestKeys(
            lambda name: self.values if name == named[KeySourceKind.HEADER] else (),
            self.authority.encode(),
            self.path.encode(),
            claim=lambda name: self.claims if name == named[KeySourceKind.JWT_CLAIM] else (),
            cookie=lambda name: KEYRING.tenants(name, headers, now=NOW),
        )


def question_of(case: dict[str, Any]) -> Question:
    """The question of a case."""
    return Question(
        case["name"],
        tuple(bytes.fromhex(value) for value in case["key_values_hex"]),
        case["authority"],
        case["path"],
        case["source"],
        case["writes"],
        tuple(case["down"]),
        tuple(bytes.fromhex(value) for value in case["claims_hex"]),
        tuple(case["cookies"]),
        case.get("turn", 0),
        tuple(case.get("load", {}).items()),
        case.get("chance", 0),
    )


def _common(table: RoutingTable) -> Iterable[Question]:
    ids = [cell.id for cell in table.cells]
    for key in KEYS:
        for writes in (False, True):
            yield Question(f"{key.decode()} {'writes' if writes else 'reads'}", (key,), writes=writes)
    for key in KEYS[:12]:
        for down in (ids[:1], ids[:2], ids[2:], ids):
            yield Question(f"{key.decode()} while {', '.join(down)} are down", (key,), down=tuple(down))
    for key in ODD_KEYS:
        yield Question(f"key {key[:24]!r} of {len(key)} bytes", (key,))
    yield Question("no key")
    yield Question("no key, of another client", source="198.51.100.7")
    yield Question("no key, of a client with IPv6", source="2001:db8::1")
    yield Question("no key, while all cells are down", down=tuple(ids))
    yield Question("two keys", (KEYS[0], KEYS[1]))
    yield Question("the same key twice", (KEYS[0], KEYS[0]), writes=True)


def _sources() -> Iterable[Question]:
    for authority in HOSTS:
        yield Question(f"host {authority!r}", authority=authority)
    for path in PATHS:
        yield Question(f"path {path!r}", path=path)
    host, path = "tenant-002.example.com", "/t/tenant-003"
    yield Question("a header counts before the host and the path", (KEYS[0],), host, path)
    yield Question("a host counts before the path", (), host, path)
    yield Question("an empty header is none", (b"",), host)
    yield Question("a header twice, and a host", (KEYS[0], KEYS[0]), host)
    yield Question("an invalid header is not passed over", (b"a/b",), host)


def _proofs() -> Iterable[Question]:
    old = replace(KEYRING, signing_key="2026-10")
    first = "route=" + KEYRING.sign("route", "tenant-001", expires=LATER)
    second = "route=" + old.sign("route", "tenant-002", expires=LATER)
    expired = "route=" + KEYRING.sign("route", "tenant-001", expires=BEFORE)
    yield Question("a claim", claims=(KEYS[0],))
    yield Question("a claim, and a cookie of another tenant", claims=(KEYS[4],), cookies=(first,))
    yield Question("a claim in two tokens", claims=(KEYS[0], KEYS[0]), cookies=(first,))
    yield Question("a claim that is no key", claims=(b"a/b",), cookies=(first,))
    yield Question("an empty claim, and a cookie", claims=(b"",), cookies=(first,))
    yield Question("a cookie", cookies=(first,))
    yield Question("a cookie counts before the header", (KEYS[6],), cookies=(first,))
    yield Question("a cookie of the older key, among others", cookies=(f"a=b; {second};c=d",))
    yield Question("an expired cookie", cookies=(expired,))
    yield Question("an expired cookie, and a header", (KEYS[6],), cookies=(expired,))
    yield Question("the same cookie twice", cookies=(f"{first}; {first}",))
    yield Question("two cookies of different tenants", cookies=(f"{first}; {second}",))
    yield Question("a cookie of another name", cookies=(first.replace("route=", "other="),))
    yield Question("a name that only ends alike", cookies=(first.replace("route=", "xroute="),))
    yield Question("a cookie of an unknown key", cookies=(first.replace(".2026-11.", ".2026-09."),))
    yield Question("a cookie that was signed for an earlier time", cookies=(first.replace(str(LATER), str(LATER + 1)),))
    yield Question("a cookie of another tenant's signature", cookies=(first.replace("tenant-001", "tenant-003"),))
    yield Question("a cookie without its signature", cookies=("route=tenant-001",))
    yield Question("a cookie in quotes", cookies=(first.replace("cp1", '"cp1') + '"',))
    yield Question("no key but an invalid cookie, and writes", cookies=("route=cp1....",), writes=True)
    yield Question("a signed key that is no key", cookies=("route=" + KEYRING.sign("route", "a/b", expires=LATER),))
    yield Question("forged cookies in front of a valid one", cookies=("route=x; route=y; " + first,))
    yield Question("too many forged cookies in front", cookies=("route=x; " * 4 + first,))


def _policies() -> Iterable[Question]:
    downs = {
        "cell-1 is down": ("cell-1",),
        "cell-2 is down": ("cell-2",),
        "all cells of the shards are down": ("cell-1", "cell-2", "cell-4", "canary", "shadow"),
        "all but the standby's shard are down": ("cell-1", "cell-2", "standby"),
    }
    for key in KEYS:
        for while_, down in downs.items():
            for writes in (False, True):
                what = f"{key.decode()} {'writes' if writes else 'reads'} while {while_}"
                yield Question(what, (key,), writes=writes, down=down)
    for key in (KEYS[4], KEYS[5]):
        for turn in (1, 2, 3, 2**32 + 1):
            yield Question(f"{key.decode()}, turn {turn}", (key,), turn=turn)
            yield Question(f"{key.decode()}, turn {turn}, cell-2 down", (key,), turn=turn, down=("cell-2",))
            yield Question(f"{key.decode()} writes, turn {turn}", (key,), turn=turn, writes=True, down=("cell-1",))
    loads = ((("cell-1", 3),), (("cell-2", 9), ("canary", 9), ("cell-1", 8)), (("cell-1", 2**40), ("canary", 1)))
    for key in (KEYS[6], KEYS[7]):
        for load in loads:
            yield Question(f"{key.decode()}, load {load}", (key,), load=load)
            yield Question(f"{key.decode()}, load {load}, cell-1 down", (key,), load=load, down=("cell-1",))
    for key in (KEYS[15], KEYS[16], KEYS[17]):
        for chance in (1, 2_499, 2_500, 9_999):
            yield Question(f"{key.decode()}, chance {chance}", (key,), chance=chance)
            yield Question(f"{key.decode()}, chance {chance}, canary down", (key,), chance=chance, down=("canary",))
    for key in (*QUARANTINED, b"away-by-slot"):
        for while_, down in {"all is well": (), **downs}.items():
            for writes in (False, True):
                what = f"{key.decode()} {'writes' if writes else 'reads'} while {while_}"
                yield Question(what, (key,), writes=writes, down=down)
    for chance in (2_499, 2_500, 9_999):
        yield Question(f"{KEYS[13].decode()}, chance {chance}", (KEYS[13],), chance=chance)
        yield Question(
            f"{KEYS[13].decode()}, chance {chance}, shadow down", (KEYS[13],), chance=chance, down=("shadow",)
        )
    for writes in (False, True):
        what = f"{COPIED_READS.decode()} {'writes' if writes else 'reads'}"
        for chance in (4_999, 5_000):
            yield Question(f"{what}, chance {chance}", (COPIED_READS,), writes=writes, chance=chance)
        yield Question(f"{what}, shadow down", (COPIED_READS,), writes=writes, down=("shadow",))
    for number in range(40):
        yield Question(f"the canary's hash of stranger-{number}", (b"stranger-%d" % number,))
    yield Question("no key, and writes", writes=True)
    yield Question("no key, while the canary is down", down=("canary",))
    for number in range(8):
        yield Question(f"the canary's hash of client {number}", source=f"192.0.2.{number}")


def _without_keys() -> Iterable[Question]:
    for key in ((), (b"stranger",)):
        for writes in (False, True):
            for down in ((), ("cell-1",), ("cell-2",), ("cell-1", "cell-2")):
                what = f"{'an unknown key' if key else 'no key'}, {'writes' if writes else 'reads'}, {down} down"
                yield Question(what, key, writes=writes, down=down)


def _write_table(
    name: str,
    description: str,
    contents: TableContents,
    overlay: Callable[[RoutingTable], OverlayContents] | None = None,
    extra: Iterable[Question] = (),
) -> None:
    table = RoutingTable(encode(contents))
    files = {"table": f"{name}.cpt"}
    (VECTORS / f"{name}.cpt").write_bytes(encode(contents))
    if overlay is not None:
        data = encode_overlay(overlay(table))
        (VECTORS / f"{name}-overlay.cpt").write_bytes(data)
        table = RoutingTable(table.base, data)
        files["overlay"] = f"{name}-overlay.cpt"
    cases = [
        {
            "name": question.name,
            "key_values_hex": [value.hex() for value in question.values],
            "authority": question.authority,
            "path": question.path,
            "source": question.source,
            "writes": question.writes,
            "down": list(question.down),
            "claims_hex": [value.hex() for value in question.claims],
            "cookies": list(question.cookies),
            **question.known(),
            "expect": expectation(question.decide(table)),
        }
        for question in (*_common(table), *extra)
    ]
    _write_json(
        name,
        {
            "description": description,
            **files,
            "epoch": table.epoch,
            "key_sources": [{"kind": source.kind.value, "name": source.name} for source in table.key_sources],
            "retry_after_s": table.retry_after_seconds,
            "cookie_keys": COOKIE_KEYS,
            "now": NOW,
            "slots": {key.decode(): slot_of(key) for key in KEYS},
            "cases": cases,
        },
    )


def _sections(data: bytes) -> dict[Section, tuple[int, int, int]]:
    """Of each section: offset of its entry in the directory, its own, and its length."""
    sections: dict[Section, tuple[int, int, int]] = {}
    count = int.from_bytes(data[40:44], "little")
    for place in range(count):
        entry = HEADER_SIZE + place * SECTION.size
        kind, _, offset, length, _, _ = SECTION.unpack_from(data, entry)
        sections[Section(kind)] = (entry, offset, length)
    return sections


def case(
    name: str, *patch: tuple[int, str], truncate: int | None = None, append: str = "", fix: bool = True
) -> dict[str, Any]:
    """A way to break a file."""
    return {
        "name": name,
        "patch": [list(edit) for edit in patch],
        "truncate": truncate,
        "append_hex": append,
        "fix_checksum": fix,
    }


def _broken_sections(data: bytes) -> list[dict[str, Any]]:
    cases = []
    for section, (entry, offset, length) in _sections(data).items():
        name = section.name
        cases += [
            case(f"{name}: one byte flipped", (offset, f"{data[offset] ^ 0x5A:02x}"), fix=False),
            case(f"{name}: file truncated inside", truncate=offset + length // 2, fix=False),
            case(
                f"{name}: file truncated inside, length and checksum mended",
                (32, (offset + length // 2).to_bytes(8, "little").hex()),
                truncate=offset + length // 2,
            ),
            case(f"{name}: offset outside", (entry + 8, "ffffffffffffff7f")),
            case(f"{name}: offset not aligned", (entry + 8, f"{(offset + 1) & 0xFF:02x}")),
            case(f"{name}: length and count disagree", (entry + 24 + 4, "ffffff00")),
            case(f"{name}: entry size 0", (entry + 24 - 8 + 8, "00000000")),
            case(f"{name}: unknown critical type", (entry, "6300000001000000")),
        ]
    return cases


def _write_broken(base: str) -> None:
    data = (VECTORS / f"{base}.cpt").read_bytes()
    sections = _sections(data)

    def at(section: Section, inside: int = 0) -> int:
        return sections[section][1] + inside

    cases = [
        case("empty", truncate=0),
        case("half a header", truncate=64),
        case("foreign magic", (0, "7f454c46")),
        case("text-mode transfer", (4, "0a1a0a0a")),
        case("next major version", (8, "0200")),
        case("an overlay", (12, "02000000")),
        case("epoch 0", (16, "0000000000000000")),
        case("a base epoch in a base", (24, "0100000000000000")),
        case("a base checksum in a base", (48, "01")),
        case("too many sections", (40, "41000000")),
        case("fewer sections", (40, "08000000")),
        case("bytes behind the end", append="00", fix=False),
        case("bytes behind the end, checksum mended", append="00"),
        case("the length of another file", (32, "00"), append="00"),
        case("checksum wrong", (96, "00000000"), fix=False),
    ]
    cases += _broken_sections(data)
    strings_at = sections[Section.STRINGS][1].to_bytes(8, "little").hex()
    cases += [
        case("sections overlap", (sections[Section.FLEET][0] + 8, strings_at)),
        case("fleet: name is not UTF-8", (at(Section.STRINGS), "ff" * sections[Section.STRINGS][2])),
        case("fleet: default pool out of range", (at(Section.FLEET, 16), "0700")),
        case("fleet: unknown_tenant out of range", (at(Section.FLEET, 18), "09")),
        case("fleet: missing_key out of range", (at(Section.FLEET, 19), "03")),
        case("fleet: a default shard without a policy for it", (at(Section.FLEET, 24), "00000000")),
        case("fleet: a policy without its default shard", (at(Section.FLEET, 18), "02")),
        case("fleet: default shard out of range", (at(Section.FLEET, 18), "02"), (at(Section.FLEET, 24), "07000000")),
        case("fleet: policy out of range", (at(Section.FLEET, 28), "0100")),
        case("fleet: fail_open out of range", (at(Section.FLEET, 30), "02")),
        case("key source: name outside of STRINGS", (at(Section.KEY_SOURCES), "ffffff7f")),
        case("key source: name empty", (at(Section.KEY_SOURCES, 4), "00000000")),
        case("key source: unknown kind", (at(Section.KEY_SOURCES, 8), "06")),
        case("key source: a header's name for a path", (at(Section.KEY_SOURCES, 8), "03")),
        case("cell: id outside of STRINGS", (at(Section.CELLS), "ffffffff")),
        case("cell: id empty", (at(Section.CELLS, 4), "00000000")),
        case("cell: id is no name", (at(Section.CELLS, 4), "09000000")),
        case("cell: port 0", (at(Section.CELLS, 32), "0000")),
        case("cell: unknown status", (at(Section.CELLS, 34), "06")),
        case("cell: public_url outside of STRINGS", (at(Section.CELLS, 48), "00000000ffffffff")),
        case("cell: public_url is no URL", (at(Section.CELLS, 48), "0000000005000000")),
        case("cell: maintenance_page outside of STRINGS", (at(Section.CELLS, 56), "ffffffff01000000")),
        case("pool: policy out of range", (at(Section.POOLS, 14), "0100")),
        case("pool: canary out of range", (at(Section.POOLS, 16), "0900")),
        case("pool: more than all to the canary", (at(Section.POOLS, 16), "00001127")),
        case("pool: canary_by out of range", (at(Section.POOLS, 16), "0000000002")),
        case("pool: a part for no canary", (at(Section.POOLS, 18), "0100")),
        case("pool: by request to no canary", (at(Section.POOLS, 20), "01")),
        case(
            "policies: none", (sections[Section.POLICIES][0] + 16, "00" * 8), (sections[Section.POLICIES][0] + 28, "00")
        ),
        case("policy: writes out of range", (at(Section.POLICIES), "02")),
        case("policy: reads out of range", (at(Section.POLICIES, 1), "04")),
        case("policy: balance out of range", (at(Section.POLICIES, 2), "03")),
        case("policy: mode out of range", (at(Section.POLICIES, 3), "02")),
        case("policy: priority out of range", (at(Section.POLICIES, 4), "02")),
        case("policy: standby out of range", (at(Section.POLICIES, 1), "01"), (at(Section.POLICIES, 6), "0900")),
        case("policy: no standby to read from", (at(Section.POLICIES, 1), "01")),
        case("policy: a standby that nothing reads from", (at(Section.POLICIES, 6), "0000")),
        case("policy: shadow out of range", (at(Section.POLICIES, 8), "0900")),
        case("policy: copies out of range", (at(Section.POLICIES, 5), "02"), (at(Section.POLICIES, 8), "0000")),
        case("policy: copies reads without a shadow", (at(Section.POLICIES, 5), "01")),
        case("policy: compares without a shadow", (at(Section.POLICIES, 10), "0100")),
        case("policy: compares more than all", (at(Section.POLICIES, 8), "00001127")),
        case("policy: ignored outside of STRINGS", (at(Section.POLICIES, 20), "ffffffff01000000")),
        case("policy: no burst", (at(Section.POLICIES, 16), "00000000")),
        case("policy: a burst of more than an hour", (at(Section.POLICIES, 16), "81ee3600")),
        case("policy: reads from what nobody keeps", (at(Section.POLICIES, 1), "02")),
        case(
            "policy: reads what is older than a week",
            (at(Section.POLICIES, 1), "02"),
            (at(Section.POLICIES, 28), "813a0900"),
        ),
        case("policy: keeps what nobody reads", (at(Section.POLICIES, 28), "01000000")),
        case("pool: slots outside", (at(Section.POOLS, 8), "feffffff")),
        case(
            "pool: none where a missing key needs slots",
            (at(Section.POOLS, 32 + 8), "ffffffff"),
            (at(Section.FLEET, 19), "02"),
        ),
        case("slot: shard out of range", (at(Section.SLOTS, 4), "07000000")),
        case("shard: cell out of range", (at(Section.SHARDS), "0900")),
        case("shard: empty", (at(Section.SHARDS), "ff" * 16)),
        case("shard: gap", (at(Section.SHARDS), "ffff")),
        case("shard: a cell twice", (at(Section.SHARDS), "01000100")),
        case("tenant: hash is not the key's", (at(Section.TENANTS), "00000000")),
        case("tenant: key outside of STRINGS", (at(Section.TENANTS, 4), "ffffffff")),
        case("tenant: shard out of range", (at(Section.TENANTS, 8), "07000000")),
        case("tenant: key of length 0", (at(Section.TENANTS, 12), "00")),
        case("tenant: pool out of range", (at(Section.TENANTS, 13), "02")),
        case("tenant: unknown state", (at(Section.TENANTS, 14), "04")),
        case("tenant: policy out of range", (at(Section.TENANTS, 15), "01")),
        case(
            "tenants: out of order",
            (at(Section.TENANTS), data[at(Section.TENANTS, 16) : at(Section.TENANTS, 32)].hex()),
            (at(Section.TENANTS, 16), data[at(Section.TENANTS) : at(Section.TENANTS, 16)].hex()),
        ),
        case(
            "tenants: one stands twice",
            (at(Section.TENANTS, 16), data[at(Section.TENANTS) : at(Section.TENANTS, 16)].hex()),
        ),
        case("index: does not begin at 0", (at(Section.TENANT_INDEX), "01000000")),
        case("index: descends", (at(Section.TENANT_INDEX, 4), "13000000")),
        case("index: runs too far", (at(Section.TENANT_INDEX, sections[Section.TENANT_INDEX][2] - 4), "ffffffff")),
    ]
    _write_json(
        "broken",
        {
            "description": "Each is base, patched, cut or extended; its checksum mended where fix_checksum says so. "
            "Every reader refuses all of them.",
            "base": f"{base}.cpt",
            "cases": cases,
        },
    )


def _write_broken_policies(base: str) -> None:
    data = (VECTORS / f"{base}.cpt").read_bytes()
    url, page = data.index(b"https://cell-1.example.com"), data.index(b"Back at 6:00.")
    last = url + len(b"https://cell-1.example.com") - 1
    cases = [
        case("public_url: another scheme", (url, b"shtp:".hex())),
        case("public_url: a space", (last, b" ".hex())),
        case("public_url: the end of a line", (last - 3, b"\r\n".hex())),
        case("public_url: not ASCII", (last - 3, "ü".encode().hex())),
        case("public_url: a slash at its end", (last, b"/".hex())),
        case("public_url: no host", (url + len(b"https://"), b"/".hex())),
        case("maintenance_page: a control character", (page, "07")),
        case("maintenance_page: DEL", (page, "7f")),
        case("maintenance_page: a carriage return", (page, "0d")),
        case("maintenance_page: not UTF-8", (page, "ff")),
    ]
    _write_json(
        f"broken-{base}",
        {
            "description": "Each is base, patched, its checksum mended. Every reader refuses all of them.",
            "base": f"{base}.cpt",
            "cases": cases,
        },
    )


def _write_broken_overlay(base: str, overlay: str) -> None:
    data = (VECTORS / f"{overlay}.cpt").read_bytes()
    sections = _sections(data)

    def at(section: Section, inside: int = 0) -> int:
        return sections[section][1] + inside

    cases = [
        case("empty", truncate=0),
        case("a base", (12, "01000000")),
        case("epoch of its base", (16, data[24:32].hex())),
        case("epoch before its base", (16, "01" + "00" * 7)),
        case("no base", (24, "00" * 8), (48, "00" * 32)),
        case("another base's epoch", (24, "10" + "00" * 7)),
        case("another base's checksum", (48, "00")),
        case("checksum wrong", (96, "00000000"), fix=False),
        case("fewer sections", (40, "03000000")),
        *_broken_sections(data),
        case("shard: cell of no base", (at(Section.SHARDS), "0300")),
        case("shard: a cell twice", (at(Section.SHARDS), "01000100")),
        case("tenant: shard out of range", (at(Section.TENANTS, 8), "02000000")),
        case("tenant: pool of no base", (at(Section.TENANTS, 13), "01")),
        case("tenant: unknown state", (at(Section.TENANTS, 14), "fe")),
        case("tenant: policy of no base", (at(Section.TENANTS, 15), "01")),
        case("tenant: gone, with a shard", (at(Section.TENANTS, 8), "000000000a00ff")),
        case("index: runs too far", (at(Section.TENANT_INDEX, sections[Section.TENANT_INDEX][2] - 4), "ffffffff")),
    ]
    _write_json(
        "broken-overlay",
        {
            "description": "Each is overlay, patched, cut or extended; its checksum mended where fix_checksum says so. "
            "Every reader refuses all of them with this base.",
            "base": f"{base}.cpt",
            "overlay": f"{overlay}.cpt",
            "cases": cases,
        },
    )


PROVEN = [
    ("a request", "cell-3", "812", "acme", "GET", "/orders"),
    ("a query", "cell-3", "812", "acme", "POST", "/orders?page=2&q=%2F?"),
    ("an empty query", "cell-3", "812", "acme", "GET", "/orders?"),
    ("an escaped path", "cell-3", "812", "acme", "GET", "/a%20b%2fc%C3%A4"),
    ("what is no escape", "cell-3", "812", "acme", "GET", "/%zz%4%"),
    ("an escaped newline", "cell-3", "812", "acme", "GET", "/a%0Ab"),
    ("no tenant", "cell-3", "1", "", "HEAD", "/"),
    ("the longest names", "c" * 128, "9" * 20, "t" * 128, "PROPFIND", "*"),
]


def _write_proofs() -> None:
    keys = parse_keys(PROOF_KEYS)
    cases = []
    for name, cell, epoch, tenant, method, path in PROVEN:
        routing = Routing(cell.encode(), epoch.encode(), tenant.encode(), b"")
        before, _, query = path.partition("?")
        line = RequestLine(method.encode(), decoded(before.encode()), query.encode())
        proof = sign(keys, routing, line, NOW).decode()
        asked = {"cell": cell, "epoch_text": epoch, "tenant": tenant, "method": method, "path": path}
        cases.append({"name": name, **asked, "proof": proof})
    _write_json(
        "proofs",
        {
            "description": "What a router tells a cell to prove that it sent a request.",
            "proof_keys": PROOF_KEYS,
            "now": NOW,
            "cases": cases,
        },
    )


def _write_json(name: str, value: dict[str, Any]) -> None:
    (VECTORS / f"{name}.json").write_text(json.dumps(value, indent=1, ensure_ascii=True) + "\n")


def main() -> None:
    """Write all vectors."""
    VECTORS.mkdir(exist_ok=True)
    _write_table("one-pool", one_pool.__doc__ or "", one_pool())
    _write_table("two-pools", two_pools.__doc__ or "", two_pools())
    _write_table("key-sources", key_sources.__doc__ or "", key_sources(), extra=_sources())
    _write_table("verified", verified.__doc__ or "", verified(), extra=_proofs())
    _write_table("no-slots", no_slots.__doc__ or "", no_slots())
    _write_table("changed", changes.__doc__ or "", one_pool(), overlay=changes)
    _write_table("policies", policies.__doc__ or "", policies(), extra=_policies())
    _write_table("policies-changed", policies_changed.__doc__ or "", policies(), overlay=policies_changed)
    _write_table("open-to-all", open_to_all.__doc__ or "", open_to_all(), extra=_without_keys())
    _write_proofs()
    _write_broken("two-pools")
    _write_broken_policies("policies")
    _write_broken_overlay("changed", "changed-overlay")
    _write_json("manifests", manifests.vectors())


if __name__ == "__main__":
    main()
