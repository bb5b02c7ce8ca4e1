"""One event: what an app says happened, and how it is written on the stream."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from cellplane.cell.context import current_or_none
from cellplane.cell.errors import NoCellContextError
from cellplane.events.errors import InvalidEventError
from cellplane.events.settings import EventLimits
from cellplane.events.subjects import check_type, subject_of, token_of

CONTENT_TYPE = "application/cloudevents+json"
_LIMITS = EventLimits()
_MAX_EPOCH = 10**20 - 1


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened for a tenant.

    Raises:
        InvalidEventError: the type, the time or the id is none.
    """

    type: str
    """What happened, such as ``order.created``: letters, digits, ``-`` and ``_`` in parts between dots."""

    data: Mapping[str, Any]
    """The details: what JSON can say. All consumers outside of the cell can read it, so nothing of it is secret."""

    id: UUID | None = None
    """Its id. The same one twice counts once. None makes a new one: then a request that is repeated is told twice."""

    occurred_at: datetime | None = None
    """When it happened, with its offset from UTC; None takes the time at which it is added."""

    tenant_id: str | None = None
    """For whom; None takes the tenant of the request. Only outside of a request can another one be said."""

    epoch: int | None = None
    """Of the routing table that chose the cell; None takes that of the request."""

    def __post_init__(self) -> None:
        """Refuse what can be no event, where it is made."""
        check_type(self.type)
        if self.occurred_at is not None:
            if self.occurred_at.utcoffset() is None:
                raise InvalidEventError("occurred_at", f"expected a time with its offset, found {self.occurred_at}")
            if not 1 < self.occurred_at.year < 9999:
                raise InvalidEventError("occurred_at", f"expected a year from 2 to 9998, found {self.occurred_at}")
        if self.id is not None and not isinstance(self.id, UUID):
            raise InvalidEventError("id", f"expected a UUID, found {str(self.id)[:40]!r}")


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event as the outbox has it."""

    seq: int
    """Its place: events of a tenant are published in this order."""

    id: str
    """As of the event."""

    tenant_id: str
    """As of the event."""

    type: str
    """As of the event."""

    time: str
    """When it happened, UTC, as RFC 3339 has it."""

    epoch: int
    """As of the event."""

    data: str
    """Its details, as JSON."""

    def subject(self, cell_id: str) -> str:
        """The subject that it is published to."""
        return subject_of(cell_id, self.tenant_id, self.type)

    def body(self, cell_id: str) -> bytes:
        """What is published: a CloudEvent in JSON (CloudEvents 1.0, structured mode) that names cell and tenant."""
        return (
            f'{{"specversion":"1.0","id":"{self.id}","source":{_quoted("/cells/" + token_of(cell_id))},'
            f'"type":"{self.type}","time":"{self.time}","datacontenttype":"application/json",'
            f'"cellid":{_quoted(cell_id)},"tenantid":{_quoted(self.tenant_id)},"cellepoch":{self.epoch},'
            f'"data":{self.data}}}'
        ).encode()


@lru_cache(maxsize=8192)
def _quoted(text: str) -> str:
    return json.dumps(text)


def to_record(event: Event, now: Callable[[], datetime], new_id: Callable[[], UUID]) -> dict[str, Any]:
    """What the outbox stores of an event, with what the context of the request says.

    Args:
        now: the time, with its offset.
        new_id: makes an id.

    Raises:
        InvalidEventError: the event is for another tenant than the request, or cannot be stored.
        NoCellContextError: there is no request, and the event does not say for whom it is.
    """
    context = current_or_none()
    if context is None and (event.tenant_id is None or event.epoch is None):
        raise NoCellContextError
    tenant_id = context.tenant_id if context and event.tenant_id is None else event.tenant_id
    epoch = context.epoch if context and event.epoch is None else event.epoch
    if context is not None and tenant_id != context.tenant_id:
        raise InvalidEventError(
            "tenant_id",
            f"expected {context.tenant_id!r}, whose request this is, found {str(tenant_id)[:40]!r}. Work for another "
            "tenant in entered() of a context of its own",
        )
    assert tenant_id is not None, "said by the event or by the context"
    assert epoch is not None, "said by the event or by the context"
    token_of(tenant_id)
    if not 0 <= epoch <= _MAX_EPOCH:
        raise InvalidEventError("epoch", f"expected 0 to {_MAX_EPOCH}, found {epoch}")
    check_data(event.data)
    return {
        "id": str(event.id or new_id()),
        "tenant_id": tenant_id,
        "type": event.type,
        "occurred_at": (event.occurred_at or now()).astimezone(UTC).isoformat(),
        "epoch": epoch,
        "data": event.data,
    }


def to_json(value: Any) -> str:
    """JSON that PostgreSQL takes.

    Raises:
        InvalidEventError: there is none.
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEventError("data", f"expected what JSON can say, found {type(error).__name__}: {error}") from error
    if "\\u0000" in text:
        raise InvalidEventError("data", "expected text without the character of code 0, found one: no database has it")
    return text


def check_data(data: Any) -> None:
    """Check that this can be an event's data.

    Raises:
        InvalidEventError: it cannot.
    """
    if not isinstance(data, Mapping):
        raise InvalidEventError("data", f"expected a mapping by names, found {type(data).__name__}")
    size = len(to_json(dict(data)).encode())
    if size > _LIMITS.data_max_bytes:
        raise InvalidEventError(
            "data",
            f"expected at most {_LIMITS.data_max_bytes:,} bytes as JSON, found {size:,}. Publish a reference to what "
            "is large, not the thing itself",
        )
