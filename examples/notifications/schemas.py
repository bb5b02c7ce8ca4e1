"""The JSON that callers send and get."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from notifications.model import Channel, Cursor, Notification, Status
from notifications.settings import Limits


def _storable(text: str) -> str:
    """Refuse the one character that JSON can hold and PostgreSQL cannot."""
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return text


def _cursor(text: str) -> str:
    Cursor.parse(text)
    return text


Key = Annotated[str, Field(pattern=f"^[!-~]{{1,{Limits.key_max_chars}}}$")]
CursorText = Annotated[str, Field(max_length=Limits.cursor_max_chars), AfterValidator(_cursor)]


class NewNotification(BaseModel):
    """What a caller wants to have delivered."""

    model_config = ConfigDict(extra="forbid", strict=True)

    channel: Channel
    to: Annotated[str, Field(min_length=1, max_length=Limits.recipient_max_chars), AfterValidator(_storable)]
    body: Annotated[str, Field(min_length=1, max_length=Limits.text_max_chars), AfterValidator(_storable)]


class NotificationView(BaseModel):
    """A notification, as its tenant sees it."""

    id: UUID
    status: Status
    channel: Channel
    to: str
    body: str
    attempts: int
    reason: str | None
    created_at: datetime
    delivered_at: datetime | None
    delivery_seconds: float | None = None
    """From its acceptance to its delivery; not told at all to tenants for whom this is not turned on."""

    @classmethod
    def of(cls, notification: Notification, *, with_seconds: bool) -> Self:
        """Show a row."""
        more = {"delivery_seconds": _seconds_of(notification)} if with_seconds else {}
        return cls(
            id=notification.id,
            status=notification.status,
            channel=notification.channel,
            to=notification.recipient,
            body=notification.body,
            attempts=notification.attempts,
            reason=notification.reason,
            created_at=notification.created_at,
            delivered_at=notification.delivered_at,
            **more,
        )


def _seconds_of(notification: Notification) -> float | None:
    if notification.delivered_at is None:
        return None
    return (notification.delivered_at - notification.created_at).total_seconds()


class NotificationPage(BaseModel):
    """Some of a tenant's notifications, the newest first."""

    items: list[NotificationView]
    next: str | None
    """The ``after`` of the following page; None when there is none."""
