"""Tokens of the control plane's callers, as the directory keeps them: never their secrets."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from cellplane.directory import schema
from cellplane.directory.snapshot import by_key


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token.

    Attributes:
        id: the part of it that is no secret.
        name: whom the change log and the audit name.
        role: what its holder is.
        subject: the cell or router whose it is; None where the role has none.
        permissions: the part of the role's permissions that it has; None for all.
        digest: SHA-256 of its secret, hexadecimal.
        created_at: UTC.
        created_by: who made it.
        expires_at: from when on it is refused, UTC.
        revoked_at: since when it is, UTC; None where nobody revoked it.
        last_used_at: when it was last used, to some minutes, UTC; None for never.
    """

    id: str
    name: str
    role: str
    subject: str | None
    permissions: tuple[str, ...] | None
    digest: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether it counts."""
        return self.revoked_at is None and now < self.expires_at


def read_token(connection: Connection, token_id: str) -> TokenRecord | None:
    """One token; None where there is none."""
    row = by_key(connection, _TABLE, token_id)
    return None if row is None else _record(row)


def read_tokens(connection: Connection, *, limit: int, after: str = "") -> tuple[TokenRecord, ...]:
    """Tokens by id, behind one."""
    query = select(_TABLE).where(_TABLE.c.id > after).order_by(_TABLE.c.id).limit(limit)
    return tuple(_record(row) for row in connection.execute(query).mappings())


def count_tokens(connection: Connection) -> int:
    """How many there are, dead ones too."""
    return int(connection.execute(select(func.count()).select_from(_TABLE)).scalar_one())


def write_token(connection: Connection, record: TokenRecord) -> None:
    """Add a token."""
    values = asdict(record)
    for name in _TIMES:
        values[name] = None if values[name] is None else text_of(values[name])
    values["permissions"] = None if record.permissions is None else list(record.permissions)
    connection.execute(insert(_TABLE).values(**values))


def revoke_token(connection: Connection, record: TokenRecord, now: datetime) -> TokenRecord:
    """Let a token count no more, from ``now`` on, unless it was revoked before."""
    if record.revoked_at is not None:
        return record
    connection.execute(update(_TABLE).where(_TABLE.c.id == record.id).values(revoked_at=text_of(now)))
    return replace(record, revoked_at=now)


def note_uses(connection: Connection, uses: Mapping[str, datetime]) -> None:
    """Note when these were last used."""
    for token_id, at in uses.items():
        connection.execute(update(_TABLE).where(_TABLE.c.id == token_id).values(last_used_at=text_of(at)))


def forget_dead_tokens(connection: Connection, before: datetime) -> None:
    """Forget those that expired, or were revoked, before a moment."""
    moment = text_of(before)
    connection.execute(delete(_TABLE).where((_TABLE.c.expires_at < moment) | (_TABLE.c.revoked_at < moment)))


def text_of(moment: datetime) -> str:
    """A moment, UTC, as the tables have it."""
    return moment.isoformat(timespec="milliseconds")


def _record(row: RowMapping | Mapping[str, Any]) -> TokenRecord:
    values = dict(row)
    for name in _TIMES:
        values[name] = None if values[name] is None else datetime.fromisoformat(str(values[name]))
    permissions = values["permissions"]
    if isinstance(permissions, list):
        values["permissions"] = tuple(permissions)
    return TokenRecord(**values)


_TABLE = schema.tokens
_TIMES = ("created_at", "expires_at", "revoked_at", "last_used_at")
