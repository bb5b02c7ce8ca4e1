"""The partition key: what may be one, and what may name a resource."""

import re

from cellplane.errors import ValidationError

MAX_KEY_BYTES = 128
"""Longest partition key. A key is compared on every request; ids of this field are far shorter."""

MAX_NAME_CHARS = 63
"""Longest name of a fleet, cell, pool, region or jurisdiction: a DNS label, as in Kubernetes."""

KEY_FIRST_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
"""What a partition key begins with."""

KEY_BYTES = KEY_FIRST_BYTES + b"._:@|+=~-"
"""What it goes on with."""

_KEY = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:@|+=~-]{0,127}")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_HEADER = re.compile(r"[a-z0-9][a-z0-9-]*")


def is_key(value: bytes) -> bool:
    """Whether these bytes are a partition key (``docs/table-format.md``, *The decision*)."""
    return _KEY.fullmatch(value) is not None


def check_key(field: str, value: str) -> None:
    """Raise ValidationError unless the text is a partition key."""
    if not is_key(value.encode("utf-8", "surrogatepass")):
        raise ValidationError(
            field,
            f"a tenant id is 1 to {MAX_KEY_BYTES} ASCII characters: a letter or digit, then letters, digits "
            f"and . _ : @ | + = ~ -; found {value[:40]!r}",
        )


def is_name(value: str) -> bool:
    """Whether this text may name a fleet, cell, pool, region or jurisdiction."""
    return len(value) <= MAX_NAME_CHARS and _NAME.fullmatch(value) is not None


def check_name(field: str, value: str) -> None:
    """Raise ValidationError unless the text is a name."""
    if not is_name(value):
        raise ValidationError(
            field,
            f"a name is 1 to {MAX_NAME_CHARS} lower-case letters, digits and inner hyphens; found {value[:80]!r}",
        )


_NOT_FROM_CLIENTS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    }
)
"""Headers that end at a connection, or that a proxy writes anew: no client says its key with them."""

_PROXY_PREFIXES = ("x-cell-", "x-envoy-", "x-forwarded-", "sec-", "proxy-")


def check_header_name(field: str, value: str) -> None:
    """Raise ValidationError unless the text is a lower-case HTTP header name that a client may send."""
    if len(value) > MAX_NAME_CHARS or _HEADER.fullmatch(value) is None:
        raise ValidationError(field, f"expected a lower-case header name, found {value[:80]!r}")
    if value in _NOT_FROM_CLIENTS or value.startswith(_PROXY_PREFIXES):
        raise ValidationError(field, f"{value!r} is set or consumed by proxies on the way: name another header")
