"""Changes single fields of a compiled table, and makes its checksum right again: what is in it alone betrays it."""

import hashlib
import struct

from cellplane.routing import layout
from cellplane.routing.layout import Section


class Bytes:
    """The bytes of a base or an overlay, to be changed."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        count = layout.HEADER.unpack_from(data)[7]
        entries = (
            layout.SECTION.unpack_from(data, layout.HEADER_SIZE + place * layout.SECTION.size) for place in range(count)
        )
        self.sections = {
            Section(kind): (offset, length, size, entries) for kind, _, offset, length, size, entries in entries
        }

    def count(self, section: Section) -> int:
        """Entries of a section."""
        return int(self.sections[section][3])

    def poke(self, section: Section, entry: int, offset: int, form: str, value: int) -> None:
        """Change a field of an entry; ``form`` as of struct."""
        start, _, size, count = self.sections[section]
        assert 0 <= entry < count, f"{section.name} has {count} entries"
        struct.pack_into(f"<{form}", self.data, start + entry * size + offset, value)

    def peek(self, section: Section, entry: int, offset: int, form: str) -> int:
        """A field of an entry."""
        start, _, size, _ = self.sections[section]
        return int(struct.unpack_from(f"<{form}", self.data, start + entry * size + offset)[0])

    def replace(self, section: Section, data: bytes) -> None:
        """Put other bytes into a section; what is too long is cut, and zeros stand behind what is too short."""
        start, length, _, _ = self.sections[section]
        self.data[start : start + length] = data[:length].ljust(length, b"\0")

    def text(self, section: Section, entry: int, offset: int, text: bytes) -> None:
        """Make a StrRef one of another text, which stands at the end of STRINGS: the file becomes longer."""
        start, length, _, _ = self.sections[Section.STRINGS]
        whole = bytes(self.data[start : start + length]) + text
        self._resize(Section.STRINGS, whole)
        self.poke(section, entry, offset, "I", length)
        self.poke(section, entry, offset + 4, "I", len(text))

    def _resize(self, section: Section, data: bytes) -> None:
        start, length, _, _ = self.sections[section]
        padded = -(-len(data) // layout.SECTION_ALIGNMENT) * layout.SECTION_ALIGNMENT
        before = -(-length // layout.SECTION_ALIGNMENT) * layout.SECTION_ALIGNMENT
        more = padded - before
        self.data[start : start + before] = data.ljust(padded, b"\0")
        places = list(self.sections)
        for place, kind in enumerate(places):
            offset, size_bytes, size, count = self.sections[kind]
            if kind == section:
                size_bytes = count = len(data)
                assert size == 1, "a section of bytes"
            elif offset > start:
                offset += more
            self.sections[kind] = (offset, size_bytes, size, count)
            entry = layout.HEADER_SIZE + place * layout.SECTION.size
            _, flags, *_ = layout.SECTION.unpack_from(self.data, entry)
            layout.SECTION.pack_into(self.data, entry, kind, flags, offset, size_bytes, size, count)
        header = list(layout.HEADER.unpack_from(self.data))
        header[6] = len(self.data)
        layout.HEADER.pack_into(self.data, 0, *header)

    def swap(self, section: Section, first: int, second: int) -> None:
        """Exchange two entries."""
        start, _, size, _ = self.sections[section]
        one, other = (slice(start + size * place, start + size * (place + 1)) for place in (first, second))
        self.data[one], self.data[other] = self.data[other], self.data[one]

    def directory(self, section: Section, field: int, value: int) -> None:
        """Change a field of what the directory says of a section, counted as in layout.SECTION."""
        place = layout.HEADER_SIZE + list(self.sections).index(section) * layout.SECTION.size
        entry = list(layout.SECTION.unpack_from(self.data, place))
        entry[field] = value
        layout.SECTION.pack_into(self.data, place, *entry)

    def header(self, field: int, value: int | bytes) -> None:
        """Change a field of the header, counted as in layout.HEADER."""
        header = list(layout.HEADER.unpack_from(self.data))
        header[field] = value
        layout.HEADER.pack_into(self.data, 0, *header)

    def sealed(self) -> bytes:
        """The bytes, with the checksum that they should have."""
        checksum = hashlib.sha256(self.data[: layout.CHECKSUM_OFFSET])
        checksum.update(self.data[layout.HEADER_SIZE :])
        self.data[layout.CHECKSUM_OFFSET : layout.HEADER_SIZE] = checksum.digest()
        return bytes(self.data)
