"""Ed25519 keys and their files: PEM, with what a key is for in lines before it (RFC 7468, 2: explanatory text)."""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from cellplane.durable import write_durably
from cellplane.errors import KeyFileError
from cellplane.model import is_name
from cellplane.publishing.settings import MAX_KEY_FILE_BYTES, MAX_KEYS

PUBLIC_SUFFIX = ".pub"
"""Ends the name of the file that routers are given."""

_OTHERS = 0o077
_OTHERS_WRITE = 0o002
_ID, _JURISDICTION, _NOT_AFTER = "Cellplane-Key-Id", "Jurisdiction", "Not-After"
_BLOCK = re.compile(
    r"((?:[A-Za-z-]{1,32}: [ -~]{1,128}\n)*)"
    r"(-----BEGIN (PRIVATE|PUBLIC) KEY-----\n(?:[A-Za-z0-9+/=]{1,76}\n){1,8}-----END \3 KEY-----\n)"
)
_NOTHING = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*")


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What a key is for.

    Attributes:
        jurisdiction: whose routers are to trust it; empty where all are.
        not_after: Unix seconds after which it counts no more; None: it has no end.
    """

    jurisdiction: str = ""
    not_after: int | None = None

    def expired_at(self, now: int) -> bool:
        """Whether it counts no more at this time, in Unix seconds."""
        return self.not_after is not None and now > self.not_after

    def signs_for(self, jurisdiction: str) -> bool:
        """Whether a signature by it counts under a law; an empty one is that of nobody in particular."""
        return not jurisdiction or self.jurisdiction in {"", jurisdiction}

    def headers(self, key_id: str) -> str:
        """The lines before a key."""
        lines = [f"{_ID}: {key_id}\n"]
        if self.jurisdiction:
            lines.append(f"{_JURISDICTION}: {self.jurisdiction}\n")
        if self.not_after is not None:
            lines.append(f"{_NOT_AFTER}: {_moment(self.not_after)}\n")
        return "".join(lines)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies."""

    key: Ed25519PublicKey
    use: KeyUse = KeyUse()

    @property
    def id(self) -> str:
        """What it is called: it follows from the key."""
        return hashlib.sha256(self.key.public_bytes_raw()).hexdigest()[:16]

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether this key signed these bytes."""
        try:
            self.key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def encode(self) -> str:
        """The text of its file."""
        pem = self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return self.use.headers(self.id) + pem.decode()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs."""

    key: Ed25519PrivateKey = field(repr=False)
    use: KeyUse = KeyUse()

    @classmethod
    def generate(cls, use: KeyUse) -> "SigningKey":
        """A new key."""
        return cls(Ed25519PrivateKey.generate(), use)

    @property
    def public(self) -> PublicKey:
        """The half that verifies."""
        return PublicKey(self.key.public_key(), self.use)

    @property
    def id(self) -> str:
        """What it is called, as its public half."""
        return self.public.id

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of its signature."""
        return self.key.sign(data)

    def encode(self) -> str:
        """The text of its file. It is a secret."""
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self.use.headers(self.id) + pem.decode()


def create_key(path: Path, use: KeyUse) -> SigningKey:
    """Make a key: ``path`` for whoever signs, readable by its owner alone, and ``path`` + ``.pub`` for routers.

    Raises:
        KeyFileError: there is a file already, or it cannot be written.
    """
    key, public = SigningKey.generate(use), path.with_name(path.name + PUBLIC_SUFFIX)
    for each in (path, public):
        if each.exists():
            raise KeyFileError(f"{each} is there already: a key is never replaced; choose another name")
    try:
        write_durably(public, key.public.encode().encode(), mode=0o644)
        write_durably(path, key.encode().encode())
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from error
    return key


def read_signing_key(path: Path) -> SigningKey:
    """The one private key of a file.

    Raises:
        KeyFileError: it cannot be read, others than its owner may open it, or it holds something else.
    """
    keys = list(_parse(path, _read(path, _OTHERS, "chmod 600 it: whoever reads it can sign tables")))
    if len(keys) != 1 or not isinstance(keys[0], SigningKey):
        raise KeyFileError(f"{path}: expected one private key, as `cellplane keys create` writes it")
    return keys[0]


def read_public_keys(path: Path) -> tuple[PublicKey, ...]:
    """The public keys of a file.

    Raises:
        KeyFileError: it cannot be read, anybody may write to it, or it holds none, or anything else.
    """
    keys = list(_parse(path, _read(path, _OTHERS_WRITE, "chmod 644 it: whoever writes it decides whom routers trust")))
    public = tuple(key for key in keys if isinstance(key, PublicKey))
    if not public or len(public) != len(keys):
        raise KeyFileError(f"{path}: expected public keys alone; routers are given the files that end with .pub")
    return public


def read_keys(path: Path) -> tuple[PublicKey, ...]:
    """The public halves of whatever keys a file holds.

    Raises:
        KeyFileError: it cannot be read, or holds something else.
    """
    found = tuple(key.public if isinstance(key, SigningKey) else key for key in _parse(path, _read(path, 0, "")))
    if not found:
        raise KeyFileError(f"{path}: expected a key in PEM, as `cellplane keys create` writes it")
    return found


def _read(path: Path, forbidden: int, advice: str) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"{path}: expected a file of keys")
            if status.st_mode & forbidden:
                raise KeyFileError(f"{path} has mode {status.st_mode & 0o777:04o}: {advice}")
            data = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_KEY_FILE_BYTES:
        raise KeyFileError(f"{path}: expected at most {MAX_KEY_FILE_BYTES:,} bytes of keys")
    # What is no text may be a secret: it is not shown.
    return data.decode("ascii", "replace").replace("\r\n", "\n")


def _parse(path: Path, text: str) -> Iterator[SigningKey | PublicKey]:
    at, count = _skip(text, 0), 0
    while at < len(text):
        block = _BLOCK.match(text, at)
        if block is None or count == MAX_KEYS:
            line = text.count("\n", 0, at) + 1
            raise KeyFileError(f"{path}, line {line}: expected a key in PEM, and at most {MAX_KEYS} of them")
        yield _key(path, block)
        at, count = _skip(text, block.end()), count + 1


def _skip(text: str, at: int) -> int:
    found = _NOTHING.match(text, at)
    return at if found is None else found.end()


def _key(path: Path, block: re.Match[str]) -> SigningKey | PublicKey:
    headers, pem = dict(line.split(": ", 1) for line in block[1].splitlines()), block[2].encode()
    try:
        key = load_pem_private_key(pem, None) if block[3] == "PRIVATE" else load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: a key cannot be read; make one with `cellplane keys create`") from None
    use = KeyUse(headers.get(_JURISDICTION, ""), _seconds(path, headers.get(_NOT_AFTER)))
    if use.jurisdiction and not is_name(use.jurisdiction):
        raise KeyFileError(f"{path}: {_JURISDICTION} is {use.jurisdiction!r}, expected a name such as eu")
    found: SigningKey | PublicKey
    if isinstance(key, Ed25519PrivateKey):
        found = SigningKey(key, use)
    elif isinstance(key, Ed25519PublicKey):
        found = PublicKey(key, use)
    else:
        raise KeyFileError(f"{path}: expected a key of Ed25519; make one with `cellplane keys create`")
    if headers.get(_ID, found.id) != found.id:
        raise KeyFileError(f"{path}: {_ID} is {headers[_ID]!r}, but the key is {found.id}")
    return found


def _seconds(path: Path, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise KeyFileError(f"{path}: {_NOT_AFTER} is {text!r}, expected such as 2030-01-31T00:00:00Z") from error


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
