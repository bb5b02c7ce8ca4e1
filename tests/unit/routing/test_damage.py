"""A table that is not as it must be is refused with what is wrong and where, although its checksum is right."""

import hashlib
import struct
from dataclasses import replace

import pytest

from cellplane.errors import TableError
from cellplane.model import Cell, Fleet, StrategyName
from cellplane.placement import SLOT_COUNT
from cellplane.routing import (
    PoolSlots,
    RoutingTable,
    TableContents,
    TenantColumns,
    TenantEntry,
    check_jurisdictions,
    encode,
    layout,
)
from cellplane.routing.layout import Section

CONTENTS = TableContents(
    epoch=3,
    fleet=Fleet("shop"),
    cells=(Cell("cell-1", "127.0.0.1", 8001), Cell("cell-2", "cell-2.internal", 8002)),
    pools=(PoolSlots("default", StrategyName.RING, [slot % 2 for slot in range(SLOT_COUNT)]),),
    shards=((0,), (1,)),
    tenants=TenantColumns.of((TenantEntry(b"acme", 1),)),
)
GOOD = encode(CONTENTS)
RUN = 1 << 15
"""Entries that are checked at once."""


def directory_entry(data: bytes, section: Section) -> int:
    """Where the directory says where a section is."""
    count = layout.HEADER.unpack_from(data)[7]
    for place in range(count):
        at = layout.HEADER_SIZE + place * layout.SECTION.size
        if layout.SECTION.unpack_from(data, at)[0] == section:
            return at
    raise AssertionError(section)


def start_of(data: bytes, section: Section) -> int:
    return int(layout.SECTION.unpack_from(data, directory_entry(data, section))[2])


def damaged(at: int, form: str, value: int, data: bytes = GOOD) -> bytes:
    """The table with another number at this place, and a checksum that is right."""
    changed = bytearray(data)
    struct.pack_into(form, changed, at, value)
    return summed(changed)


def summed(data: bytearray) -> bytes:
    """With a checksum that is right."""
    digest = hashlib.sha256(data[: layout.CHECKSUM_OFFSET] + data[layout.HEADER_SIZE :]).digest()
    data[layout.CHECKSUM_OFFSET : layout.HEADER_SIZE] = digest
    return bytes(data)


def test_the_table_that_is_damaged_here_is_sound() -> None:
    table = RoutingTable(GOOD)
    assert [cell.id for cell in table.cells] == ["cell-1", "cell-2"]
    check_jurisdictions(table)


@pytest.mark.parametrize(
    ("section", "field", "form", "value", "message"),
    [
        (Section.FLEET, 0, "<I", 900, "section 900 is critical|section 1: type"),
        (Section.CELLS, 16, "<Q", 1 << 20, "section 3: .* is inconsistent"),
        (Section.CELLS, 24, "<I", 1, "section 3: .* is inconsistent"),
        (Section.POOLS, 0, "<I", 2, "section 3: type 2 is out of order"),
        (Section.POLICIES, 0, "<I", 77, "section 77 is critical and unknown to this release: update it"),
    ],
)
def test_a_directory_that_is_wrong(section: Section, field: int, form: str, value: int, message: str) -> None:
    with pytest.raises(TableError, match=message):
        RoutingTable(damaged(directory_entry(GOOD, section) + field, form, value))


def test_entries_that_are_smaller_than_they_must_be() -> None:
    at = directory_entry(GOOD, Section.CELLS)
    length = layout.SECTION.unpack_from(GOOD, at)[3]
    narrow = damaged(at + 24, "<I", layout.CELL.size // 2)
    narrow = damaged(at + 28, "<I", length // (layout.CELL.size // 2), narrow)
    with pytest.raises(TableError, match=f"CELLS: entries of {layout.CELL.size // 2} bytes"):
        RoutingTable(narrow)


@pytest.mark.parametrize(
    ("section", "count", "message"),
    [
        (Section.FLEET, 0, "FLEET has 0 entries, expected 1"),
        (Section.POOLS, 0, "expected cells and 1 to 255 pools, found 2 and 0"),
        (Section.KEY_SOURCES, 0, "expected 1 to 8 key sources, found 0"),
        (Section.TENANT_INDEX, 1, "TENANT_INDEX has 1 entries"),
    ],
)
def test_a_section_of_too_few_entries(section: Section, count: int, message: str) -> None:
    at = directory_entry(GOOD, section)
    size = layout.SECTION.unpack_from(GOOD, at)[4]
    few = damaged(at + 28, "<I", count, damaged(at + 16, "<Q", count * size))
    with pytest.raises(TableError, match=message):
        RoutingTable(few)


def test_a_section_of_a_later_release_is_passed_over_unless_it_is_critical() -> None:
    last = directory_entry(GOOD, Section.POLICIES)
    later = damaged(last + 4, "<I", 0, damaged(last, "<I", 77))
    with pytest.raises(TableError, match="sections are missing: POLICIES"):
        RoutingTable(later)


def test_a_directory_that_is_longer_than_the_file() -> None:
    header = damaged(layout.HEADER.size - 32 - 16 - 8, "<I", 60, GOOD[:1024])
    header = damaged(layout.HEADER.size - 32 - 16 - 8 - 8, "<Q", 1024, header)
    with pytest.raises(TableError, match="the directory of 60 sections is longer than the file"):
        RoutingTable(header)


CELL_PORT, CELL_STATUS, CELL_PROTOCOL = 32, 34, 35


@pytest.mark.parametrize(
    ("section", "field", "form", "value", "message"),
    [
        (Section.CELLS, CELL_PORT, "<H", 0, "cell 0: port is 0, expected 1 to 65535"),
        (Section.CELLS, CELL_STATUS, "<B", 99, "cell 0: status 99 is unknown"),
        (Section.CELLS, CELL_PROTOCOL, "<B", 99, "cell 0: protocol 99 is unknown"),
        (Section.CELLS, 12, "<I", 0, "cell 0: address '' is no IP address or host name"),
        (Section.CELLS, 8, "<I", 1 << 30, "cell 0: text at .* is outside of STRINGS"),
        (Section.POOLS, 14, "<H", 7, "pool 0: policy 7 of 1"),
        (Section.POOLS, 8, "<I", 3, f"pool 0: slots 3.{SLOT_COUNT} of {SLOT_COUNT}"),
        (Section.POOLS, 16, "<H", 9, "pool 0: canary is cell 9 of 2, 0 of 10,000, by 0"),
        (Section.KEY_SOURCES, 8, "<B", 200, "key source 0: kind 200 is unknown to this release: update it"),
        (Section.KEY_SOURCES, 4, "<I", 0, "key source 0"),
        (Section.FLEET, 20, "<I", 3601, "fleet: retry_after_s is 3601, expected at most 3600"),
        (Section.FLEET, 16, "<H", 5, "fleet: default pool 5 of 1"),
        (Section.TENANT_INDEX, 0, "<I", 1, "TENANT_INDEX runs from 1 to 1, expected 0 to 1"),
    ],
)
def test_an_entry_that_is_wrong(section: Section, field: int, form: str, value: int, message: str) -> None:
    with pytest.raises(TableError, match=message):
        RoutingTable(damaged(start_of(GOOD, section) + field, form, value))


def test_entries_are_in_order_also_where_one_run_of_them_ends() -> None:
    entries = [TenantEntry(f"tenant-{number}".encode(), 1) for number in range(RUN + 2)]
    data = encode(replace(CONTENTS, tenants=TenantColumns.of(entries)))
    assert len(RoutingTable(data)) == RUN + 2
    size = layout.TENANT.size
    second = start_of(data, Section.TENANTS) + RUN * size
    swapped = bytearray(data)
    swapped[second - size : second], swapped[second : second + size] = (
        data[second : second + size],
        data[second - size : second],
    )
    with pytest.raises(TableError, match=f"tenant {RUN}: its order is not valid"):
        RoutingTable(summed(swapped))


def test_cells_of_one_law_need_no_look_at_their_shards() -> None:
    under_one = tuple(replace(cell, jurisdiction="eu") for cell in CONTENTS.cells)
    check_jurisdictions(RoutingTable(encode(replace(CONTENTS, cells=under_one))))
