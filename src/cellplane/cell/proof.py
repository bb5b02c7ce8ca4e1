"""Proof that a request came through a router: a header that routers sign with a key which only they and cells have.

For networks in which others than routers can reach a cell. Routers have the file as ``--proof-keys``, cells here::

    proof = ProofKeys(Path("/etc/shop/proof-keys"))
    app = CellMiddleware(app, settings.cell_id, proof=proof)

The file has the form of cookie keys (``cellplane.signed_cookie``): routers sign with the first key, cells believe all.
To rotate: add a key at the end everywhere, move it to the front at the routers, take the old one out everywhere a
minute later. Both read the file again when it changes.

The value is ``cpp1.<time>.<key id>.<MAC>``: Unix seconds, and a base64url HMAC-SHA256 (RFC 2104) of what ``text``
gives. Somebody who reads a request can send the same one again until its proof is too old, with another body even; TLS
between router and cell keeps it unread. A module of its own: what verifies is more to import than the rest of the SDK.
"""

import binascii
import hashlib
import hmac
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cellplane.cell.door import RequestLine, Routing
from cellplane.cell.errors import ProofKeysError
from cellplane.cell.problem import Problem
from cellplane.cell.settings import ProofLimits
from cellplane.errors import ValidationError
from cellplane.signed_cookie import MAX_SECRET_BYTES, Keyring

_log = logging.getLogger("cellplane.cell")

VERSION = b"cpp1"
"""What a value begins with."""

_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_LIMITS = ProofLimits()
_VALUE = re.compile(rb"cpp1\.([1-9][0-9]{0,14})\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]{43})")


def text(routing: Routing, line: RequestLine, seconds: bytes, key_id: bytes) -> bytes:
    """What is signed: all that the request is bound to. No part but the last can have a newline."""
    parts = (VERSION, routing.cell_id, routing.epoch, routing.tenant_id, line.method, seconds, key_id, line.query)
    return b"\n".join((*parts, line.path))


def sign(keys: Keyring, routing: Routing, line: RequestLine, seconds: int) -> bytes:
    """The header's value, as a router writes it: for tests, and for whoever has to speak as a router."""
    when, key_id = str(seconds).encode(), keys.signing_key.encode()
    mac = _mac(keys.secrets[keys.signing_key], text(routing, line, when, key_id))
    return b".".join((VERSION, when, key_id, mac))


class _Key:
    """HMAC-SHA256 by one secret, with the hashes of its pads (RFC 2104, 4) begun once: less than half of the time."""

    def __init__(self, secret: bytes) -> None:
        assert len(secret) <= MAX_SECRET_BYTES, "a longer secret would have to be hashed first"
        padded = secret.ljust(MAX_SECRET_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def mac(self, signed: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(signed)
        outer.update(inner.digest())
        return outer.digest()


class ProofKeys:
    """Verifies proofs by the keys of a file, for a door. Threads may share it.

    A file that is damaged or gone while the process runs changes nothing: the keys of before go on to count, and the
    log says so, once.

    Args:
        path: of the file.
        limits: when a proof counts.
        wall_clock: Unix seconds.
        clock: monotonic seconds, for looks at the file.

    Raises:
        ProofKeysError: the file cannot be read as keys.
    """

    def __init__(
        self,
        path: Path,
        *,
        limits: ProofLimits = _LIMITS,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._limits = limits
        self._wall_clock = wall_clock
        self._clock = clock
        self._reading = threading.Lock()
        self._signature, self._macs = self._read()
        self._look_at = clock() + limits.check_file_seconds
        self._trouble: str | None = None

    def fault(self, routing: Routing, line: RequestLine) -> Problem | None:
        """See ``ProofCheck``."""
        if self._clock() >= self._look_at:
            self._look()
        if not routing.proof:
            return _NO_PROOF
        found = _VALUE.fullmatch(routing.proof)
        if found is None:
            return _invalid("It is not cpp1.<time>.<key id>.<MAC>.")
        seconds, key_id, mac = found.groups()
        keyed = self._macs.get(key_id)
        if keyed is None:
            return _invalid("No key of this cell has its id: give routers and cells the same keys.")
        if not hmac.compare_digest(_text_of(keyed.mac(text(routing, line, seconds, key_id))), mac):
            return _invalid("It is not signed for this cell, epoch, tenant, method and path.")
        age = self._wall_clock() - int(seconds)
        if age > self._limits.max_age_seconds:
            return _invalid(f"It is older than {self._limits.max_age_seconds} s: a repetition, or a wrong clock.")
        if age < -self._limits.max_ahead_seconds:
            return _invalid(f"It is more than {self._limits.max_ahead_seconds} s ahead of this cell's clock.")
        return None

    def _look(self) -> None:
        """Read the keys again if the file is another one. One thread does; the others go on with those of before."""
        if not self._reading.acquire(blocking=False):
            return
        try:
            self._look_at = self._clock() + self._limits.check_file_seconds
            try:
                if _signature_of(self._path) != self._signature:
                    self._signature, self._macs = self._read()
                    _log.info("new keys of proofs", extra={"path": str(self._path)})
            except OSError as error:
                self._say(error.strerror or repr(error))
            except ProofKeysError as error:
                self._say(str(error))
            else:
                self._trouble = None
        finally:
            self._reading.release()

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            _log.error("keys of proofs cannot be used; those of before count: %s", trouble)

    def _read(self) -> tuple[tuple[int, int, int], dict[bytes, "_Key"]]:
        try:
            with self._path.open("rb") as file:
                signature = _signature_of(file.fileno())
                data = file.read(self._limits.max_file_bytes + 1)
        except OSError as error:
            raise ProofKeysError(self._path, f"it cannot be read: {error.strerror}") from error
        if len(data) > self._limits.max_file_bytes:
            raise ProofKeysError(self._path, f"expected at most {self._limits.max_file_bytes} bytes")
        try:
            keys = parse_keys(data.decode())
        except (UnicodeDecodeError, ValidationError) as error:
            raise ProofKeysError(self._path, str(error)) from error
        macs = {key_id.encode(): _Key(secret) for key_id, secret in keys.secrets.items()}
        return signature, macs


def parse_keys(content: str) -> Keyring:
    """The keys of proofs of a file's text.

    Raises:
        ValidationError: a line is not a key, or a key is for one jurisdiction, which a proof has not.
    """
    keys = Keyring.parse(content, "proof keys")
    if keys.jurisdictions:
        raise ValidationError("proof keys", "expected keys without a jurisdiction")
    return keys


def _signature_of(file: Path | int) -> tuple[int, int, int]:
    status = os.stat(file)  # noqa: PTH116  # a path, or what is open
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _mac(secret: bytes, signed: bytes) -> bytes:
    return _text_of(hmac.new(secret, signed, hashlib.sha256).digest())


def _text_of(digest: bytes) -> bytes:
    return binascii.b2a_base64(digest, newline=False).translate(_URL_SAFE).rstrip(b"=")


_NO_PROOF = Problem(
    "no-proof",
    403,
    "Nothing proves that a router sent this request",
    "Expected x-cell-proof, which routers set that were started with --proof-keys. "
    "Send the request to a router, not to a cell.",
)


def _invalid(reason: str) -> Problem:
    return Problem("invalid-proof", 403, "The proof that a router sent this request does not count", reason)
