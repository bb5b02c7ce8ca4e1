"""Ways to break a compiled table behind the control plane's back, by name; each makes one that must not serve."""

import random
from collections.abc import Callable
from typing import Protocol

from cellplane.routing import RoutingTable, layout
from cellplane.routing.layout import Section
from mutate.retouch import Bytes


class Sound(Protocol):
    """What a forger has: sound tables, each made when it is asked for."""

    @property
    def live(self) -> bytes:
        """The publication that routers run."""

    @property
    def base(self) -> bytes:
        """A sound base of the next epoch."""

    @property
    def overlay(self) -> bytes:
        """A sound overlay of the next epoch, on the base that is live."""

    @property
    def foreign(self) -> bytes:
        """A sound overlay of another base."""

    @property
    def without_keys(self) -> bytes:
        """A sound base that believes an issuer whose keys are not to be had."""

    @property
    def bad_keys(self) -> bytes:
        """A sound base that believes an issuer whose keys are damaged."""


Way = Callable[[Sound, random.Random], bytes]


def _damaged(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed) if bytes(changed) != data else data[:-1]


def _field(section: Section, offset: int, form: str, *values: int) -> Way:
    """Any of these values in a field of any entry."""

    def change(sound: Sound, rng: random.Random) -> bytes:
        found = Bytes(sound.base)
        found.poke(section, rng.randrange(found.count(section)), offset, form, rng.choice(values))
        return found.sealed()

    return change


def _text(section: Section, offset: int, *texts: bytes) -> Way:
    """Any of these texts in a field of any entry."""

    def change(sound: Sound, rng: random.Random) -> bytes:
        found = Bytes(sound.base)
        found.text(section, rng.randrange(found.count(section)), offset, rng.choice(texts))
        return found.sealed()

    return change


def _header(field: int, *values: int | bytes) -> Way:
    def change(sound: Sound, rng: random.Random) -> bytes:
        found = Bytes(sound.base)
        found.header(field, rng.choice(values))
        return found.sealed()

    return change


def _older(sound: Sound, rng: random.Random) -> bytes:
    found = Bytes(sound.base)
    live = RoutingTable.of_publication(sound.live).epoch
    # Below: of the same epoch, it would be the very table that is live.
    found.header(4, rng.randint(1, live - 1))
    return found.sealed()


def _duplicate_cell(sound: Sound, rng: random.Random) -> bytes:
    found = Bytes(sound.base)
    place = rng.randrange(1, found.count(Section.CELLS))
    for offset in (0, 4):
        found.poke(Section.CELLS, place, offset, "I", found.peek(Section.CELLS, place - 1, offset, "I"))
    return found.sealed()


def _foreign_shard(sound: Sound, rng: random.Random) -> bytes:
    """A second cell, of another jurisdiction, in a shard that had one."""
    found = Bytes(sound.base)
    abroad = found.count(Section.CELLS) - 1
    shard = next(
        place for place in range(found.count(Section.SHARDS)) if found.peek(Section.SHARDS, place, 0, "H") != abroad
    )
    found.poke(Section.SHARDS, shard, 2, "H", abroad)
    return found.sealed()


def _unsorted(sound: Sound, rng: random.Random) -> bytes:
    found = Bytes(sound.base)
    found.poke(Section.TENANTS, rng.randrange(found.count(Section.TENANTS)), 0, "I", rng.getrandbits(32))
    return found.sealed()


def _larger(sound: Sound, rng: random.Random) -> bytes:
    """A hundred times as long."""
    filler = sound.base if rng.random() < 0.5 else bytes(len(sound.base))
    return sound.base + filler * 99


def _section_dropped(sound: Sound, rng: random.Random) -> bytes:
    found = Bytes(sound.base)
    kinds = [kind for kind in found.sections if kind is not Section.EDGE]
    place = list(found.sections).index(rng.choice(kinds))
    found.data[layout.HEADER_SIZE + place * layout.SECTION.size] = 200
    return found.sealed()


def _section_moved(sound: Sound, rng: random.Random) -> bytes:
    found = Bytes(sound.base)
    place = rng.randrange(len(found.sections))
    start = layout.HEADER_SIZE + place * layout.SECTION.size
    kind, flags, offset, length, size, count = layout.SECTION.unpack_from(found.data, start)
    changed = rng.choice(
        [(offset + 64, length), (offset, length + 64), (1 << 40, length), (offset, 1 << 40), (0, length)]
    )
    layout.SECTION.pack_into(found.data, start, kind, flags, *changed, size, count)
    return found.sealed()


def _overlay_field(sound: Sound, rng: random.Random) -> bytes:
    found = Bytes(sound.overlay)
    offset, form, value = rng.choice(
        [
            (8, "I", 9_999),
            (12, "B", 0),
            (12, "B", 200),
            (13, "B", 250),
            (14, "B", 77),
            (15, "B", 254),
            (4, "I", 1 << 30),
            (0, "I", 7),
        ]
    )
    found.poke(Section.TENANTS, 0, offset, form, value)
    return found.sealed()


def _overlay_epoch(sound: Sound, rng: random.Random) -> bytes:
    found = Bytes(sound.overlay)
    found.header(4, rng.randint(0, RoutingTable.of_publication(sound.live).epoch))
    return found.sealed()


_LABELS = (b"", b"Cell", b"-a", b"a-", b"a.b", b"agent:", b"a" * 64, b"a\0", b"\xff\xfe")
_ADDRESSES = (
    b"",
    b"a b",
    b"a\nb",
    b"x" * 300,
    b"h." * 150,
    b"host:80",
    b"http://a",
    b"a/b",
    b"256.1.1.1",
    b"1.2.3",
    b":::",
    b"[::1]",
    b"..",
    b"-a",
    b"/run/a.sock",
    b"\xc3\xbc.example",
    b"fe80::1%eth0",
    b"\xff",
)

WAYS: dict[str, Way] = {
    "bits of a base": lambda sound, rng: _damaged(sound.base, rng),
    "bits of an overlay": lambda sound, rng: _damaged(sound.overlay, rng),
    "a base cut short": lambda sound, rng: sound.base[: rng.randrange(len(sound.base))] or b"x",
    "an overlay cut short": lambda sound, rng: sound.overlay[: rng.randrange(1, len(sound.overlay))],
    "a base and some bytes": lambda sound, rng: sound.base + rng.randbytes(rng.randint(1, 500)),
    "a base and a foreign overlay": lambda sound, _: sound.base + sound.foreign,
    "a foreign overlay": lambda sound, _: sound.foreign,
    "an overlay of an older epoch": _overlay_epoch,
    "an overlay's field": _overlay_field,
    "nothing": lambda _sound, _rng: b"",
    "zeros": lambda sound, _: bytes(len(sound.base)),
    "noise": lambda sound, rng: rng.randbytes(len(sound.base)),
    "a page of HTML": lambda _sound, _rng: b"<!doctype html><title>Sign in</title>" * 20,
    "a hundred times as long": _larger,
    "magic": _header(0, b"CPT\0\0\0\0\0", b"\x89CPT\n\n\x1a\n"),
    "major version": _header(1, 0, 2, 65_535),
    "kind": _header(3, 0, 2, 3, 1 << 31),
    "epoch zero": _header(4, 0),
    "an older epoch": _older,
    "length": _header(6, 0, 1, 127, 1 << 40),
    "number of sections": _header(7, 0, 1, 65, 1 << 31),
    "a section of another kind": _section_dropped,
    "a section elsewhere": _section_moved,
    "a cell twice": _duplicate_cell,
    "a cell's id": _text(Section.CELLS, 0, *_LABELS),
    "a cell's address": _text(Section.CELLS, 8, *_ADDRESSES),
    "a cell's port": _field(Section.CELLS, 32, "H", 0),
    "a cell's status": _field(Section.CELLS, 34, "B", 6, 255),
    "a cell's text": _field(Section.CELLS, 0, "I", 1 << 30, 0xFFFFFFFF),
    "a cell's public URL": _text(
        Section.CELLS, 48, b"javascript:x", b"https://a\r\nx: y", b"https://", b"http:///x", b"https://a/"
    ),
    "a cell's page": _text(Section.CELLS, 56, b"a\rb", b"\x1b[2J", b"x" * 8_001),
    "a dangling cell in a shard": _field(Section.SHARDS, 0, "H", 9_999, 65_534),
    "a cell twice in a shard": _field(Section.SHARDS, 2, "H", 9_999),
    "an empty shard": _field(Section.SHARDS, 0, "H", layout.NO_CELL),
    "a shard over two jurisdictions": _foreign_shard,
    "a dangling shard of a slot": _field(Section.SLOTS, 0, "I", 1_000_000, 0xFFFFFFFF),
    "a dangling shard of a tenant": _field(Section.TENANTS, 8, "I", 1_000_000),
    "a tenant's pool": _field(Section.TENANTS, 13, "B", 200, 255),
    "a tenant's state": _field(Section.TENANTS, 14, "B", 99, 255),
    "a tenant's policy": _field(Section.TENANTS, 15, "B", 200, 255),
    "a tenant's key": _field(Section.TENANTS, 12, "B", 0, 129, 255),
    "a tenant's hash": _unsorted,
    "the index of tenants": _field(Section.TENANT_INDEX, 0, "I", 77_777),
    "a pool's slots": _field(Section.POOLS, 8, "I", 70_000, 1_000_000),
    "a pool's policy": _field(Section.POOLS, 14, "H", 99, 65_535),
    "a pool's canary": _field(Section.POOLS, 16, "H", 9_999),
    "a canary's share": _field(Section.POOLS, 18, "H", 10_001, 65_535),
    "the default pool": _field(Section.FLEET, 16, "H", 77, 65_535),
    "what unknown tenants get": _field(Section.FLEET, 18, "B", 2, 3, 255),
    "what no key gets": _field(Section.FLEET, 19, "B", 1, 3, 255),
    "a huge Retry-After": _field(Section.FLEET, 20, "I", 3_601, 0xFFFFFFFF),
    "a dangling default shard": _field(Section.FLEET, 24, "I", 0, 1_000_000),
    "the fleet's policy": _field(Section.FLEET, 28, "H", 99, 65_535),
    "what fails open": _field(Section.FLEET, 30, "B", 2, 255),
    "a policy's reads without a standby": _field(Section.POLICIES, 1, "B", 1, 4, 255),
    "a policy's writes": _field(Section.POLICIES, 0, "B", 2, 255),
    "a policy's standby": _field(Section.POLICIES, 6, "H", 0, 9_999),
    "a policy's shadow": _field(Section.POLICIES, 8, "H", 9_999),
    "a policy's burst": _field(Section.POLICIES, 16, "I", 0, 0xFFFFFFFF),
    "a key source's kind": _field(Section.KEY_SOURCES, 8, "B", 0, 6, 255),
    "a key source's name": _text(
        Section.KEY_SOURCES, 0, b"", b"X-Tenant", b"a b", b"x-cell-id", b"x_tenant", b"\xff", b"t" * 300
    ),
    "a source that nothing verifies": _field(Section.KEY_SOURCES, 8, "B", 4),
    "keys that are not there": lambda sound, _: sound.without_keys,
    "keys that are none": lambda sound, _: sound.bad_keys,
}
"""Each gives the bytes that a forged control plane serves in place of the next table."""
