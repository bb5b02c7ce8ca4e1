"""Key sources: where in a request its partition key stands."""

from dataclasses import dataclass
from enum import Enum

from cellplane.errors import ValidationError
from cellplane.model.key import check_header_name, is_name

MAX_KEY_SOURCES = 8
"""Most sources of a fleet: each is looked at on a request that the ones before say nothing about."""

MAX_SOURCE_CHARS = 253
"""Longest suffix or prefix: that of a DNS name."""


class KeySourceKind(Enum):
    """What a source reads; the value is what the API shows."""

    JWT_CLAIM = "jwt-claim"
    COOKIE = "cookie"
    HEADER = "header"
    SUBDOMAIN = "subdomain"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class KeySource:
    """One place of a request. Whoever can reach the router can write a header, a host or a path: they prove nothing.

    Attributes:
        kind: see KeySourceKind.
        name: of ``jwt-claim``, a claim of a verified token. Of ``cookie``, a signed routing cookie. Of ``header``, its
            name in lower case. Of ``subdomain``, the domain under which the key is the first label, such as
            ``example.com``; the key is in lower case there, since DNS knows no other. Of ``path``, what the path begins
            with before the key, such as ``/t/``; the key ends at the next ``/`` or ``?``.
    """

    kind: KeySourceKind
    name: str

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        if self.kind is KeySourceKind.HEADER:
            check_header_name(f"{field}.name", self.name)
            return
        if not 1 <= len(self.name) <= MAX_SOURCE_CHARS:
            raise ValidationError(f"{field}.name", f"expected 1 to {MAX_SOURCE_CHARS} characters")
        if self.kind in {KeySourceKind.JWT_CLAIM, KeySourceKind.COOKIE}:
            # Claims may have the name of a URL (RFC 7519, 4.2); a cookie's has no separators (RFC 6265, 4.1.1).
            marks = "_-." if self.kind is KeySourceKind.COOKIE else "_-./:"
            if not all(char.isascii() and (char.isalnum() or char in marks) for char in self.name):
                raise ValidationError(f"{field}.name", f"expected the name of a claim or cookie, found {self.name!r}")
        elif self.kind is KeySourceKind.SUBDOMAIN:
            if not all(is_name(label) for label in self.name.split(".")):
                raise ValidationError(f"{field}.name", f"expected a domain such as example.com, found {self.name!r}")
        elif not _is_prefix(self.name):
            raise ValidationError(f"{field}.name", f"expected a path such as /t/, found {self.name!r}")


def _is_prefix(text: str) -> bool:
    """Whether a path that a proxy has made canonical can begin so: no empty segment, none of dots."""
    if not text.startswith("/") or not text.endswith("/"):
        return False
    segments = text[1:-1].split("/") if len(text) > 1 else []
    return all(
        segment not in {"", ".", ".."}
        and all(char.isascii() and (char.isalnum() or char in "-._~") for char in segment)
        for segment in segments
    )
