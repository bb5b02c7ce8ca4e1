"""A notification, and the place of one in the list of its tenant's."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Self
from uuid import UUID

Channel = Literal["push", "sms", "email"]
Status = Literal["queued", "delivered", "failed"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"([0-9]{1,16})-([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Reference:
    """Which notification: what travels through the queue instead of its content."""

    tenant_id: str
    id: UUID
    epoch: int
    """Of the routing table that chose this cell when it was accepted."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One row."""

    tenant_id: str
    id: UUID
    channel: Channel
    recipient: str
    body: str
    status: Status
    attempts: int
    """How often a worker began to deliver it."""

    reason: str | None
    """Why it failed; None unless it did."""

    created_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place behind one notification in its tenant's list."""

    created_at: datetime
    id: UUID

    @classmethod
    def behind(cls, notification: Notification) -> Self:
        """Give the place behind a notification."""
        return cls(notification.created_at, notification.id)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` gave.

        Raises:
            ValueError: it is not a cursor of this app.
        """
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise ValueError("expected the `next` of an earlier page")
        # 16 digits of microseconds reach the year 2286, so neither the sum nor PostgreSQL can overflow.
        return cls(_EPOCH + timedelta(microseconds=int(match[1])), UUID(hex=match[2]))

    def __str__(self) -> str:
        return f"{(self.created_at - _EPOCH) // timedelta(microseconds=1)}-{self.id.hex}"
