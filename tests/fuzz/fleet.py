"""The fleet that is fuzzed: every key source at once, with a trusted header and without one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cellplane.model import Cell, Fleet, JwtProvider, KeySource, KeySourceKind, MissingKey, Pool, Tenant, Topology
from cellplane.model import UnknownTenant as Unknown
from cellplane.routing import compile_table, encode
from e2e import tokens

CELLS = ("cell-1", "cell-2", "cell-3", "cell-4")
TENANTS = tuple(f"tenant-{number:02}" for number in range(24))
"""All are known. Every third is assigned to a cell, the others are where their slot is."""

DOMAIN = "shop.example"
PATH_PREFIX = "/t/"
ROUTE_COOKIE = "route"
TOKEN_COOKIE = "session"
CLAIM = "org.id"
TENANT_HEADER = "x-tenant-id"
CLIENT = "127.0.0.1"
POOL = Pool("default", CELLS)

_VERIFIED = (KeySource(KeySourceKind.JWT_CLAIM, CLAIM), KeySource(KeySourceKind.COOKIE, ROUTE_COOKIE))
_WRITTEN = (KeySource(KeySourceKind.SUBDOMAIN, DOMAIN), KeySource(KeySourceKind.PATH, PATH_PREFIX))


@dataclass(frozen=True)
class Variant:
    """A router's policy.

    Attributes:
        name: in the marker of each request.
        sources: of the key, in their order.
        unknown: what unknown tenants get.
        missing: what a request without a key gets.
    """

    name: str
    sources: tuple[KeySource, ...]
    unknown: Unknown
    missing: MissingKey

    @property
    def trusts_header(self) -> bool:
        """Whether x-tenant-id says the key."""
        return any(source.kind is KeySourceKind.HEADER for source in self.sources)

    def topology(self, ports: Mapping[str, int], jwks: Path) -> Topology:
        """Its fleet, with the cells at these ports of this machine."""
        issuer = JwtProvider("id", tokens.ISSUER, (tokens.AUDIENCE,), jwks_file=str(jwks), cookie=TOKEN_COOKIE)
        fleet = Fleet(
            "shop", key_sources=self.sources, unknown_tenant=self.unknown, missing_key=self.missing, jwt=(issuer,)
        )
        cells = tuple(Cell(cell, "127.0.0.1", ports[cell]) for cell in CELLS)
        pinned = tuple(
            Tenant(tenant, (CELLS[number // 3 % len(CELLS)],) if number % 3 == 0 else ())
            for number, tenant in enumerate(TENANTS)
        )
        return Topology(fleet, cells, (POOL,), pinned)

    def table(self, ports: Mapping[str, int], jwks: Path, epoch: int = 1) -> bytes:
        """Its table."""
        return encode(compile_table(self.topology(ports, jwks), epoch))


VARIANTS = (
    Variant(
        "trusting", (*_VERIFIED, KeySource.trusted_header(TENANT_HEADER), *_WRITTEN), Unknown.REJECT, MissingKey.REJECT
    ),
    Variant("wary", (*_VERIFIED, *_WRITTEN), Unknown.HASH, MissingKey.SOURCE_HASH),
)
