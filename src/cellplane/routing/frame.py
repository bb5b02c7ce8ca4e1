"""The frame of a table or overlay: header, checksum and section directory."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from cellplane.errors import TableError
from cellplane.routing import layout
from cellplane.routing.layout import Section


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header; ``base_sha256`` is in hexadecimal digits, empty in a base."""

    kind: int
    epoch: int
    base_epoch: int
    base_sha256: str
    section_count: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SectionEntry:
    """A section: ``entry_count`` entries of ``entry_size`` bytes from ``offset`` on, all inside the file."""

    offset: int
    length: int
    entry_size: int
    entry_count: int


def epoch_said(data: bytes) -> int:
    """The epoch that a publication claims, sound or not, of its overlay where it has one; 0 where it says none."""
    found = 0
    try:
        base, overlay = split_publication(data)
        for part in filter(None, (base, overlay)):
            if len(part) >= layout.HEADER_SIZE and part.startswith(layout.MAGIC):
                found = int(layout.HEADER.unpack_from(part)[4])
    except TableError:
        pass
    return found


def read_header(data: memoryview, kind: int) -> Header:
    """The header of a file of this kind; its checksum is for ``checksummed`` to check.

    Raises:
        TableError: the file is truncated, foreign, of another version or of another kind.
    """
    if len(data) < layout.HEADER_SIZE:
        raise TableError(f"truncated: {len(data)} bytes, a header has {layout.HEADER_SIZE}")
    fields = layout.HEADER.unpack_from(data)
    magic, major, _, found_kind, epoch, base_epoch, file_length, section_count, _, base_sha256, _ = fields
    if magic != layout.MAGIC:
        raise TableError("not a routing table: the magic bytes are missing")
    if major != layout.MAJOR:
        raise TableError(f"format version {major}, this release reads {layout.MAJOR}: update it")
    if found_kind != kind:
        raise TableError(f"kind {found_kind}, expected {kind} (1 is a base, 2 an overlay)")
    if file_length != len(data):
        raise TableError(f"truncated or extended: {len(data)} bytes, the header says {file_length}")
    stored = bytes(data[layout.CHECKSUM_OFFSET : layout.HEADER_SIZE])
    has_base = kind == layout.KIND_OVERLAY
    if (base_epoch != 0) != has_base or (base_sha256 != bytes(32)) != has_base:
        raise TableError("header: a base names no base, and an overlay names one")
    if epoch <= base_epoch or section_count > layout.MAX_SECTIONS:
        raise TableError("header: epoch or section_count is out of range")
    return Header(kind, epoch, base_epoch, base_sha256.hex() if has_base else "", section_count, stored.hex())


@contextmanager
def checksummed(data: memoryview, header: Header) -> Iterator[None]:
    """Check the checksum of a file beside whatever else is checked, on another core: hashing lets other threads run.

    Raises:
        TableError: the file is corrupt; also where what was found meanwhile was another reason.
    """
    with ThreadPoolExecutor(max_workers=1) as executor:
        digest = executor.submit(_digest, data)
        try:
            yield
        finally:
            if digest.result() != header.sha256:
                raise TableError(f"corrupt: SHA-256 is {digest.result()}, the header says {header.sha256}")


def _digest(data: memoryview) -> str:
    checksum = hashlib.sha256(data[: layout.CHECKSUM_OFFSET])
    checksum.update(data[layout.HEADER_SIZE :])
    return checksum.hexdigest()


def split_publication(data: bytes) -> tuple[bytes | None, bytes | None]:
    """The base and the overlay of a publication: a base, a base followed by its overlay, or an overlay alone.

    Raises:
        TableError: it begins as neither, or is truncated. What it consists of is not checked further.
    """
    if len(data) < layout.HEADER_SIZE:
        raise TableError(f"truncated: {len(data)} bytes, a header has {layout.HEADER_SIZE}")
    magic, _, _, kind, _, _, file_length, *_ = layout.HEADER.unpack_from(data)
    if magic != layout.MAGIC:
        raise TableError("not a routing table: the magic bytes are missing")
    if kind == layout.KIND_OVERLAY:
        return None, data
    return data[:file_length], data[file_length:] or None


def read_directory(data: memoryview, section_count: int, needed: frozenset[Section]) -> dict[Section, SectionEntry]:
    """The sections of a file, of those that its kind has.

    Raises:
        TableError: the directory is inconsistent, lacks a section, or has one that this release must know.
    """
    end = layout.HEADER_SIZE + section_count * layout.SECTION.size
    if end > len(data):
        raise TableError(f"the directory of {section_count} sections is longer than the file")
    sections: dict[Section, SectionEntry] = {}
    before, free_from = 0, end
    for place in range(section_count):
        fields = layout.SECTION.unpack_from(data, layout.HEADER_SIZE + place * layout.SECTION.size)
        kind, flags, offset, length, entry_size, entry_count = fields
        if kind <= before:
            raise TableError(f"section {place}: type {kind} is out of order")
        before = kind
        inside = free_from <= offset <= offset + length <= len(data) and offset % layout.SECTION_ALIGNMENT == 0
        if not inside or entry_size * entry_count != length:
            raise TableError(f"section {kind}: {entry_count} × {entry_size} at {offset}+{length} is inconsistent")
        free_from = offset + length
        known = kind in _KNOWN and Section(kind) in needed
        if not known:
            if flags & layout.SECTION_CRITICAL:
                raise TableError(f"section {kind} is critical and unknown to this release: update it")
            continue
        section = Section(kind)
        expected = layout.ENTRY_SIZES[section]
        if entry_size < expected or (entry_size != expected and section in layout.FIXED_STRIDE):
            raise TableError(f"{section.name}: entries of {entry_size} bytes, expected {expected}")
        sections[section] = SectionEntry(offset, length, entry_size, entry_count)
    missing = sorted(section.name for section in needed - layout.OPTIONAL_SECTIONS if section not in sections)
    if missing:
        raise TableError(f"sections are missing: {', '.join(missing)}")
    return sections


_KNOWN = frozenset(int(section) for section in Section)
