"""The signed statement of a publication: which bytes a fleet routes by (docs/publishing.md)."""

import base64
import binascii
import re
from dataclasses import dataclass, replace
from typing import Self

from cellplane.errors import SignatureError
from cellplane.model import is_name
from cellplane.publishing.settings import MAX_MANIFEST_BYTES, MAX_PART_BYTES, MAX_SIGNATURES
from cellplane.routing import RoutingTable

DOMAIN = "cellplane-publication-1"
"""First line of what is signed: no signature over anything else can be taken for one over a publication."""

MANIFEST = "manifest"
"""Name of the file, at a target, that says which others count: written last, read first."""

_NUMBER = rb"(0|[1-9][0-9]{0,19})"
_SHA256 = rb"([0-9a-f]{64})"
_MANIFEST = re.compile(
    rb"(cellplane-publication-1\n"
    rb"fleet ([a-z0-9-]{1,63})\n"
    rb"epoch " + _NUMBER + rb"\n"
    rb"published " + _NUMBER + rb"\n"
    rb"base " + _NUMBER + rb" " + _SHA256 + rb" " + _NUMBER + rb"\n"
    rb"overlay (?:none|" + _SHA256 + rb" " + _NUMBER + rb")\n)"
    rb"((?:signature [0-9a-f]{16} [A-Za-z0-9_-]{86}\n)*)"
)
_MAX_EPOCH = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a publication.

    Attributes:
        kind: ``base`` or ``overlay``.
        epoch: of the table that it makes.
        sha256: the checksum in its header, which is of all its other bytes.
        size_bytes: its length.
    """

    kind: str
    epoch: int
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """What it is called at a target: by its content, so that no name ever has other bytes."""
        return f"{self.kind}-{self.epoch}-{self.sha256}.cpt"


@dataclass(frozen=True, slots=True)
class Statement:
    """What is signed.

    Attributes:
        fleet: whose table it is.
        epoch: of the table.
        published_at: Unix seconds.
        base: the base.
        overlay: the overlay on it, None where the base says all.
    """

    fleet: str
    epoch: int
    published_at: int
    base: Part
    overlay: Part | None = None

    @classmethod
    def of(cls, table: RoutingTable, *, published_at: int) -> Self:
        """The statement of a checked table."""
        base = Part("base", table.base.epoch, table.base.sha256, len(table.base.data))
        overlay = None
        if table.overlay is not None:
            overlay = Part("overlay", table.epoch, table.overlay.sha256, len(table.overlay.data))
        return cls(table.fleet, table.epoch, published_at, base, overlay)

    @property
    def tag(self) -> str:
        """The table's tag (docs/table-format.md)."""
        return (self.overlay or self.base).sha256

    @property
    def parts(self) -> tuple[Part, ...]:
        """The files: the base, then the overlay where there is one."""
        return (self.base,) if self.overlay is None else (self.base, self.overlay)

    def encode(self) -> bytes:
        """The bytes that are signed."""
        overlay = "none" if self.overlay is None else f"{self.overlay.sha256} {self.overlay.size_bytes}"
        return (
            f"{DOMAIN}\nfleet {self.fleet}\nepoch {self.epoch}\npublished {self.published_at}\n"
            f"base {self.base.epoch} {self.base.sha256} {self.base.size_bytes}\noverlay {overlay}\n"
        ).encode()

    def same_tables(self, other: "Statement") -> bool:
        """Whether both speak of the same fleet, epoch and bytes; they may have been made at different times."""
        return replace(self, published_at=0) == replace(other, published_at=0)

    def check_fleet(self, expected: str) -> None:
        """Raise SignatureError unless it is of this fleet."""
        if self.fleet != expected:
            raise SignatureError(f"the manifest is of fleet {self.fleet!r}, expected {expected!r}: ask another source")

    def check_describes(self, table: RoutingTable) -> None:
        """Check that these are the bytes that the statement is about.

        Raises:
            SignatureError: they are others.
        """
        found = Statement.of(table, published_at=self.published_at)
        for what, said, is_there in (
            ("fleet", self.fleet, found.fleet),
            ("epoch", self.epoch, found.epoch),
            ("base", self.base, found.base),
            ("overlay", self.overlay, found.overlay),
        ):
            if said != is_there:
                raise SignatureError(
                    f"the manifest is not of this table: its {what} is {_shown(said)}, found {_shown(is_there)}"
                )

    def vouches_for(self, table: RoutingTable) -> bool:
        """Whether the table is the one that it is about, or the base of that one."""
        found = Statement.of(table, published_at=self.published_at)
        return found == self or (found.overlay is None and (found.fleet, found.base) == (self.fleet, self.base))


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signed, and the 64 bytes of Ed25519."""

    key_id: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """A statement and the signatures over it, by key id; none where nobody signed."""

    statement: Statement
    signatures: tuple[Signature, ...] = ()

    def __post_init__(self) -> None:
        assert [each.key_id for each in self.signatures] == sorted({each.key_id for each in self.signatures})
        assert len(self.signatures) <= MAX_SIGNATURES

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a manifest; each has exactly one form, so that ``parse(data).encode()`` is the same bytes.

        Raises:
            SignatureError: these are no manifest of this version.
        """
        if len(data) > MAX_MANIFEST_BYTES:
            raise SignatureError(f"expected a manifest of at most {MAX_MANIFEST_BYTES} bytes, found {len(data)}")
        match = _MANIFEST.fullmatch(data)
        if match is None:
            raise SignatureError(f"expected a manifest that begins with {DOMAIN!r}, found {data[:40]!r}…")
        statement = _statement(match)
        signatures = tuple(map(_signature, match[10].splitlines()))
        ids = [each.key_id for each in signatures]
        if ids != sorted(set(ids)) or len(ids) > MAX_SIGNATURES:
            raise SignatureError(f"expected at most {MAX_SIGNATURES} signatures, by key id, each once; found {ids}")
        return cls(statement, signatures)

    def encode(self) -> bytes:
        """Its bytes."""
        lines = [f"signature {each.key_id} {_text(each.value)}\n".encode() for each in self.signatures]
        return b"".join([self.statement.encode(), *lines])


def to_header(manifest: bytes) -> str:
    """A manifest's bytes as the value of an HTTP header: base64url without padding."""
    return _text(manifest)


def from_header(value: str) -> bytes:
    """The bytes of such a value.

    Raises:
        SignatureError: it is none.
    """
    try:
        found = _bytes(value)
    except (binascii.Error, ValueError):
        found = b""
    if not found or _text(found) != value:
        raise SignatureError(f"expected a manifest in base64url without padding, found {value[:40]!r}…")
    return found


def _statement(match: re.Match[bytes]) -> Statement:
    fleet = match[2].decode()
    epoch, published_at, base_epoch, base_bytes = (int(match[place]) for place in (3, 4, 5, 7))
    overlay_bytes = int(match[9] or 0)
    if not is_name(fleet):
        raise SignatureError(f"the manifest's fleet {fleet!r} is no name")
    if max(base_bytes, overlay_bytes) > MAX_PART_BYTES or not 1 <= base_epoch <= epoch <= _MAX_EPOCH:
        raise SignatureError(f"the manifest's epochs ({base_epoch}, {epoch}) or sizes are out of range")
    if (match[8] is None) != (epoch == base_epoch):
        raise SignatureError("the manifest's epoch is its base's, and it has an overlay; or neither")
    base = Part("base", base_epoch, match[6].decode(), base_bytes)
    overlay = None if match[8] is None else Part("overlay", epoch, match[8].decode(), overlay_bytes)
    return Statement(fleet, epoch, published_at, base, overlay)


def _signature(line: bytes) -> Signature:
    _, key_id, text = line.decode().split(" ")
    value = _bytes(text)
    if _text(value) != text:
        raise SignatureError(f"the signature of key {key_id} has bits that say nothing")
    return Signature(key_id, value)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _shown(value: object) -> str:
    return value.file_name if isinstance(value, Part) else repr(value)
