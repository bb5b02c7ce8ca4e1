"""What comes out of a queue: judged before anybody handles it, and described where nobody can."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from cellplane.cell.context import CELL_ID, EPOCH, TENANT_ID, CellContext, current
from cellplane.cell.errors import ForeignSubjectError, InvalidContextError, InvalidMessageError, NoCellContextError
from cellplane.cell.messaging.settings import MessagingSettings
from cellplane.cell.messaging.subjects import CellSubjects

ROUTING = (CELL_ID, EPOCH, TENANT_ID)
MESSAGE_ID = "x-message-id"
"""Header of a message's id, where the broker's own does not have it. Kafka does not look at it: the handler has to."""

DEAD_PREFIX = "x-dead-"
"""Begins the names of what a dead letter says of itself, and of headers that would mean something to a broker."""

MAX_DETAIL_CHARS = 200
"""Most that a dead letter says of its reason."""

_BROKERS_OWN = ("nats-", "status", "description", MESSAGE_ID)


class DeadReason(Enum):
    """Why a message is a dead letter; the value is what ``x-dead-reason`` says."""

    FOREIGN_CELL = "foreign-cell"
    """It was published by, or for, another cell."""

    NO_CONTEXT = "no-context"
    """It does not say whose it is."""

    TENANT_MOVED = "tenant-moved"
    """Its tenant was given to another cell after it was published, or may have been."""

    POISON = "poison"
    """Its handler failed at every delivery."""


@dataclass(frozen=True, slots=True)
class CellMessage:
    """One message, in the hands of its handler."""

    context: CellContext
    """For whom it is; also ``current()`` while the handler runs."""

    subject: str
    """Or topic, with the cell."""

    data: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    """As they were published, with those of the context."""

    delivery: int
    """Which delivery of the message this is, from 1 on."""

    message_id: str | None = None
    """Of its publisher: a repetition has the same."""


Handler = Callable[[CellMessage], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A message that is not handled."""

    reason: DeadReason
    detail: str
    context: CellContext | None = None
    """Whose it is, where that is known: its tenant has moved, or it is poison."""


def judge(
    subjects: CellSubjects, subject: str, headers: Iterable[tuple[str, str]], moved: Callable[[str], int | None]
) -> CellContext | Rejection:
    """For whom a message is, or why it is not handled here."""
    try:
        subjects.base_of(subject)
    except ForeignSubjectError:
        return Rejection(DeadReason.FOREIGN_CELL, f"its subject is {subject[:80]}")
    said: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower in ROUTING:
            if lower in said:
                return Rejection(DeadReason.NO_CONTEXT, f"it has more than one {lower}")
            said[lower] = value
    try:
        context = CellContext.of_headers(said)
    except InvalidContextError as error:
        return Rejection(DeadReason.NO_CONTEXT, str(error).partition(". ")[0])
    if context.cell_id != subjects.cell_id:
        return Rejection(DeadReason.FOREIGN_CELL, f"it was published in cell {context.cell_id}")
    epoch = moved(context.tenant_id)
    if epoch is not None and context.epoch < epoch:
        published = f"and it was published by epoch {context.epoch}"
        detail = f"the tenant is another cell's by epoch {epoch}, or what was before is forgotten, {published}"
        return Rejection(DeadReason.TENANT_MOVED, detail, context)
    return context


def outgoing(
    subjects: CellSubjects, subject: str, data: bytes, headers: Mapping[str, str] | None, limits: MessagingSettings
) -> tuple[CellContext, dict[str, str]]:
    """The context that a message is published in, and all of its headers.

    Raises:
        NoCellContextError: there is none, so nobody knows whose it is.
        ForeignSubjectError: the subject is not this cell's, or the context is another cell's.
        InvalidMessageError: a header or the size.
    """
    subjects.base_of(subject)
    context = current()
    if context.cell_id != subjects.cell_id:
        raise ForeignSubjectError(subject, context.cell_id)
    if len(data) > limits.max_message_bytes:
        raise InvalidMessageError(
            f"{subject}: expected at most {limits.max_message_bytes} bytes, found {len(data)}. "
            "Store what is large, and publish where it is"
        )
    own = headers or {}
    if len(own) > limits.max_headers:
        raise InvalidMessageError(f"{subject}: expected at most {limits.max_headers} headers, found {len(own)}")
    for name, value in own.items():
        _check_header(subject, name, value, limits)
    return context, {**own, **context.to_headers()}


def dead_headers(
    rejection: Rejection, subject: str, headers: Iterable[tuple[str, str]], delivery: int
) -> dict[str, str]:
    """Headers of a dead letter: those of the message, and why it is one."""
    kept = {
        f"{DEAD_PREFIX}{name.lower()}" if _is_brokers_own(name) else name: value
        for name, value in headers
        if not name.lower().startswith(DEAD_PREFIX)
    }
    detail = rejection.detail.encode("ascii", "backslashreplace").decode()[:MAX_DETAIL_CHARS]
    return {
        **kept,
        f"{DEAD_PREFIX}reason": rejection.reason.value,
        f"{DEAD_PREFIX}detail": " ".join(detail.split()),
        f"{DEAD_PREFIX}subject": subject,
        f"{DEAD_PREFIX}deliveries": str(delivery),
    }


def retry_seconds(settings: MessagingSettings, delivery: int) -> float:
    """The pause behind a delivery that failed, from 1 on."""
    doubled: float = settings.retry_min_seconds * 2.0 ** min(delivery - 1, 30)
    return min(doubled, settings.retry_max_seconds)


def _check_header(subject: str, name: str, value: str, limits: MessagingSettings) -> None:
    is_name = name.isascii() and name.replace("-", "").replace("_", "").isalnum() and len(name) <= 64
    is_value = value.isascii() and value.isprintable() and len(value) <= limits.max_header_bytes
    if not is_name or not is_value:
        raise InvalidMessageError(
            f"{subject}: expected headers of printable ASCII, names of letters, digits, - and _, values of at most "
            f"{limits.max_header_bytes} bytes; found {name[:64]!r}"
        )
    if name.lower() in ROUTING or name.lower().startswith(DEAD_PREFIX) or _is_brokers_own(name):
        raise InvalidMessageError(
            f"{subject}: the header {name} is not the app's to set: the context says whose a message is, and "
            "message_id what it is a repetition of"
        )


def _is_brokers_own(name: str) -> bool:
    return name.lower().startswith(_BROKERS_OWN[0]) or name.lower() in _BROKERS_OWN[1:]


__all__ = [
    "DEAD_PREFIX",
    "MESSAGE_ID",
    "CellMessage",
    "DeadReason",
    "Handler",
    "NoCellContextError",
    "Rejection",
    "dead_headers",
    "judge",
    "outgoing",
    "retry_seconds",
]
