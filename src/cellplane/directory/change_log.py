"""The change log, as a transaction writes it: an entry a change, whose number is the epoch."""

from typing import Any

from sqlalchemy import Connection

from cellplane.directory import schema
from cellplane.directory.adding import Adding
from cellplane.directory.records import Author, Change
from cellplane.directory.snapshot import read_epoch

LOGGED_ROWS = 1_000
"""Entries that are held back before they are written together."""


class ChangeLog:
    """Entries of one transaction.

    Args:
        connection: inside a transaction that may write.
        author: who changes, and why.
        at: when, UTC, ISO 8601.
    """

    def __init__(self, connection: Connection, author: Author, at: str) -> None:
        self._connection = connection
        self._author = author
        self._at = at
        self._unwritten: list[Change] = []
        self.epoch = read_epoch(connection)
        self.changes: list[Change] = []

    def add(
        self, kind: str, name: str, action: str, before: dict[str, Any] | None, after: dict[str, Any] | None
    ) -> int:
        """Add an entry; returns its number."""
        self.epoch += 1
        author = self._author
        change = Change(
            self.epoch, self._at, author.name, author.reason, kind, name, action, before, after, author.on_behalf_of
        )
        self.changes.append(change)
        self._unwritten.append(change)
        if len(self._unwritten) >= LOGGED_ROWS:
            self.flush()
        return self.epoch

    def flush(self) -> None:
        """Write what is held back."""
        if self._unwritten:
            _ADD(self._connection, [_row_of(change) for change in self._unwritten])
            self._unwritten.clear()


def _row_of(change: Change) -> dict[str, Any]:
    return {
        "epoch": change.epoch,
        "at": change.at,
        "actor": change.actor,
        "reason": change.reason,
        "kind": change.kind,
        "id": change.id,
        "action": change.action,
        "before": change.before,
        "after": change.after,
        "on_behalf_of": change.on_behalf_of,
    }


_ADD = Adding(schema.changes)
