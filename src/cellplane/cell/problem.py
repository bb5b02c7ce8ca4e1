"""A refusal as a problem document (RFC 9457), in the one shape that routers and cells share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

_OWN_MEMBERS = frozenset({"type", "title", "status", "detail", "code"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal."""

    content_type: ClassVar[str] = "application/problem+json"

    code: str
    """What programs compare, such as ``wrong-cell``; also the end of the document's ``type``."""

    status: int
    """The HTTP status, 400–599."""

    title: str
    """What people read first; the same for every occurrence of the code."""

    detail: str
    """What happened in this occurrence and what to do."""

    members: Mapping[str, object] = field(default_factory=dict)
    """Further members of the document, values that JSON can hold."""

    def __post_init__(self) -> None:
        assert 400 <= self.status <= 599, f"a problem has an error status, not {self.status}"
        assert not _OWN_MEMBERS & self.members.keys(), "further members must not hide the document's own"

    def encode(self) -> bytes:
        """Give the document as JSON, in ASCII, so that no text of a client can make it fail."""
        import json  # noqa: PLC0415  # a refusal may take the milliseconds that an import should not

        document = {
            "type": f"urn:cellplane:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.members,
        }
        return json.dumps(document, separators=(",", ":")).encode("ascii")
