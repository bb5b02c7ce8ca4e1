"""A cookie that says which tenant a browser belongs to, signed so that nobody else can say so.

An app sets it, after it knows its user; routers read it. Both have the same file of keys::

    # id  secret: base64url of 32 bytes or more
    2026-11 Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4
    2026-10 cXV4YmF6YmFyZm9vcXV4YmF6YmFyZm9vcXV4YmF6YmFyZm9v

The first key signs, all verify. To rotate: add a key at the end everywhere, move it to the front everywhere, remove the
old one when its cookies have expired.

The value is ``cp1.<expiry>.<key id>.<MAC>.<tenant>``: the expiry in Unix seconds, the MAC a base64url HMAC-SHA256
(RFC 2104) of everything else and the cookie's name. It is signed, not secret. Standard library only: apps import it.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cellplane.errors import ValidationError

VERSION = "cp1"
"""What a value begins with."""

MIN_SECRET_BYTES = 32
"""Shortest secret: the length of the MAC."""

MAX_SECRET_BYTES = 64
"""Longest secret: a block of SHA-256."""

MAX_KEYS = 8
"""Most keys of a file."""

MAX_COOKIES = 4
"""Cookies of one name that a request may have; what more there are does not count."""

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_VALUE = re.compile(rb"cp1\.([1-9][0-9]{0,14})\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]{43})\.([!-~]{1,128})")


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of a file.

    Attributes:
        signing_key: id of the key that signs: the first.
        secrets: by id.
    """

    signing_key: str
    secrets: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """The keys of a file's text.

        Raises:
            ValidationError: a line is not a key. It names the line, never the secret.
        """
        found: dict[str, bytes] = {}
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            place = f"cookie keys, line {number}"
            if len(words) != 2 or not _KEY_ID.fullmatch(words[0]):  # id and secret
                raise ValidationError(place, "expected an id of 1 to 32 letters, digits, _ or -, a space and a secret")
            if words[0] in found:
                raise ValidationError(place, f"the id {words[0]!r} stands twice")
            found[words[0]] = _secret(place, words[1])
        if not 1 <= len(found) <= MAX_KEYS:
            raise ValidationError("cookie keys", f"expected 1 to {MAX_KEYS} keys, found {len(found)}")
        return cls(next(iter(found)), found)

    def sign(self, name: str, tenant_id: str, *, expires: int) -> str:
        """The value of a cookie.

        Args:
            name: of the cookie; a value is for one name only.
            tenant_id: the partition key.
            expires: Unix seconds from which on it does not count.
        """
        mac = _mac(self.secrets[self.signing_key], name, str(expires), self.signing_key, tenant_id.encode())
        return f"{VERSION}.{expires}.{self.signing_key}.{mac.decode()}.{tenant_id}"

    def verify(self, name: str, value: bytes, *, now: int) -> bytes | None:
        """The tenant of a cookie's value; None where it is not signed by one of these keys, or has expired."""
        match = _VALUE.fullmatch(value)
        if match is None:
            return None
        expires, key_id, mac, tenant_id = match.groups()
        secret = self.secrets.get(key_id.decode())
        if secret is None or int(expires) <= now:
            return None
        expected = _mac(secret, name, expires.decode(), key_id.decode(), tenant_id)
        return tenant_id if hmac.compare_digest(expected, mac) else None

    def tenants(self, name: str, headers: Iterable[bytes], *, now: int) -> list[bytes]:
        """The different tenants of the valid cookies of a name, in the order of a request's ``Cookie`` headers."""
        found: list[bytes] = []
        for number, value in enumerate(cookies(name, headers)):
            tenant_id = self.verify(name, value, now=now) if number < MAX_COOKIES else None
            if tenant_id is not None and tenant_id not in found:
                found.append(tenant_id)
        return found


def cookies(name: str, headers: Iterable[bytes]) -> Iterator[bytes]:
    """The values of the cookies of a name (RFC 6265, 5.4): pairs between semicolons, without the spaces around them."""
    for header in headers:
        for pair in header.split(b";"):
            found, equals, value = pair.strip(b" \t").partition(b"=")
            if equals and found == name.encode():
                yield value


def new_secret() -> str:
    """A random secret as a file has it."""
    return base64.urlsafe_b64encode(secrets.token_bytes(MIN_SECRET_BYTES)).rstrip(b"=").decode()


def _secret(place: str, text: str) -> bytes:
    try:
        secret = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValidationError(place, "the secret is not base64url") from None
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise ValidationError(
            place, f"expected a secret of {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, found {len(secret)}"
        )
    return secret


def _mac(secret: bytes, name: str, expires: str, key_id: str, tenant_id: bytes) -> bytes:
    # No part but the last can have a newline or a NUL, so no two cookies have the same text.
    text = b"\n".join((VERSION.encode(), name.encode(), expires.encode(), key_id.encode(), tenant_id))
    return base64.urlsafe_b64encode(hmac.new(secret, text, hashlib.sha256).digest()).rstrip(b"=")
