"""A cookie that says which tenant a browser belongs to, signed so that nobody else can say so.

An app sets it, after it knows its user; routers read it. Both have the same file of keys::

    # id  secret: base64url of 32 bytes or more; then, perhaps, the jurisdiction that the key speaks for alone
    2026-11 Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4
    2026-10 cXV4YmF6YmFyZm9vcXV4YmF6YmFyZm9vcXV4YmF6YmFyZm9v

The first key signs, all verify. To rotate: add a key at the end everywhere, move it to the front everywhere, remove the
old one when its cookies have expired.

An app that has signed a user in sets the cookie for as long as the value counts::

    keyring = Keyring.parse(Path("/etc/shop/cookie-keys").read_text())
    expires = int(time.time()) + 8 * 3600
    response.set_cookie("__Host-cell", keyring.sign("__Host-cell", tenant_id, expires=expires), expires=expires, …)

A key with a jurisdiction says who somebody is only where the tenant's cells are under that: whoever takes the key of
one jurisdiction can make no cookie for tenants of another. Apps have the keys of their own, routers all of theirs.

The value is ``cp1.<expiry>.<key id>.<MAC>.<tenant>``: the expiry in Unix seconds, the MAC a base64url HMAC-SHA256
(RFC 2104) of everything else and the cookie's name. It is signed, not secret. Standard library only: apps import it.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from cellplane.errors import ValidationError

VERSION = "cp1"
"""What a value begins with."""

MIN_SECRET_BYTES = 32
"""Shortest secret: the length of the MAC."""

MAX_SECRET_BYTES = 64
"""Longest secret: a block of SHA-256."""

MAX_KEYS = 8
"""Most keys of a file."""

MAX_EXPIRY = 10**15 - 1
"""Latest expiry: fifteen digits."""

MAX_COOKIES = 4
"""Cookies of one name that a request may have; what more there are does not count."""

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_JURISDICTION = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_VALUE = re.compile(rb"cp1\.([1-9][0-9]{0,14})\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]{43})\.([!-~]{1,128})")
_SIGNED = re.compile(r"[!#-+\--:<-\[\]-~]{1,128}")
"""A tenant that is signed: what a cookie may have (RFC 6265, 4.1.1), so that no value can end its cookie."""

_WORD = re.compile(r"[^ \t\r\f]+")
"""Lines and words of a file are those of ASCII, as in the router."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*=*")


class Fault(Enum):
    """Why a value does not count; the value is for people."""

    MALFORMED = "it is not cp1.<expiry>.<key id>.<MAC>.<tenant>"
    UNKNOWN_KEY = "no key of the file has this id"
    FORGED = "it is not signed by this key for a cookie of this name"
    EXPIRED = "it has expired"


@dataclass(frozen=True, slots=True)
class CookieValue:
    """What a value says, whether or not it is true.

    Attributes:
        expires: Unix seconds from which on it does not count.
        key_id: whose secret signed it.
        mac: base64url.
        tenant_id: the partition key.
    """

    expires: int
    key_id: str
    mac: bytes
    tenant_id: bytes

    @classmethod
    def of(cls, value: bytes) -> "CookieValue | None":
        """What this value says; None where it is none of ours."""
        match = _VALUE.fullmatch(value)
        if match is None:
            return None
        expires, key_id, mac, tenant_id = match.groups()
        return cls(int(expires), key_id.decode(), mac, tenant_id)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of a file.

    Attributes:
        signing_key: id of the key that signs: the first.
        secrets: by id.
        jurisdictions: by id, of the keys that speak for the tenants of one alone.
    """

    signing_key: str
    secrets: Mapping[str, bytes] = field(repr=False)
    jurisdictions: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str, what: str = "cookie keys") -> "Keyring":
        """The keys of a file's text.

        Args:
            text: a key a line.
            what: they are, for messages.

        Raises:
            ValidationError: a line is not a key. It names the line, never the secret.
        """
        found: dict[str, bytes] = {}
        jurisdictions: dict[str, str] = {}
        for number, line in enumerate(text.split("\n"), 1):
            words = _WORD.findall(line)
            if not words or words[0].startswith("#"):
                continue
            place = f"{what}, line {number}"
            is_line = 2 <= len(words) <= 3 and _KEY_ID.fullmatch(words[0])  # id, secret, jurisdiction
            if not is_line or not all(_JURISDICTION.fullmatch(word) for word in words[2:]):
                raise ValidationError(
                    place,
                    "expected an id of 1 to 32 letters, digits, _ or -, a space and a secret, and no more but a "
                    "jurisdiction",
                )
            if words[0] in found:
                raise ValidationError(place, f"the id {words[0]!r} stands twice")
            found[words[0]] = _secret(place, words[1])
            if words[2:]:
                jurisdictions[words[0]] = words[2]
        if not 1 <= len(found) <= MAX_KEYS:
            raise ValidationError(what, f"expected 1 to {MAX_KEYS} keys, found {len(found)}")
        return cls(next(iter(found)), found, jurisdictions)

    def sign(self, name: str, tenant_id: str, *, expires: int) -> str:
        """The value of a cookie.

        Args:
            name: of the cookie; a value is for one name only.
            tenant_id: the partition key.
            expires: Unix seconds from which on it does not count.

        Raises:
            ValidationError: no router could read it as it is meant.
        """
        if not _NAME.fullmatch(name):
            raise ValidationError("name", f"expected 1 to 64 letters, digits and _ - . ; found {name!r}")
        if not _SIGNED.fullmatch(tenant_id):
            raise ValidationError("tenant_id", f"expected a tenant's key, found {tenant_id[:80]!r}")
        if not 0 < expires <= MAX_EXPIRY:
            raise ValidationError("expires", f"expected Unix seconds, found {expires}")
        mac = _mac(self.secrets[self.signing_key], name, str(expires), self.signing_key, tenant_id.encode())
        return f"{VERSION}.{expires}.{self.signing_key}.{mac.decode()}.{tenant_id}"

    def verify(self, name: str, value: bytes, *, now: int) -> bytes | None:
        """The tenant of a cookie's value; None where it is not signed by one of these keys, or has expired."""
        said = CookieValue.of(value)
        return said.tenant_id if said is not None and self.fault(name, said, now=now) is None else None

    def fault(self, name: str, said: CookieValue | None, *, now: int) -> Fault | None:
        """Why a cookie does not count; None where it does."""
        if said is None:
            return Fault.MALFORMED
        secret = self.secrets.get(said.key_id)
        if secret is None:
            return Fault.UNKNOWN_KEY
        expected = _mac(secret, name, str(said.expires), said.key_id, said.tenant_id)
        if not hmac.compare_digest(expected, said.mac):
            return Fault.FORGED
        return Fault.EXPIRED if said.expires <= now else None

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


def check_key_id(field: str, value: str) -> None:
    """Raise ValidationError unless the text may be the id of a key."""
    if not _KEY_ID.fullmatch(value):
        raise ValidationError(field, f"expected 1 to 32 letters, digits, _ or -; found {value!r}")


def new_secret() -> str:
    """A random secret as a file has it."""
    return base64.urlsafe_b64encode(secrets.token_bytes(MIN_SECRET_BYTES)).rstrip(b"=").decode()


def _secret(place: str, text: str) -> bytes:
    bare = text.rstrip("=")
    if not _BASE64URL.fullmatch(text) or len(bare) % 4 == 1:
        raise ValidationError(place, "the secret is not base64url")
    secret = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise ValidationError(
            place, f"expected a secret of {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, found {len(secret)}"
        )
    return secret


def _mac(secret: bytes, name: str, expires: str, key_id: str, tenant_id: bytes) -> bytes:
    # No part but the last can have a newline or a NUL, so no two cookies have the same text.
    text = b"\n".join((VERSION.encode(), name.encode(), expires.encode(), key_id.encode(), tenant_id))
    return base64.urlsafe_b64encode(hmac.new(secret, text, hashlib.sha256).digest()).rstrip(b"=")
