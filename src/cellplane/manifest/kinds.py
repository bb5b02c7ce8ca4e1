"""The four kinds of resources, every field of each declared once.

What reads and writes files, what the API takes, the JSON Schema and the documentation all come from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from cellplane.manifest.health_fields import HEALTH, P99_OBJECTIVE
from cellplane.manifest.policy_fields import CANARY, POLICY
from cellplane.manifest.quarantine_fields import QUARANTINE
from cellplane.manifest.shapes import (
    NAME,
    Amended,
    Attributes,
    Choice,
    Field,
    Flag,
    ListOf,
    Number,
    Object,
    Part,
    Shape,
    Text,
    Whole,
    defaults_of,
)
from cellplane.manifest.tree import steps
from cellplane.model import (
    MAX_KEY_BYTES,
    Capacity,
    Cell,
    CellProtocol,
    CellStatus,
    Dimension,
    FailOpen,
    Fleet,
    JwtProvider,
    KeySource,
    KeySourceKind,
    MissingKey,
    Pool,
    Rule,
    StrategyName,
    Tenant,
    TenantState,
    UnknownTenant,
)
from cellplane.model.address import MAX_ADDRESS_CHARS
from cellplane.model.capacity import MAX_AMOUNT
from cellplane.model.cell import MAX_PAGE_CHARS
from cellplane.model.fleet import MAX_RETRY_AFTER_SECONDS, MAX_ROUTERS
from cellplane.model.jwt import (
    MAX_AUDIENCES,
    MAX_CLOCK_SKEW_SECONDS,
    MAX_COOKIE_CHARS,
    MAX_JWT_PROVIDERS,
    MAX_JWT_TEXT_CHARS,
)
from cellplane.model.key import check_key
from cellplane.model.key_source import MAX_KEY_SOURCES, MAX_SOURCE_CHARS
from cellplane.model.pool import MAX_SEED, MAX_SHARD_SIZE, MAX_VIRTUAL_NODES
from cellplane.model.rule import MAX_PATTERN_CHARS, MAX_RULES
from cellplane.model.tenant import MAX_ATTRIBUTE_CHARS, MAX_ATTRIBUTES
from cellplane.model.topology import MAX_CELLS
from cellplane.model.url import MAX_URL_CHARS

API_VERSION = "cellplane.dev/v1alpha1"
"""Version of the format. Alpha: a field may still change its name or meaning from one release to the next."""

Value: TypeAlias = Fleet | Cell | Pool | Tenant
"""What a resource is in the model."""

_ATTRIBUTES = Attributes(MAX_ATTRIBUTES, Text(MAX_ATTRIBUTE_CHARS))
_CAPACITY = Object(
    Capacity,
    (
        Field("tenants", "tenants", Whole(1, int(MAX_AMOUNT)), "Tenants."),
        Field("rps", "rps", Number(0, MAX_AMOUNT, exclusive=True), "Requests per second at peak."),
        Field("storageGib", "storage_gib", Number(0, MAX_AMOUNT, exclusive=True), "Stored data, GiB."),
        Field("concurrency", "concurrency", Whole(1, int(MAX_AMOUNT)), "Requests under way at once."),
    ),
)
_LOAD = Amended(
    defaults_of(Tenant)["load"],
    (
        Field("tenants", "tenants", Whole(0, int(MAX_AMOUNT)), "How many it counts as against a cell's tenants."),
        Field("rps", "rps", Number(0, MAX_AMOUNT), "Requests per second at peak."),
        Field("storageGib", "storage_gib", Number(0, MAX_AMOUNT), "Stored data, GiB."),
    ),
)

_MATCH = Part(
    (
        Field("tiers", "tiers", ListOf(NAME, 1, MAX_RULES), "One of these tiers."),
        Field("jurisdictions", "jurisdictions", ListOf(NAME, 1, MAX_RULES), "One of these jurisdictions."),
        Field(
            "idPattern",
            "id_pattern",
            Text(MAX_PATTERN_CHARS, pattern="^[ -~]+$"),
            "An id of this pattern: `*` stands for any characters, `?` for one, `[ab]` for one of these.",
        ),
        Field("attributes", "attributes", _ATTRIBUTES, "All of these attributes."),
    )
)
_RULE = Object(
    Rule,
    (
        Field("name", "name", NAME, "What explanations call it; unique in the fleet.", required=True),
        Field("pool", "pool", NAME, "The pool of the tenants that match.", required=True),
        Field("match", "", _MATCH, "Which tenants: those for whom everything named here holds.", required=True),
    ),
)
_KEY_SOURCE = Object(
    KeySource,
    (
        Field("kind", "kind", Choice(KeySourceKind), "What is read.", required=True),
        Field(
            "name",
            "name",
            Text(MAX_SOURCE_CHARS),
            "The header (lower case), cookie or claim; the domain above a `subdomain`; what a `path` begins with.",
            required=True,
        ),
        Field(
            "trusted",
            "trusted",
            Flag(),
            "That something in front of the router sets this header, and no client can; a `header` needs it.",
        ),
    ),
)
_URL = Text(MAX_JWT_TEXT_CHARS, pattern="^[!-~]+$")
_JWT = Object(
    JwtProvider,
    (
        Field("name", "name", NAME, "What explanations call it; unique in the fleet.", required=True),
        Field("issuer", "issuer", _URL, "What the claim `iss` of its tokens says.", required=True),
        Field(
            "audiences",
            "audiences",
            ListOf(_URL, 0, MAX_AUDIENCES),
            "One of these is in the claim `aud`. Not named: the claim does not count.",
        ),
        Field("jwksUrl", "jwks_url", _URL, "Where its public keys are fetched: `https`, or `http` on loopback."),
        Field(
            "jwksFile",
            "jwks_file",
            _URL,
            "Or the absolute path of its public keys on each router, looked at again when it changes.",
        ),
        Field(
            "cookie",
            "cookie",
            Text(MAX_COOKIE_CHARS, pattern="^[A-Za-z0-9._-]+$"),
            "A cookie that carries the token where no `Authorization: Bearer` does.",
        ),
        Field(
            "clockSkewSeconds",
            "clock_skew_seconds",
            Whole(1, MAX_CLOCK_SKEW_SECONDS),
            "How far its clock may be off, seconds.",
        ),
    ),
)


class Kind(Enum):
    """What a resource is; in the order in which they depend on each other."""

    FLEET = "Fleet"
    CELL = "Cell"
    POOL = "Pool"
    TENANT = "Tenant"


@dataclass(frozen=True, slots=True)
class Declared:
    """A kind, and everything that reads and writes it.

    Attributes:
        of: the dataclass of the model.
        name: its attribute that ``metadata.name`` is.
        name_shape: what that may be.
        collection: where a topology has it, as paths of the model's errors begin.
        about: what it is, one sentence.
        fields: those of its ``spec``.
    """

    of: type[Any]
    name: str
    name_shape: Shape
    collection: str
    about: str
    fields: tuple[Field, ...]


KINDS: Mapping[Kind, Declared] = {
    Kind.FLEET: Declared(
        Fleet,
        "name",
        NAME,
        "fleet",
        "One product's cells and its routing policy. There is one.",
        (
            Field(
                "keySources",
                "key_sources",
                ListOf(_KEY_SOURCE, 1, MAX_KEY_SOURCES),
                "Where a request's partition key stands; the first that has a value counts.",
                required=True,
            ),
            Field(
                "jwt",
                "jwt",
                ListOf(_JWT, 0, MAX_JWT_PROVIDERS),
                "Who signs the tokens whose claims are keys. A token of nobody here is refused with 401.",
            ),
            Field("defaultPool", "default_pool", NAME, "Pool of the tenants that nothing else places."),
            Field(
                "unknownTenant",
                "unknown_tenant",
                Choice(UnknownTenant),
                "What happens to a key that no Tenant has: `hash` places it by its slot in the default pool.",
            ),
            Field(
                "missingKey",
                "missing_key",
                Choice(MissingKey),
                "What happens to a request without a key; all but `reject` fail open.",
            ),
            Field("defaultCell", "default_cell", NAME, "The cell that `default-cell` means above; there only."),
            Field(
                "retryAfterSeconds",
                "retry_after_seconds",
                Whole(0, MAX_RETRY_AFTER_SECONDS),
                "Retry-After of every 503 that a router answers by itself, seconds.",
            ),
            Field(
                "rules",
                "rules",
                ListOf(_RULE, 0, MAX_RULES),
                "Which known tenants are in which pool; the first that matches counts, then `defaultPool`.",
            ),
            Field(
                "policy",
                "policy",
                POLICY,
                "What routers do with requests, where no pool and no tenant says otherwise.",
            ),
            Field(
                "failOpen",
                "fail_open",
                Choice(FailOpen),
                "Which requests without a key `missingKey` lets through, unless it is `reject`.",
            ),
            Field("routers", "routers", Whole(1, MAX_ROUTERS), "How many routers share the limits."),
            Field("health", "health", HEALTH, "By what routers judge cells, where it is not as usual."),
            Field("quarantine", "quarantine", QUARANTINE, "Where tenants go that make their cell ill for all others."),
        ),
    ),
    Kind.CELL: Declared(
        Cell,
        "id",
        NAME,
        "cells",
        "One complete isolated stack.",
        (
            Field(
                "address",
                "address",
                Text(MAX_ADDRESS_CHARS, pattern="^[A-Za-z0-9.:_-]+$"),
                "IP address or host name of its API.",
                required=True,
            ),
            Field("port", "port", Whole(1, 65535), "Port of its API.", required=True),
            Field("region", "region", NAME, "Where it runs."),
            Field("zone", "zone", NAME, "Where it fails together with others, inside its region."),
            Field("jurisdiction", "jurisdiction", NAME, "Whose law its data is under; fallback never leaves it."),
            Field(
                "status",
                "status",
                Choice(CellStatus),
                "Where it is in its life. Not named: as it is; `active` for a new cell.",
                operated=True,
            ),
            Field(
                "weight",
                "weight",
                Number(0.001, 100),
                "Share of slots relative to other cells of a pool, kept to thousandths.",
            ),
            Field("release", "release", NAME, "What it runs."),
            Field("capacity", "capacity", _CAPACITY, "The most that it is to hold. What is not named has no cap."),
            Field(
                "publicUrl",
                "public_url",
                Text(MAX_URL_CHARS, pattern="^https?://[!-~]*[!-.0-~]$"),
                "Where clients reach it without a router, for redirects: `https`, or `http` on loopback.",
            ),
            Field(
                "maintenancePage",
                "maintenance_page",
                Text(MAX_PAGE_CHARS),
                "What clients are told while it is in `maintenance`.",
            ),
            Field("protocol", "protocol", Choice(CellProtocol), "What routers speak to it; gRPC needs `http2`."),
        ),
    ),
    Kind.POOL: Declared(
        Pool,
        "name",
        NAME,
        "pools",
        "The cells that serve one class of tenants, with one placement strategy.",
        (
            Field("cells", "cells", ListOf(NAME, 1, MAX_CELLS), "Names of its cells.", required=True),
            Field(
                "strategy",
                "strategy",
                Choice(StrategyName),
                "How its slots are spread over its cells; `explicit` has none, and every tenant is assigned.",
            ),
            Field(
                "shardSize",
                "shard_size",
                Whole(1, MAX_SHARD_SIZE),
                "K, the cells of a shard. Not named: 2 with `shuffle`, else 1.",
            ),
            Field(
                "seed",
                "seed",
                Whole(0, MAX_SEED),
                "Another one gives other, independent shards; for `shuffle` and `explicit`.",
            ),
            Field(
                "spread",
                "spread",
                ListOf(Choice(Dimension), 0, len(Dimension)),
                "In what the cells of a shard differ, for `shuffle`: one limits how many are alike, several are a "
                "lattice.",
            ),
            Field(
                "maxOverlap",
                "max_overlap",
                Whole(0, MAX_SHARD_SIZE - 1),
                "Cells that two assigned shards may share, 0 to K - 1; for `shuffle` and `explicit`.",
            ),
            Field("dedicated", "dedicated", Flag(), "Whether a cell takes one tenant only; for `explicit`."),
            Field(
                "overflow",
                "overflow",
                NAME,
                "The pool that takes new tenants when this one has no room; for `explicit`.",
            ),
            Field(
                "virtualNodes",
                "virtual_nodes",
                Whole(1, MAX_VIRTUAL_NODES),
                "Points on the `ring` for a cell of weight 1.",
            ),
            Field(
                "policy", "policy", POLICY, "What routers do with its requests, where a tenant does not say otherwise."
            ),
            Field("canary", "canary", CANARY, "A cell that takes a part of its requests, to try what is new there."),
            Field(
                "p99ObjectiveSeconds",
                "p99_objective_seconds",
                P99_OBJECTIVE,
                "What the p99 of its cells is to be at most, for their health. Not named: the fleet's.",
            ),
        ),
    ),
    Kind.TENANT: Declared(
        Tenant,
        "id",
        Text(MAX_KEY_BYTES, check_key, "^[A-Za-z0-9][A-Za-z0-9._:@|+=~-]*$"),
        "tenants",
        "The unit that is routed; its name is its partition key, and case counts.",
        (
            Field(
                "cells",
                "shard",
                ListOf(NAME, 0, MAX_SHARD_SIZE),
                "The cells it is assigned to, the preferred first. Not named: as it is; `[]`: its pool places it.",
                operated=True,
            ),
            Field("pool", "pool", NAME, "The pool it is in whatever the rules say."),
            Field("tier", "tier", NAME, "Its class, such as `enterprise`; rules go by it."),
            Field(
                "jurisdiction",
                "jurisdiction",
                NAME,
                "Whose law its data is under: it is never placed under another. Not named: any will do.",
            ),
            Field("attributes", "attributes", _ATTRIBUTES, "Whatever else rules go by."),
            Field(
                "state",
                "state",
                Choice(TenantState, without=(TenantState.MOVING, TenantState.QUARANTINED)),
                "What routers do with its requests. Not named: as it is; `active` for a new tenant. A move sets "
                "`moving` by itself; `cellplane quarantine` quarantines.",
                operated=True,
            ),
            Field("load", "load", _LOAD, "What it needs at peak; of unknown size where it is not named."),
            Field("shardSize", "shard_size", Whole(1, MAX_SHARD_SIZE), "Its own K, where it is not its pool's."),
            Field("policy", "policy", POLICY, "What routers do with its requests, where its pool says otherwise."),
        ),
    ),
}
"""Every kind."""


def spec_path(kind: Kind, path: str) -> str:
    """What a file calls a field that the model's errors name: ``key_sources[0].name`` is ``spec.keySources[0].name``.

    Args:
        kind: of the resource.
        path: of the attribute, from the resource on; what is not an attribute of the model is kept.
    """
    declared = KINDS[kind]
    if path == declared.name:
        return "metadata.name"
    named, known = "spec", declared.fields
    for step in steps(path):
        if step.isdigit():
            named += f"[{step}]"
            continue
        above, field = _field_of(known, step)
        named += f"{above}.{step if field is None else field.name}"
        known = () if field is None else _fields_below(field.shape)
    return named


def _field_of(known: tuple[Field, ...], attribute: str) -> tuple[str, Field | None]:
    for field in known:
        if field.attribute == attribute:
            return "", field
        if isinstance(field.shape, Part):
            for below in field.shape.fields:
                if below.attribute == attribute:
                    return f".{field.name}", below
    return "", None


def _fields_below(shape: Shape) -> tuple[Field, ...]:
    if isinstance(shape, ListOf):
        return _fields_below(shape.item)
    return shape.fields if isinstance(shape, Object | Amended) else ()
