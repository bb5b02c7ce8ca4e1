"""Subjects of events, ``events.<cell>.<tenant>.<type>``: which cell, tenant and type, in tokens that NATS can route by.

A tenant's id may have dots, which part the tokens of a subject. Letters, digits, ``_`` and ``-`` stand for themselves;
every other character is ``=`` and its two hexadecimal digits. So ``acme.eu`` is ``acme=2Eeu``, and back.
"""

import re
from functools import lru_cache

from cellplane.cell.settings import is_visible
from cellplane.events.errors import InvalidEventError
from cellplane.events.settings import EventLimits

PREFIX = "events"
EVERY_EVENT = f"{PREFIX}.>"

_PLAIN = re.compile(r"[A-Za-z0-9_-]*")
_OTHER = re.compile(r"[^A-Za-z0-9_-]")
_TOKEN = re.compile(r"(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+")
_ESCAPED = re.compile(r"=([0-9A-F]{2})")
_TYPE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_LIMITS = EventLimits()


def check_type(type_: str) -> None:
    """Check that this can be an event's type, such as ``order.created``.

    Raises:
        InvalidEventError: it cannot.
    """
    if len(type_) > _LIMITS.type_max_chars or _TYPE.fullmatch(type_) is None:
        raise InvalidEventError(
            "type",
            f"expected up to {_LIMITS.type_max_chars} letters, digits, - and _, in parts between dots, such as "
            f"order.created; found {type_[: _LIMITS.type_max_chars]!r}",
        )


@lru_cache(maxsize=8192)
def token_of(name: str) -> str:
    """The one token that stands for a cell's or a tenant's id.

    Raises:
        InvalidEventError: it is not 1 to 128 visible ASCII characters.
    """
    if not is_visible(name, _LIMITS.tenant_max_chars):
        raise InvalidEventError(
            "tenant_id", f"expected 1–{_LIMITS.tenant_max_chars} visible ASCII characters, found {name[:40]!r}"
        )
    if _PLAIN.fullmatch(name):
        return name
    return _OTHER.sub(lambda found: f"={ord(found[0]):02X}", name)


@lru_cache(maxsize=8192)
def name_of(token: str) -> str:
    """The id that a token stands for; the inverse of ``token_of``.

    Raises:
        InvalidEventError: the token stands for none, or is not the one that does.
    """
    if _TOKEN.fullmatch(token):
        name = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), token)
        if is_visible(name, _LIMITS.tenant_max_chars) and token_of(name) == token:
            return name
    raise InvalidEventError("subject", f"expected a token that stands for an id, found {token[:40]!r}")


def subject_of(cell_id: str, tenant_id: str, type_: str) -> str:
    """The subject that an event is published to."""
    return f"{PREFIX}.{token_of(cell_id)}.{token_of(tenant_id)}.{type_}"


def parts_of(subject: str) -> tuple[str, str, str]:
    """Cell, tenant and type that a subject names; the inverse of ``subject_of``.

    Raises:
        InvalidEventError: it is no subject of an event.
    """
    prefix, _, rest = subject.partition(".")
    cell, _, rest = rest.partition(".")
    tenant, _, type_ = rest.partition(".")
    if prefix != PREFIX:
        raise InvalidEventError("subject", f"expected {EVERY_EVENT}, found {subject[:80]!r}")
    check_type(type_)
    return name_of(cell), name_of(tenant), type_
