"""A URL that routers send somebody to, or fetch from: ``https``, or ``http`` on loopback."""

from urllib.parse import urlsplit

from cellplane.errors import ValidationError

MAX_URL_CHARS = 1024
"""Longest URL."""

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that are this machine, whatever its network."""


def check_url(field: str, value: str, *, example: str, why_https: str) -> None:
    """Raise ValidationError unless the text is a URL of https, or of http on loopback, without user and fragment.

    Args:
        field: path of the field.
        value: the text.
        example: a URL as expected, for the message.
        why_https: what http would cost, for the message.
    """
    check_url_text(field, value)
    try:
        url = urlsplit(value)
        host, port = url.hostname or "", url.port
    except ValueError as error:
        raise ValidationError(field, f"expected a URL, found {value!r}: {error}") from None
    is_host = bool(host) and port != 0 and all(char.isalnum() or char in ".:-_" for char in host)
    if not is_host or url.username is not None or url.fragment or url.scheme not in {"https", "http"}:
        raise ValidationError(field, f"expected a URL such as {example}, found {value!r}")
    if url.scheme == "http" and host not in LOOPBACK_HOSTS:
        raise ValidationError(field, f"expected https: {why_https}; found {value!r}")


def check_url_text(field: str, value: str) -> None:
    """Raise ValidationError unless the text has only what a URL or a path has."""
    if not 1 <= len(value) <= MAX_URL_CHARS or not value.isascii() or not value.isprintable() or " " in value:
        raise ValidationError(
            field, f"expected 1 to {MAX_URL_CHARS} printable ASCII characters without spaces, found {value[:80]!r}"
        )
