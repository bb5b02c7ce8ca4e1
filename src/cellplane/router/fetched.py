"""What a source of tables gives."""

import io
from collections.abc import AsyncIterable
from dataclasses import dataclass

import zstandard

from cellplane.errors import ControlPlaneError, TableError

ACCEPTED_ENCODINGS = "zstd"
"""What is asked for beside the bytes as they are."""

_MAX_WINDOW_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Fetched:
    """A publication as it came.

    Attributes:
        data: the publication (``routing.split_publication``).
        manifest: what came with it, unverified; None where nothing did.
        source: where from: ``control``, ``folder`` or ``url``.
    """

    data: bytes
    manifest: bytes | None
    source: str


async def read_bounded(pieces: AsyncIterable[bytes], encoding: str | None, max_bytes: int) -> bytes:
    """A body, decompressed where it is.

    Args:
        pieces: as they come, still encoded.
        encoding: the Content-Encoding.
        max_bytes: of what comes, and of what it is when it is decompressed: a small body can say that it is huge.

    Raises:
        TableError: it is larger, or damaged.
        ControlPlaneError: it is encoded in another way than was asked for.
    """
    data = bytearray()
    async for piece in pieces:
        data += piece
        if len(data) > max_bytes:
            raise TableError(f"the table is larger than {max_bytes} bytes")
    if encoding in {None, "", "identity"}:
        return bytes(data)
    if encoding != "zstd":
        raise ControlPlaneError(f"expected a table as it is or in zstd, found Content-Encoding {encoding!r}")
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    try:
        with decompressor.stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
            found = reader.read(max_bytes + 1)
    except zstandard.ZstdError as error:
        raise TableError(f"the table cannot be decompressed: {error}") from error
    if len(found) > max_bytes:
        raise TableError(f"the table is larger than {max_bytes} bytes when it is decompressed")
    return found
