"""What the API says of tokens and of calls, as JSON."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cellplane.control.access.roles import Permission, Role
from cellplane.control.access.tokens import TokenOrder
from cellplane.directory.audit import AuditEntry
from cellplane.directory.tokens import TokenRecord, text_of

RoleName = Literal["viewer", "operator", "admin", "cell", "router"]
PermissionName = Literal[
    "read",
    "table:read",
    "tenants:write",
    "quarantine:write",
    "fleet:write",
    "router:report",
    "cell:report",
    "tokens:manage",
    "audit:read",
]


class TokenSpec(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Whom the change log and the audit name")
    role: RoleName
    subject: str | None = Field(None, description="The cell or router whose it is; needed for these roles")
    permissions: list[PermissionName] | None = Field(
        None, max_length=len(Permission), description="The part of the role's that it has; null for all"
    )
    days: float | None = Field(None, gt=0, le=100_000, description="Its lifetime; null for the server's default")

    def to_order(self) -> TokenOrder:
        """What is asked for."""
        permissions = None if self.permissions is None else frozenset(Permission(name) for name in self.permissions)
        return TokenOrder(
            name=self.name, role=Role(self.role), subject=self.subject, permissions=permissions, days=self.days
        )


class TokenView(BaseModel):
    """A token, without its secret. Times are UTC, ISO 8601."""

    id: str
    name: str
    role: RoleName
    subject: str | None
    permissions: list[PermissionName] | None = Field(description="Null for all of the role")
    state: Literal["live", "expired", "revoked"]
    created_at: str
    created_by: str
    expires_at: str
    revoked_at: str | None
    last_used_at: str | None = Field(description="To some minutes; null where it was never used")

    @classmethod
    def of(cls, record: TokenRecord, *, is_live: bool) -> "TokenView":
        """That of a record."""
        return cls.model_validate(
            {
                "id": record.id,
                "name": record.name,
                "role": record.role,
                "subject": record.subject,
                "permissions": None if record.permissions is None else list(record.permissions),
                "state": "live" if is_live else "expired" if record.revoked_at is None else "revoked",
                "created_at": text_of(record.created_at),
                "created_by": record.created_by,
                "expires_at": text_of(record.expires_at),
                "revoked_at": None if record.revoked_at is None else text_of(record.revoked_at),
                "last_used_at": None if record.last_used_at is None else text_of(record.last_used_at),
            }
        )


class NewToken(TokenView):
    """A token that was made now."""

    token: str = Field(description="With its secret: it is told this once")


class TokenList(BaseModel):
    """One page of tokens, by id."""

    items: list[TokenView]
    next: str | None = Field(description="`after` of the next page; null on the last")


class AuditView(BaseModel):
    """A call that changed something, or was refused."""

    id: int
    at: str
    caller: str = Field(description="Empty where the control plane did not know them")
    role: str
    source: str = Field(description="The address that it came from")
    method: str
    path: str
    status: int
    reason: str = Field(description="Why it was refused, or why the caller changed something, in their words")
    epoch: int | None = Field(description="Of the directory after the change; null where the fleet did not change")

    @classmethod
    def of(cls, entry: AuditEntry) -> "AuditView":
        """That of an entry."""
        return cls(
            id=entry.id,
            at=text_of(entry.at),
            caller=entry.caller,
            role=entry.role,
            source=entry.source,
            method=entry.method,
            path=entry.path,
            status=entry.status,
            reason=entry.reason,
            epoch=entry.epoch,
        )


class AuditList(BaseModel):
    """One page of the audit, the newest first."""

    items: list[AuditView]
    next: int | None = Field(description="`before` of the next page; null on the last")
