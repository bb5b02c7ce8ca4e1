"""The partition key of a request: the value of the first source that has one (``docs/table-format.md``)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cellplane.model import KeySource, KeySourceKind


@dataclass(frozen=True, slots=True)
class RequestKeys:
    """What of a request can say its key.

    Attributes:
        header: all values of a header, given its name in lower case, in order.
        authority: the host that was asked for, with or without port.
        path: the path with its query.
        claim: all values of a claim, given its name, in the verified tokens of the request.
        cookie: the different keys that the valid cookies of a name say (``signed_cookie.Keyring.tenants``).
    """

    header: Callable[[str], Sequence[bytes]]
    authority: bytes = b""
    path: bytes = b"/"
    claim: Callable[[str], Sequence[bytes]] = lambda _name: ()
    cookie: Callable[[str], Sequence[bytes]] = lambda _name: ()


class AmbiguousKeyError(Exception):
    """A source says the key more than once."""


def key_value(sources: Sequence[KeySource], request: RequestKeys) -> bytes | None:
    """The value of the first source that has one, as it stands there; None where none has.

    Raises:
        AmbiguousKeyError: a source has more than one.
    """
    for source in sources:
        value = _value(source, request)
        if value:
            return value
    return None


def _value(source: KeySource, request: RequestKeys) -> bytes:
    match source.kind:
        case KeySourceKind.HEADER:
            return _only(request.header(source.name))
        case KeySourceKind.JWT_CLAIM:
            return _only(request.claim(source.name))
        case KeySourceKind.COOKIE:
            return _only(request.cookie(source.name))
        case KeySourceKind.SUBDOMAIN:
            return _of_host(request.authority, source.name.encode())
        case KeySourceKind.PATH:
            return _of_path(request.path, source.name.encode())


def _only(values: Sequence[bytes]) -> bytes:
    if len(values) > 1:
        raise AmbiguousKeyError
    return values[0] if values else b""


def _of_host(authority: bytes, domain: bytes) -> bytes:
    host, colon, port = authority.rpartition(b":")
    if not colon or not port.isdigit():
        host = authority
    label, dot, rest = host.lower().removesuffix(b".").partition(b".")
    return label if dot and rest == domain else b""


def _of_path(path: bytes, prefix: bytes) -> bytes:
    if not path.startswith(prefix):
        return b""
    following = path[len(prefix) :]
    ends = [place for place in map(following.find, (b"/", b"?", b"#")) if place >= 0]
    return following[: min(ends)] if ends else following
