"""Key sources: where in a request its partition key stands."""

from dataclasses import dataclass
from enum import Enum

from cellplane.errors import ValidationError
from cellplane.model.jwt import check_cookie_name
from cellplane.model.key import check_header_name, is_name

MAX_KEY_SOURCES = 8
"""Most sources of a fleet: each is looked at on a request that the ones before say nothing about."""

MAX_CLAIM_CHARS = 128
"""Longest name of a claim, with the objects that it is in."""

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
    """One place of a request. A claim and a cookie are verified. Whoever can reach the router can write a header, a
    host or a path: they prove nothing.

    Attributes:
        kind: see KeySourceKind.
        name: of ``jwt-claim``, a claim of a verified token; a ``.`` steps into an object. Of ``cookie``, a signed
            routing cookie (``cellplane.signed_cookie``). Of ``header``, its name in lower case. Of ``subdomain``, the
            domain under which the key is the first label, such as ``example.com``; the key is in lower case there,
            since DNS knows no other. Of ``path``, what the path begins with before the key, such as ``/t/``; the key
            ends at the next ``/`` or ``?``.
        trusted: that something in front of the router sets the header, and no client can. A header needs it, and
            nothing else has it.
    """

    kind: KeySourceKind
    name: str
    trusted: bool = False

    @classmethod
    def trusted_header(cls, name: str) -> "KeySource":
        """A header that no client can set."""
        return cls(KeySourceKind.HEADER, name, trusted=True)

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        is_header = self.kind is KeySourceKind.HEADER
        if is_header:
            check_header_name(f"{field}.name", self.name)
        elif self.kind is KeySourceKind.COOKIE:
            check_cookie_name(f"{field}.name", self.name)
        elif self.kind is KeySourceKind.JWT_CLAIM:
            _check_claim(f"{field}.name", self.name)
        elif self.kind is KeySourceKind.SUBDOMAIN:
            if len(self.name) > MAX_SOURCE_CHARS or not all(is_name(label) for label in self.name.split(".")):
                raise ValidationError(f"{field}.name", f"expected a domain such as example.com, found {self.name!r}")
        elif len(self.name) > MAX_SOURCE_CHARS or not _is_prefix(self.name):
            raise ValidationError(f"{field}.name", f"expected a path such as /t/, found {self.name!r}")
        if is_header and not self.trusted:
            raise ValidationError(
                f"{field}.trusted",
                f"every client can write the header {self.name!r}: say that it is trusted where something in front of "
                "the router sets it, or take a jwt-claim, a cookie or a subdomain",
            )
        if self.trusted and not is_header:
            raise ValidationError(f"{field}.trusted", f"means nothing to a {self.kind.value}")


def _check_claim(field: str, name: str) -> None:
    allowed = all(char.isascii() and (char.isalnum() or char in "_-:.") for char in name)
    if len(name) > MAX_CLAIM_CHARS or not allowed or not all(name.split(".")):
        raise ValidationError(
            field,
            f"expected the name of a claim: 1 to {MAX_CLAIM_CHARS} letters, digits and _ - : , with a . for each step "
            f"into an object; found {name!r}",
        )


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
