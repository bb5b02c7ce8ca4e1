"""Who calls."""

from dataclasses import dataclass

from cellplane.control.access.roles import Permission, Role, permissions_of
from cellplane.directory.tokens import TokenRecord
from cellplane.errors import ForbiddenError


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who is known.

    Attributes:
        key: what their requests are counted by.
        name: whom the change log and the audit name.
        role: what they are.
        permissions: what they may do.
        subject: the cell or router that they are; None for people and programs.
    """

    key: str
    name: str
    role: Role
    permissions: frozenset[Permission]
    subject: str | None = None

    @classmethod
    def of_token(cls, record: TokenRecord) -> "Caller":
        """The holder of a token."""
        return cls(f"token:{record.id}", record.name, Role(record.role), permissions_of(record), record.subject)

    def require(self, permission: Permission, subject: str | None = None) -> None:
        """Raise ForbiddenError unless the caller may do something.

        Args:
            subject: the cell or router that it is about; one that is bound to another may not.
        """
        if permission not in self.permissions:
            raise ForbiddenError(
                f"{self.name!r} ({self.role.value}) may not do this: it needs the permission {permission.value}. Use a "
                "token that has it, or ask an admin for one"
            )
        if subject is not None and self.subject is not None and self.subject != subject:
            raise ForbiddenError(f"this token is that of {self.subject!r}: it may say nothing for {subject!r}")
