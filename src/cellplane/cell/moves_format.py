"""The form of a cell's record of moves: a head of one disk sector, and a line for each move. Pure.

::

    cellplane-moves 1 cell-3 17 640 2048 1f0c33aa 9b1d02ee          (spaces up to byte 511)
    acme 812 cell-2 1763795952

The head: version, cell, generation (one more with each change), the epoch up to which moves are forgotten, how many
bytes of the file count, the CRC-32 of the lines among them, and that of the head itself. A line: tenant, epoch, the
cell whose the tenant is from then on, and when that was noted (Unix seconds). Of a tenant's lines the last counts.

Whoever adds lines syncs them before writing the head over. So what follows the bytes that count was cut short, and
says nothing; a file that is shorter than its head says, or other, is damaged.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from sys import intern
from typing import NamedTuple, Self
from zlib import crc32

from cellplane.cell.settings import HeaderLimits, MoveLimits

VERSION = "1"
"""Of the form."""

HEAD_BYTES = 512
"""One sector, which disks write whole or not at all."""

MAX_EPOCH = 2**64 - 1
"""The largest that a routing table can have."""

MAX_LINE_BYTES = HeaderLimits.tenant_max_bytes + HeaderLimits.epoch_max_digits + HeaderLimits.cell_max_bytes + 24
"""Of the longest ids; a time has up to 20 digits, and each member a space or newline behind it."""

_NAME = b"cellplane-moves "
_HEAD = re.compile(rb"cellplane-moves \S+ (\S{1,128}) ([0-9]{1,20}) ([0-9]{1,20}) ([0-9]{1,20}) ([0-9a-f]{8})")


class Move(NamedTuple):
    """The last that is known of a tenant."""

    cell_id: str
    """Whose it is."""

    epoch: int
    """From which epoch on."""

    noted_at: int
    """Unix seconds."""


_WORDS = 4
"""Of a line."""

_to_move = partial(tuple.__new__, Move)
"""Without a call of Python for each: a request waits while the moves of thousands are read."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a record says of itself."""

    cell_id: str
    """Whose record it is."""

    generation: int = 0
    """One more with each change."""

    forgotten_epoch: int = 0
    """Moves up to it may be forgotten, none after it is; 0 where none is at all."""

    length_bytes: int = HEAD_BYTES
    """How many bytes of the file count, with the head."""

    checksum: int = 0
    """CRC-32 of the lines among them."""

    def encode(self) -> bytes:
        """The head's bytes."""
        numbers = f"{self.generation} {self.forgotten_epoch} {self.length_bytes} {self.checksum:08x}"
        body = f"cellplane-moves {VERSION} {self.cell_id} {numbers}".encode("ascii")
        head = b"%b %08x" % (body, crc32(body))
        assert len(head) < HEAD_BYTES, "ids and numbers are bounded"
        return head.ljust(HEAD_BYTES - 1) + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The head of a file's first ``HEAD_BYTES``.

        Raises:
            ValueError: they are none; the message says what was expected and what was found.
        """
        if not data.startswith(_NAME):
            raise ValueError(f"expected a record of moves, found {data[:40]!r}")
        version = data[len(_NAME) :].partition(b" ")[0]
        if version != VERSION.encode():
            raise ValueError(f"expected a record of version {VERSION}, found {version[:20]!r}")
        body, _, checksum = data.rstrip(b" \n").rpartition(b" ")
        found = _HEAD.fullmatch(body)
        is_padded = len(data) == HEAD_BYTES and data.endswith(b"\n")
        if found is None or not is_padded or checksum != b"%08x" % crc32(body):
            raise ValueError(f"expected a head of {HEAD_BYTES} bytes with its checksum, found it damaged")
        cell_id, generation, forgotten_epoch, length_bytes, lines = found.groups()
        return cls(cell_id.decode("ascii"), int(generation), int(forgotten_epoch), int(length_bytes), int(lines, 16))


def encode(moves: Mapping[str, Move]) -> bytes:
    """The lines of moves, by tenant."""
    return "".join(
        f"{tenant_id} {move.epoch} {move.cell_id} {move.noted_at}\n" for tenant_id, move in moves.items()
    ).encode("ascii")


def parse(lines: bytes) -> dict[str, Move]:
    """The moves of lines that have the right checksum.

    Raises:
        ValueError: something else has written them.
    """
    words = lines.decode("ascii").split()
    try:
        members = zip(
            map(intern, words[2::_WORDS]), map(int, words[1::_WORDS]), map(int, words[3::_WORDS]), strict=True
        )
        return dict(zip(words[0::_WORDS], map(_to_move, members), strict=True))
    except ValueError:
        raise ValueError("expected lines of a tenant, an epoch, a cell and a time, found others") from None


def max_lines(limits: MoveLimits, tenants: int) -> int:
    """How many lines a file may have before it is written anew, with one for each tenant."""
    return 2 * tenants + limits.spare_lines


def max_bytes(limits: MoveLimits) -> int:
    """The largest file that is read."""
    return HEAD_BYTES + max_lines(limits, limits.max_tenants) * MAX_LINE_BYTES
