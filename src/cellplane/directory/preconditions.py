"""Preconditions: the version of a resource that a change is for, as ``If-Match`` and ``If-None-Match`` say it."""

import re
from dataclasses import dataclass

from cellplane.errors import PreconditionError, ValidationError

_TAG = re.compile(r'(?:W/)?"([^"]*)"')
_TAGS = re.compile(rf"\s*{_TAG.pattern}(?:\s*,\s*{_TAG.pattern})*\s*")
MAX_VERSION_DIGITS = 19


def etag(version: int) -> str:
    """The entity tag of a version."""
    return f'"{version}"'


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must be so of a resource, or it is not changed (RFC 9110, 13.1).

    Attributes:
        versions: one of these; an empty one: any that is there; None: nothing is asked.
        is_absent: that there is none yet.
    """

    versions: frozenset[int] | None = None
    is_absent: bool = False

    @classmethod
    def of(cls, if_match: str | None, if_none_match: str | None) -> "Precondition":
        """That of a request's headers.

        Raises:
            ValidationError: a header is not what this API gives as an ``ETag``, or ``*``.
        """
        if if_none_match is not None and if_none_match.strip() != "*":
            raise ValidationError(
                "If-None-Match", f"expected *, which asks that there is none yet; found {if_none_match!r}"
            )
        return cls(None if if_match is None else _versions(if_match), is_absent=if_none_match is not None)

    def check(self, what: str, version: int | None) -> None:
        """Raise PreconditionError unless a resource of this version, or none where that is None, may be changed."""
        if self.is_absent and version is not None:
            raise PreconditionError(
                f"{what} is there already, at version {version}: read it, and change it by If-Match"
            )
        if self.versions is None:
            return
        if version is None:
            raise PreconditionError(f"{what} is not there (any more): a change by If-Match needs one")
        if self.versions and version not in self.versions:
            raise PreconditionError(
                f"{what} is at version {version} and was changed since yours: read it again, and change that"
            )


def _versions(header: str) -> frozenset[int]:
    if header.strip() == "*":
        return frozenset()
    if not _TAGS.fullmatch(header):
        raise ValidationError("If-Match", f'expected an ETag such as "42", or *; found {header!r}')
    found = _TAG.findall(header)
    # A tag that no version can have matches nothing; that is no mistake of the header.
    return frozenset(
        int(tag) if tag.isascii() and tag.isdigit() and len(tag) <= MAX_VERSION_DIGITS else -1 for tag in found
    )


ANY = Precondition()
"""Nothing is asked."""
