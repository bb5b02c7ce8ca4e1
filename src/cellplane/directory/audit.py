"""The audit: calls that changed something, and calls that were refused, within bounds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, func, insert, select

from cellplane.directory import schema
from cellplane.directory.tokens import text_of

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One call.

    Attributes:
        caller: who, by the name that the control plane knows; empty where it knows none.
        role: what the caller is; empty likewise.
        source: the address that it came from.
        method: of HTTP.
        path: what was asked for, without a query.
        status: of the answer.
        reason: why it was refused, or why the caller said that it changes something.
        epoch: of the directory after the change; None where nothing changed.
        at: when, UTC.
        id: its number; set where it is kept.
    """

    caller: str
    role: str
    source: str
    method: str
    path: str
    status: int
    reason: str
    epoch: int | None = None
    at: datetime = field(default=_NEVER)
    id: int = 0


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; None takes any.

    Attributes:
        caller: who called.
        source: where from.
        refused: those that were refused, or those that changed something.
        since: not older than this.
    """

    caller: str | None = None
    source: str | None = None
    refused: bool | None = None
    since: datetime | None = None


def write_audit(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Add entries; their numbers grow."""
    rows = [{**{name: getattr(entry, name) for name in _WRITTEN}, "at": text_of(entry.at)} for entry in entries]
    connection.execute(_ADD, rows)


def read_audit(
    connection: Connection, wanted: AuditFilter, *, limit: int, before: int | None = None
) -> tuple[AuditEntry, ...]:
    """Entries, the newest first."""
    query = select(_TABLE).order_by(_TABLE.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(_TABLE.c.id < before)
    if wanted.caller is not None:
        query = query.where(_TABLE.c.caller == wanted.caller)
    if wanted.source is not None:
        query = query.where(_TABLE.c.source == wanted.source)
    if wanted.refused is not None:
        query = query.where(_TABLE.c.status >= 400 if wanted.refused else _TABLE.c.status < 400)
    if wanted.since is not None:
        query = query.where(_TABLE.c.at >= text_of(wanted.since))
    rows = connection.execute(query).mappings()
    return tuple(AuditEntry(**{**row, "at": datetime.fromisoformat(row["at"])}) for row in rows)


def forget_audit(connection: Connection, *, before: datetime, kept: int) -> None:
    """Forget entries from before a moment, and all but the last ``kept``."""
    last = connection.execute(select(func.max(_TABLE.c.id))).scalar()
    if last is None:
        return
    connection.execute(delete(_TABLE).where((_TABLE.c.id <= last - kept) | (_TABLE.c.at < text_of(before))))


_TABLE = schema.audit
_ADD = insert(_TABLE)
_WRITTEN = [column.name for column in _TABLE.columns if column.name != "id"]
