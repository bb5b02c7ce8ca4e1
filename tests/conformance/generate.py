"""Writes the conformance vectors from the Python reference: ``make vectors``.

The tables and the questions are chosen here; the answers are the reference's. Read the difference before you commit it:
a changed answer means that routers of two releases disagree.
"""

import json
from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import Any

from cellplane.model import Cell, CellStatus, Fleet, StrategyName, TenantState, UnknownTenant
from cellplane.placement import SLOT_COUNT, slot_of
from cellplane.routing import (
    Decision,
    PoolSlots,
    Route,
    RoutingTable,
    TableContents,
    TenantEntry,
    decide,
    encode,
)
from cellplane.routing.layout import HEADER_SIZE, SECTION, Section

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
        tenants=(
            TenantEntry(b"tenant-001", 2),
            TenantEntry(b"tenant-002", 0, state=TenantState.MOVING),
            TenantEntry(b"tenant-003", None, state=TenantState.SUSPENDED),
            TenantEntry(b"tenant-004", 1, state=TenantState.QUARANTINED),
            TenantEntry(b"tenant-005", None),
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
        fleet=Fleet("vectors", key_header="x-org", default_pool="shared", unknown_tenant=UnknownTenant.REJECT),
        cells=cells,
        pools=(
            PoolSlots("enterprise", StrategyName.RING, [slot % 3 + 4 for slot in range(SLOT_COUNT)]),
            PoolSlots("shared", StrategyName.RING, [slot % 4 for slot in range(SLOT_COUNT)]),
        ),
        shards=shards,
        tenants=tuple(
            TenantEntry(key, None if number % 3 else number % len(shards), pool=number % 2)
            for number, key in enumerate(KEYS)
        ),
    )


def expectation(decision: Decision) -> dict[str, Any]:
    """The JSON of a decision, without what the file as a whole says."""
    if isinstance(decision, Route):
        return {
            "outcome": "route",
            "cell": decision.cell,
            "pool": decision.pool,
            "slot": decision.slot,
            "reason": decision.reason,
        }
    refusal = {"outcome": "refuse", "status": int(decision.code.status), "code": decision.code.code}
    return refusal if decision.cell is None else {**refusal, "cell": decision.cell}


def all_but(down: Container[str]) -> Callable[[str], bool]:
    """Every cell but these has a healthy host."""
    return lambda cell: cell not in down


def _questions(contents: TableContents) -> Iterable[tuple[str, list[bytes], bool, list[str]]]:
    ids = [cell.id for cell in contents.cells]
    for key in KEYS:
        for writes in (False, True):
            yield f"{key.decode()} {'writes' if writes else 'reads'}", [key], writes, []
    for key in KEYS[:12]:
        for down in ([ids[0]], ids[:2], ids[2:], ids):
            yield f"{key.decode()} while {', '.join(down)} are down", [key], False, down
    for key in ODD_KEYS:
        yield f"key {key[:24]!r} of {len(key)} bytes", [key], False, []
    yield "no key", [], False, []
    yield "two keys", [KEYS[0], KEYS[1]], False, []
    yield "the same key twice", [KEYS[0], KEYS[0]], True, []


def _write_table(name: str, description: str, contents: TableContents) -> None:
    data = encode(contents)
    table = RoutingTable(data)
    (VECTORS / f"{name}.cpt").write_bytes(data)
    cases = []
    for title, values, writes, down in _questions(contents):
        decision = decide(table, values, writes=writes, has_healthy_host=all_but(down))
        cases.append(
            {
                "name": title,
                "key_values_hex": [value.hex() for value in values],
                "writes": writes,
                "down": down,
                "expect": expectation(decision),
            }
        )
    slots = {key.decode(): slot_of(key) for key in KEYS}
    _write_json(
        name,
        {
            "description": description,
            "table": f"{name}.cpt",
            "epoch": table.epoch,
            "key_header": table.key_header,
            "retry_after_s": table.retry_after_seconds,
            "slots": slots,
            "cases": cases,
        },
    )


def _write_broken(base: str) -> None:
    data = (VECTORS / f"{base}.cpt").read_bytes()
    sections: dict[Section, tuple[int, int, int]] = {}
    for place in range(8):
        entry = HEADER_SIZE + place * SECTION.size
        kind, _, offset, length, _, _ = SECTION.unpack_from(data, entry)
        sections[Section(kind)] = (entry, offset, length)

    def case(
        name: str, *patch: tuple[int, str], truncate: int | None = None, append: str = "", fix: bool = True
    ) -> dict[str, Any]:
        return {
            "name": name,
            "patch": [list(edit) for edit in patch],
            "truncate": truncate,
            "append_hex": append,
            "fix_checksum": fix,
        }

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
        case("fewer sections", (40, "07000000")),
        case("bytes behind the end", append="00", fix=False),
        case("bytes behind the end, checksum mended", append="00"),
        case("the length of another file", (32, "00"), append="00"),
        case("checksum wrong", (96, "00000000"), fix=False),
    ]
    for section, (entry, offset, length) in sections.items():
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
            case(f"{name}: unknown critical type", (entry, "63000000")),
        ]
    strings_at = sections[Section.STRINGS][1].to_bytes(8, "little").hex()
    cases += [
        case("sections overlap", (sections[Section.FLEET][0] + 8, strings_at)),
        case("fleet: name is not UTF-8", (at(Section.STRINGS), "ff" * sections[Section.STRINGS][2])),
        case("fleet: default pool out of range", (at(Section.FLEET, 16), "0700")),
        case("fleet: unknown_tenant out of range", (at(Section.FLEET, 18), "09")),
        case("fleet: key header outside of STRINGS", (at(Section.FLEET, 8), "ffffff7f")),
        case("cell: id outside of STRINGS", (at(Section.CELLS), "ffffffff")),
        case("cell: id empty", (at(Section.CELLS, 4), "00000000")),
        case("cell: id is no name", (at(Section.CELLS, 4), "09000000")),
        case("cell: port 0", (at(Section.CELLS, 32), "0000")),
        case("cell: unknown status", (at(Section.CELLS, 34), "06")),
        case("pool: slots outside", (at(Section.POOLS, 8), "ffffffff")),
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


def _write_json(name: str, value: dict[str, Any]) -> None:
    (VECTORS / f"{name}.json").write_text(json.dumps(value, indent=1, ensure_ascii=True) + "\n")


def main() -> None:
    """Write all vectors."""
    VECTORS.mkdir(exist_ok=True)
    _write_table("one-pool", one_pool.__doc__ or "", one_pool())
    _write_table("two-pools", two_pools.__doc__ or "", two_pools())
    _write_broken("two-pools")


if __name__ == "__main__":
    main()
