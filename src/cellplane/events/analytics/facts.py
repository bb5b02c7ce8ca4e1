"""What a message of the stream says: a fact that counts, or a dead letter with its reason. Pure."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Any

from cellplane.cell.settings import is_visible
from cellplane.events.errors import InvalidEventError
from cellplane.events.subjects import parts_of

MAX_ID_CHARS = 128
DECIMALS = Decimal("1e-9")
"""Sums are exact to here."""

LARGEST = Decimal(10) ** 18
"""Numbers below this are summed up exactly: 38 digits have room for 10^11 of them."""

_EXACT = Context(prec=60, traps=[InvalidOperation, Overflow, Inexact])


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the stream.

    Attributes:
        seq: its place in the stream.
        subject: that it was published to.
        body: as it is.
    """

    seq: int
    subject: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened, once.

    Attributes:
        id: of the event.
        occurred_at: UTC, without saying so, as stores keep it.
        numbers: of its data that are summed up, by name.
    """

    id: str
    occurred_at: datetime
    tenant_id: str
    cell_id: str
    type: str
    numbers: tuple[tuple[str, Decimal], ...]

    @property
    def day(self) -> date:
        """The day of UTC on which it happened: where it counts, however late it came."""
        return self.occurred_at.date()

    @property
    def key(self) -> "Key":
        """What it is counted under."""
        return self.day, self.tenant_id, self.cell_id, self.type


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that cannot be counted.

    Attributes:
        reason: what was expected, and what was found.
    """

    message: Message
    reason: str


Key = tuple[date, str, str, str]


@dataclass(frozen=True, slots=True)
class Totals:
    """What facts add up to, in the order of their keys.

    Attributes:
        events: how many, by key.
        sums: of numbers, by key and name.
    """

    events: dict[Key, int]
    sums: dict[tuple[Key, str], Decimal]


def read_message(message: Message, sums: Collection[str], latest: datetime) -> Fact | DeadLetter:
    """Read a message.

    Args:
        sums: names of the numbers that are summed up.
        latest: the last time at which something can have happened.
    """
    try:
        return _fact(message, sums, latest)
    except InvalidEventError as error:
        return DeadLetter(message, str(error))


def totals_of(facts: Iterable[Fact]) -> Totals:
    """Add facts up."""
    events: dict[Key, int] = {}
    sums: dict[tuple[Key, str], Decimal] = {}
    for fact in facts:
        key = fact.key
        events[key] = events.get(key, 0) + 1
        for name, number in fact.numbers:
            sums[key, name] = _EXACT.add(sums.get((key, name), Decimal(0)), number)
    # One order for all who write them, so that none waits for another in a ring.
    return Totals(dict(sorted(events.items())), dict(sorted(sums.items())))


def _fact(message: Message, sums: Collection[str], latest: datetime) -> Fact:
    cell_id, tenant_id, type_ = parts_of(message.subject)
    body = _json(message.body)
    # A cell may publish to its own subjects only, so these say who speaks; the body has to say the same.
    for name, expected in (("cellid", cell_id), ("tenantid", tenant_id), ("type", type_)):
        if body.get(name) != expected:
            raise InvalidEventError(name, f"expected {expected!r} as in the subject, found {_short(body.get(name))}")
    id_ = body.get("id")
    if not isinstance(id_, str) or not is_visible(id_, MAX_ID_CHARS):
        raise InvalidEventError("id", f"expected 1–{MAX_ID_CHARS} visible ASCII characters, found {_short(id_)}")
    data = body.get("data")
    if not isinstance(data, dict):
        raise InvalidEventError("data", f"expected an object, found {_short(data)}")
    numbers = tuple((name, _number(name, data[name])) for name in sums if data.get(name) is not None)
    return Fact(id_, _time(body.get("time"), latest), tenant_id, cell_id, type_, numbers)


def _json(text: bytes) -> dict[str, Any]:
    try:
        body = json.loads(text.decode(), parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise InvalidEventError("body", f"expected JSON, found {text[:40]!r} ({type(error).__name__})") from error
    if not isinstance(body, dict):
        raise InvalidEventError("body", f"expected a JSON object, found {_short(body)}")
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _time(text: Any, latest: datetime) -> datetime:
    expected = "expected a time of RFC 3339 with its offset"
    if not isinstance(text, str) or len(text) > 64:
        raise InvalidEventError("time", f"{expected}, found {_short(text)}")
    try:
        found = datetime.fromisoformat(text)
        offset = found.utcoffset()
        at = found.astimezone(UTC) if offset is not None else None
    except (ValueError, OverflowError) as error:
        raise InvalidEventError("time", f"{expected}, found {_short(text)}") from error
    if at is None or "T" not in text.upper():
        raise InvalidEventError("time", f"{expected}, found {_short(text)}")
    if at > latest:
        raise InvalidEventError("time", f"expected one until {latest:%Y-%m-%dT%H:%MZ}, found {_short(text)}")
    return at.replace(tzinfo=None)


def _number(name: str, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InvalidEventError(f"data.{name}", f"expected a number, found {_short(value)}")
    expected = f"expected under 10^18, with 9 decimals; found {_short(value)}"
    try:
        number = _EXACT.create_decimal(value)
        if abs(number) < LARGEST and number.quantize(DECIMALS, context=_EXACT) == number:
            return number
    except ArithmeticError as error:
        raise InvalidEventError(f"data.{name}", expected) from error
    raise InvalidEventError(f"data.{name}", expected)


def _short(value: Any) -> str:
    return repr(value)[:60]


def latest_time(now: datetime, max_future_seconds: float) -> datetime:
    """The last time at which something can have happened, by a clock that may be wrong by so much."""
    return now.astimezone(UTC) + timedelta(seconds=max_future_seconds)
