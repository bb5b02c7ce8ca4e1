"""Tokens: ``cp_<id>_<secret>``. Whoever has one is its holder; the directory knows the SHA-256 of the secret alone."""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cellplane.control.access.roles import PERMISSIONS, Permission, Role
from cellplane.control.access.settings import MAX_NAME_CHARS, AccessSettings
from cellplane.directory.tokens import TokenRecord
from cellplane.errors import ValidationError
from cellplane.model.key import check_name

RandomBytes = Callable[[int], bytes]
"""So many bytes that nobody can guess (``secrets.token_bytes``)."""

PREFIX = "cp_"
ID_BYTES = 8
SECRET_BYTES = 32

_TOKEN = re.compile(rf"cp_([0-9a-f]{{{2 * ID_BYTES}}})_([0-9a-f]{{{2 * SECRET_BYTES}}})")
_NAME = re.compile(rf"[A-Za-z0-9](?:[A-Za-z0-9._@+-]{{0,{MAX_NAME_CHARS - 1}}})")
_RESERVED = frozenset({"control-plane"})
_NOBODYS = "0" * 64
"""No secret has this digest that anybody will find."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token in two parts; the secret is not shown."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Token | None":
        """The token of a text; None where it is none."""
        match = _TOKEN.fullmatch(text)
        return None if match is None else cls(match[1], match[2])

    @property
    def text(self) -> str:
        """All of it, for its holder."""
        return f"{PREFIX}{self.id}_{self.secret}"

    @property
    def digest(self) -> str:
        """What the directory knows of the secret. It has 256 random bits: a slow hash would add nothing."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def is_of(self, record: TokenRecord | None) -> bool:
        """Whether it is the token of a record, in a time that says nothing, also where there is no record."""
        known = _NOBODYS if record is None else record.digest
        is_secret = hmac.compare_digest(self.digest, known)
        return is_secret and record is not None and record.id == self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOrder:
    """A token that is asked for.

    Attributes:
        name: whom the change log and the audit will name.
        role: what its holder is.
        subject: the cell or router, for a role that has one.
        permissions: the part of the role's that it shall have; None for all.
        days: its lifetime; None for the default.
    """

    name: str
    role: Role
    subject: str | None = None
    permissions: frozenset[Permission] | None = None
    days: float | None = None

    def validate(self, settings: AccessSettings) -> None:
        """Raise ValidationError at the first field that breaks a rule."""
        if _NAME.fullmatch(self.name) is None or self.name in _RESERVED:
            raise ValidationError(
                "name",
                f"expected 1 to {MAX_NAME_CHARS} letters, digits or . _ @ + -, the first a letter or digit, and not "
                f"that of the control plane itself; found {self.name[:100]!r}",
            )
        if self.role.has_subject and self.subject is None:
            raise ValidationError("subject", f"expected the name of the {self.role.value} whose token it is")
        if self.subject is not None:
            if not self.role.has_subject:
                raise ValidationError("subject", f"expected none: a token of the role {self.role.value!r} has none")
            check_name("subject", self.subject)
        if self.permissions is not None:
            beyond = self.permissions - PERMISSIONS[self.role]
            if beyond or not self.permissions:
                names = ", ".join(sorted(each.value for each in PERMISSIONS[self.role]))
                raise ValidationError("permissions", f"expected one or more of {names}")
        if self.days is not None and not 0 < self.days <= settings.max_token_days:
            raise ValidationError("days", f"expected more than 0 and at most {settings.max_token_days:g}")


def mint(
    order: TokenOrder, *, by: str, now: datetime, random_bytes: RandomBytes, settings: AccessSettings
) -> tuple[Token, TokenRecord]:
    """A new token, and what of it is kept.

    Args:
        order: it is valid.
        by: who makes it.
    """
    token = Token(random_bytes(ID_BYTES).hex(), random_bytes(SECRET_BYTES).hex())
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    days = settings.default_token_days if order.days is None else order.days
    permissions = None if order.permissions is None else tuple(sorted(each.value for each in order.permissions))
    return token, TokenRecord(
        id=token.id,
        name=order.name,
        role=order.role.value,
        subject=order.subject,
        permissions=permissions,
        digest=token.digest,
        created_at=now,
        created_by=by,
        expires_at=now + timedelta(days=days),
    )
