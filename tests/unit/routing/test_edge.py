"""What a table says to whoever configures the proxy: section EDGE."""

import hashlib
import json
from dataclasses import asdict, fields, replace
from typing import Any

import pytest

from cellplane.errors import TableError
from cellplane.model import (
    Cell,
    Fleet,
    JwtProvider,
    KeySource,
    KeySourceKind,
    Pool,
    Topology,
)
from cellplane.model.health import BreakerSettings, Health, HealthThresholds
from cellplane.model.topology import MAX_CELLS
from cellplane.routing import RoutingTable, compile_table, encode, layout
from cellplane.routing.edge import MAX_EDGE_BYTES, EdgePolicy, decode_edge, encode_edge
from cellplane.routing.layout import Section

FULL = JwtProvider("id", "https://id.example/", ("shop", "api"), "https://id.example/jwks", "", "session", 5)
IN_FILE = JwtProvider("own", "own", jwks_file="/etc/jwks.json")
CLAIM = KeySource(KeySourceKind.JWT_CLAIM, "org.id")
COOKIE = KeySource(KeySourceKind.COOKIE, "route")
HEADER = KeySource.trusted_header("x-tenant-id")


def table_of(*sources: KeySource, jwt: tuple[JwtProvider, ...] = (), **policy: Any) -> bytes:
    fleet = Fleet("shop", sources, jwt=jwt, **policy)
    topology = Topology(fleet, (Cell("cell-1", "127.0.0.1", 8001),), (Pool("default", ("cell-1",)),))
    return encode(compile_table(topology, 3))


def place_of(data: bytes | bytearray, section: Section) -> tuple[int, int, int]:
    """Where a section's entry in the directory is, and where it is itself: offset and length."""
    (count,) = layout.U32.unpack_from(data, 40)
    for entry in range(layout.HEADER_SIZE, layout.HEADER_SIZE + count * layout.SECTION.size, layout.SECTION.size):
        kind, _flags, offset, length, *_ = layout.SECTION.unpack_from(data, entry)
        if kind == section:
            return entry, offset, length
    raise AssertionError(f"there is no {section.name}")


def sealed(data: bytearray) -> bytes:
    """A changed table, its length and checksum right again."""
    data[32:40] = len(data).to_bytes(8, "little")
    data[96:128] = hashlib.sha256(data[:96] + data[128:]).digest()
    return bytes(data)


def without(data: bytes, section: Section) -> bytes:
    """The table without a section: the others stay where they are."""
    (count,) = layout.U32.unpack_from(data, 40)
    entry, end = place_of(data, section)[0], layout.HEADER_SIZE + count * layout.SECTION.size
    changed = bytearray(data)
    changed[entry:end] = changed[entry + layout.SECTION.size : end] + bytes(layout.SECTION.size)
    changed[40:44] = layout.U32.pack(count - 1)
    return sealed(changed)


def without_edge(data: bytes) -> bytes:
    """The table as a release before EDGE wrote it."""
    return without(data, Section.EDGE)


def with_edge(data: bytes, document: bytes) -> bytes:
    """The table with another document; POLICIES goes behind it."""
    entry, offset, _length = place_of(data, Section.EDGE)
    behind, start, length = place_of(data, Section.POLICIES)
    moved = -(-(offset + len(document)) // layout.SECTION_ALIGNMENT) * layout.SECTION_ALIGNMENT
    changed = bytearray(data[:offset] + document).ljust(moved, b"\0") + data[start : start + length]
    changed[entry : entry + layout.SECTION.size] = layout.SECTION.pack(
        Section.EDGE, 0, offset, len(document), 1, len(document)
    )
    changed[behind + 8 : behind + 16] = moved.to_bytes(8, "little")
    return sealed(changed)


@pytest.mark.parametrize("jwt", [(), (FULL,), (FULL, IN_FILE)])
def test_a_policy_is_the_same_after_its_bytes(jwt: tuple[JwtProvider, ...]) -> None:
    policy = EdgePolicy(jwt)
    assert decode_edge(encode_edge(policy)) == policy
    assert encode_edge(decode_edge(encode_edge(policy))) == encode_edge(policy)


def test_every_field_of_an_issuer_is_in_the_document() -> None:
    # jwks_file is the one that FULL cannot have as well.
    unlike = {field.name: getattr(FULL, field.name) for field in fields(JwtProvider) if field.name != "jwks_file"}
    assert all(unlike.values())
    (member,) = json.loads(encode_edge(EdgePolicy((FULL,))))["jwt"]
    assert set(member) == {field.name for field in fields(JwtProvider)}


def test_members_that_this_release_does_not_know_are_skipped() -> None:
    member = {**asdict(FULL), "audiences": ["shop", "api"], "algorithms": ["ES256"]}
    health = {"score": {"min_requests": 9, "hue": 1}, "moods": {"x": "y"}}
    document = {"jwt": [member], "cors": {"origins": []}, "health": health}
    expected = EdgePolicy((FULL,), Health(score=HealthThresholds(min_requests=9)))
    assert decode_edge(json.dumps(document).encode()) == expected


def test_members_that_are_not_there_have_their_defaults() -> None:
    assert decode_edge(b"{}") == EdgePolicy()
    least = {"name": "own", "issuer": "own", "jwks_file": "/etc/jwks.json"}
    assert decode_edge(json.dumps({"jwt": [least]}).encode()) == EdgePolicy((IN_FILE,))


GOOD: dict[str, Any] = {"name": "own", "issuer": "own", "jwks_file": "/etc/jwks.json"}


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[",
        "[]",
        "null",
        "1",
        '"jwt"',
        '{"jwt": null}',
        '{"jwt": {}}',
        '{"jwt": ""}',
        '{"jwt": [1]}',
        '{"jwt": ["name"]}',
        '{"jwt": [[]]}',
        "\x00",
        "[" * 100_000,
        '{"jwt": [{"clock_skew_seconds": ' + "9" * 5000 + "}]}",
        *(
            json.dumps({"jwt": [{**GOOD, **changes}]})
            for changes in (
                {"name": ""},
                {"name": None},
                {"name": 5},
                {"issuer": ["own"]},
                {"jwks_file": 0, "jwks_url": "https://id.example"},
                {"jwks_file": ""},
                {"jwks_file": "jwks.json"},
                {"jwks_url": "http://id.example"},
                {"cookie": 0},
                {"cookie": "a b"},
                {"audiences": "shop"},
                {"audiences": {"shop": 1}},
                {"audiences": [1]},
                {"audiences": None},
                {"clock_skew_seconds": "60"},
                {"clock_skew_seconds": True},
                {"clock_skew_seconds": 1.5},
                {"clock_skew_seconds": 0},
                {"clock_skew_seconds": None},
            )
        ),
        json.dumps({"jwt": [{"name": "own", "issuer": "own"}]}),
        '{"health": []}',
        '{"health": {"score": 1}}',
        '{"health": {"score": {"min_requests": "9"}}}',
        '{"health": {"score": {"min_requests": 0}}}',
        '{"health": {"score": {"z": true, "min_requests": true}}}',
        '{"health": {"peers": {"z": NaN}}}',
        '{"health": {"breaker": {"open_seconds": Infinity}}}',
        '{"objectives": {}}',
        '{"objectives": [1]}',
        '{"objectives": [{"cells": [0]}]}',
        '{"objectives": [{"seconds": "1", "cells": [0]}]}',
        '{"objectives": [{"seconds": 1, "cells": 0}]}',
        '{"objectives": [{"seconds": 1, "cells": ["cell-1"]}]}',
        '{"objectives": [{"seconds": 0, "cells": [0]}]}',
        json.dumps({"jwt": [{"issuer": "own", "jwks_file": "/k"}]}),
        json.dumps({"jwt": [GOOD, GOOD]}),
        json.dumps({"jwt": [{**GOOD, "name": f"n-{number}"} for number in range(9)]}),
    ],
    ids=lambda document: document[:60],
)
def test_a_document_that_is_none_is_refused(document: str) -> None:
    with pytest.raises(TableError, match=r"^EDGE: "):
        decode_edge(document.encode())
    with pytest.raises(TableError):
        RoutingTable(with_edge(table_of(HEADER), document.encode()))


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(TableError, match=r"^EDGE: "):
        decode_edge(b'{"jwt": "\xff"}')


def test_a_document_has_a_limit() -> None:
    document = b"{" + b" " * (MAX_EDGE_BYTES - 2) + b"}"
    assert decode_edge(document) == EdgePolicy()
    with pytest.raises(TableError, match=f"{MAX_EDGE_BYTES + 1} bytes, expected at most {MAX_EDGE_BYTES}"):
        decode_edge(document + b" ")


def test_of_two_pools_that_share_a_cell_the_stricter_objective_counts() -> None:
    pools = (
        Pool("default", ("cell-1",), p99_objective_seconds=2.0),
        Pool("fast", ("cell-1",), p99_objective_seconds=0.5),
        Pool("slow", ("cell-1",), p99_objective_seconds=3.0),
        Pool("any", ("cell-1",)),
    )
    topology = Topology(Fleet("shop"), (Cell("cell-1", "127.0.0.1", 1),), pools)
    assert RoutingTable(encode(compile_table(topology, 1))).edge.objectives == {0: 0.5}


def test_an_objective_of_no_cell_is_refused() -> None:
    document = b'{"objectives": [{"seconds": 1, "cells": [1]}]}'
    assert decode_edge(document).objectives == {1: 1.0}
    with pytest.raises(TableError, match="an objective is of cell 1 of 1"):
        RoutingTable(with_edge(table_of(HEADER), document))


def test_the_largest_fleet_is_within_the_limit() -> None:
    text = "i" * 1024
    audiences = tuple(f"{number:02}{text[2:]}" for number in range(16))
    url = f"https://{text}"[:1024]
    largest = JwtProvider("id", text, audiences, url, "", "c" * 64, 300)
    policy = EdgePolicy(
        tuple(replace(largest, name=f"{'i' * 62}{number}") for number in range(8)),
        Health(breaker=BreakerSettings(open_seconds=5)),
        {cell: 1.0 + cell % 100 / 100 for cell in range(MAX_CELLS)},
    )
    for place, provider in enumerate(policy.jwt):
        replace(provider, jwks_url="https://id.example").validate(f"jwt[{place}]")
    assert len(encode_edge(policy)) < MAX_EDGE_BYTES


def test_a_table_carries_what_the_fleet_says() -> None:
    table = RoutingTable(table_of(CLAIM, COOKIE, HEADER, jwt=(FULL, IN_FILE)))
    assert table.key_sources == (CLAIM, COOKIE, HEADER)
    assert table.edge == EdgePolicy((FULL, IN_FILE))
    assert RoutingTable(table_of(HEADER, jwt=(FULL,))).edge == EdgePolicy((FULL,))


def test_edge_is_not_critical() -> None:
    data = table_of(CLAIM, jwt=(FULL,))
    entry, _offset, _length = place_of(data, Section.EDGE)
    assert layout.SECTION.unpack_from(data, entry)[1] == 0
    for section in layout.BASE_SECTIONS - layout.OPTIONAL_SECTIONS:
        assert layout.SECTION.unpack_from(data, place_of(data, section)[0])[1] == layout.SECTION_CRITICAL


def test_a_table_without_edge_is_read_where_no_source_is_a_claim() -> None:
    table = RoutingTable(without_edge(table_of(COOKIE, HEADER)))
    assert table.key_sources == (COOKIE, HEADER)
    assert table.edge == EdgePolicy()


@pytest.mark.parametrize("change", [without_edge, lambda data: with_edge(data, b'{"jwt": []}')], ids=["none", "empty"])
def test_a_claim_that_nobody_verifies_makes_no_table(change: Any) -> None:
    with pytest.raises(TableError, match="a key source is a claim, but EDGE names no issuer of tokens"):
        RoutingTable(change(table_of(CLAIM, jwt=(FULL,))))


def test_a_table_lacks_no_other_section() -> None:
    for section in (Section.KEY_SOURCES, Section.POLICIES):
        with pytest.raises(TableError, match=f"sections are missing: {section.name}"):
            RoutingTable(without(table_of(HEADER), section))
