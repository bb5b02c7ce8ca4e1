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
    """

    header: Callable[[str], Sequence[bytes]]
    authority: bytes = b""
    path: bytes = b"/"


class AmbiguousKeyError(Exception):
    """A header that says the key stands twice."""


def key_value(sources: Sequence[KeySource], request: RequestKeys) -> bytes | None:
    """The value of the first source that has one, as it stands there; None where none has.

    Raises:
        AmbiguousKeyError: a source's header stands twice.
    """
    for source in sources:
        if source.kind is KeySourceKind.HEADER:
            value = _of_header(request.header(source.name))
        elif source.kind is KeySourceKind.SUBDOMAIN:
            value = _of_host(request.authority, source.name.encode())
        else:
            assert source.kind is KeySourceKind.PATH, "a table has no other sources"
            value = _of_path(request.path, source.name.encode())
        if value:
            return value
    return None


def _of_header(values: Sequence[bytes]) -> bytes:
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
