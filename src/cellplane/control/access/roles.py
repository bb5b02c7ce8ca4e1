"""Roles and what each may do. Pure: one table."""

from enum import Enum

from cellplane.directory.tokens import TokenRecord


class Permission(Enum):
    """What a route needs."""

    READ = "read"
    """Read all that the API shows, but tokens and the audit."""

    READ_TABLE = "table:read"
    """Fetch the published table."""

    WRITE_TENANTS = "tenants:write"
    """Create, change, assign and remove tenants."""

    WRITE_QUARANTINE = "quarantine:write"
    """Send tenants to a quarantine cell, and back."""

    WRITE_FLEET = "fleet:write"
    """Change the fleet, its cells and pools, and apply manifests."""

    REPORT_ROUTER = "router:report"
    """Report for a router: its own, where the caller is one."""

    REPORT_CELL = "cell:report"
    """Report for a cell: its own, where the caller is one."""

    REPORT_MOVE = "move:report"
    """Say how far a move is, which decides nothing."""

    READ_CONFIG = "config:read"
    """Fetch what the apps of a cell are told: its own, where the caller is one."""

    MANAGE_TOKENS = "tokens:manage"
    """Create, list and revoke tokens."""

    READ_AUDIT = "audit:read"
    """Read who called, and who was refused."""


class Role(Enum):
    """What a caller is."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    CELL = "cell"
    ROUTER = "router"

    @property
    def has_subject(self) -> bool:
        """Whether a token of it is that of one cell or router, and speaks for no other."""
        return self in {Role.CELL, Role.ROUTER}


_VIEWER = frozenset({Permission.READ, Permission.READ_TABLE, Permission.READ_CONFIG})
_OPERATOR = _VIEWER | {
    Permission.WRITE_TENANTS,
    Permission.WRITE_QUARANTINE,
    Permission.WRITE_FLEET,
    Permission.REPORT_MOVE,
}

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.ADMIN: frozenset(Permission),
    Role.CELL: frozenset({Permission.REPORT_CELL, Permission.READ_CONFIG}),
    Role.ROUTER: frozenset({Permission.READ_TABLE, Permission.REPORT_ROUTER}),
}
"""All that each role may do. What is reported decides where tenants go: an operator reports for none of these."""

CHANGING = frozenset(
    {
        Permission.WRITE_TENANTS,
        Permission.WRITE_QUARANTINE,
        Permission.WRITE_FLEET,
        Permission.MANAGE_TOKENS,
    }
)
"""What is limited as writes are."""


def permissions_of(record: TokenRecord) -> frozenset[Permission]:
    """What a token may do: what its role may, or the part of that which it was made for."""
    of_role = PERMISSIONS[Role(record.role)]
    if record.permissions is None:
        return of_role
    return of_role & {Permission(name) for name in record.permissions}
