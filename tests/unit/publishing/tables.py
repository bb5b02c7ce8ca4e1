"""Tables, keys and manifests for the tests of publishing."""

from dataclasses import replace
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cellplane.model import Cell, CellStatus, Fleet, Pool, Tenant, Topology
from cellplane.publishing.keys import KeyUse, SigningKey
from cellplane.publishing.manifest import Manifest
from cellplane.publishing.signer import Signer
from cellplane.routing import PlacedTenants, RoutingTable, compile_overlay, compile_table, encode, encode_overlay

NOW = 1_800_000_000
ALWAYS = KeyUse()


@cache
def key_of(seed: int, use: KeyUse = ALWAYS) -> SigningKey:
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)), use)


def topology(
    cells: int = 2, tenants: tuple[Tenant, ...] = (), fleet: str = "shop", statuses: dict[str, CellStatus] | None = None
) -> Topology:
    made = tuple(
        Cell(f"cell-{n}", "127.0.0.1", 8000 + n, status=(statuses or {}).get(f"cell-{n}", CellStatus.ACTIVE))
        for n in range(1, cells + 1)
    )
    return Topology(Fleet(fleet), made, (Pool("default", tuple(cell.id for cell in made)),), tenants)


@cache
def base_of(epoch: int, cells: int = 2, fleet: str = "shop") -> RoutingTable:
    return RoutingTable(encode(compile_table(topology(cells, fleet=fleet), epoch)))


@cache
def overlaid(base_epoch: int, epoch: int, cell: str = "cell-1") -> RoutingTable:
    base = base_of(base_epoch)
    placed = PlacedTenants.of(replace(topology(), tenants=(Tenant("acme", (cell,)),)))
    overlay = encode_overlay(compile_overlay(topology(), (base_epoch, base.sha256), epoch, placed, ()))
    return RoutingTable(base.base, overlay)


def signed(table: RoutingTable, *seeds: int, now: int = NOW) -> Manifest:
    return Signer([key_of(seed) for seed in seeds], lambda: now).manifest(table)
