"""What a message says, and what facts add up to."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.events.analytics.facts import DeadLetter, Fact, Message, latest_time, read_message, totals_of
from cellplane.events.event import WaitingEvent

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATEST = latest_time(NOW, 86_400)
SUBJECT = "events.cell-a.acme.order.created"
BODY = {
    "id": "e1",
    "cellid": "cell-a",
    "tenantid": "acme",
    "type": "order.created",
    "time": "2026-02-28T23:59:59.5Z",
    "data": {"bytes": 3},
}


def message(body: Any, subject: str = SUBJECT) -> Message:
    return Message(7, subject, body if isinstance(body, bytes) else json.dumps(body).encode())


def read(body: Any, subject: str = SUBJECT) -> Fact | DeadLetter:
    return read_message(message(body, subject), ("bytes",), LATEST)


def test_a_message_is_a_fact() -> None:
    at = datetime(2026, 2, 28, 23, 59, 59, 500_000)  # noqa: DTZ001  # as stores keep it
    assert read(BODY) == Fact("e1", at, "acme", "cell-a", "order.created", (("bytes", Decimal(3)),))


TIMES = st.datetimes(datetime(1, 1, 2), datetime(2026, 3, 1), timezones=st.timezones())  # noqa: DTZ001


@given(TIMES, st.text(max_size=20))
def test_what_the_relay_writes_is_read(at: datetime, text: str) -> None:
    data = json.dumps({"x": text, "bytes": 1.5})
    waiting = WaitingEvent(1, "e1", "a.b", "order.created", at.astimezone(UTC).isoformat(), 1, data)
    found = read_message(Message(1, waiting.subject("c"), waiting.body("c")), ("bytes",), LATEST)
    assert isinstance(found, Fact), found
    assert (found.id, found.tenant_id, found.cell_id) == ("e1", "a.b", "c")
    assert found.occurred_at == at.astimezone(UTC).replace(tzinfo=None)


def test_a_day_is_one_of_utc() -> None:
    found = read({**BODY, "time": "2026-03-01T00:30:00+02:00"})
    assert isinstance(found, Fact)
    assert found.day == date(2026, 2, 28)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": None}, "id: expected"),
        ({"id": ""}, "id: expected"),
        ({"id": "x" * 129}, "id: expected"),
        ({"id": 7}, "id: expected"),
        ({"time": None}, "time: expected"),
        ({"time": "yesterday"}, "time: expected"),
        ({"time": "2026-02-28"}, "time: expected"),
        ({"time": "2026-02-28T12:00:00"}, "time: expected"),
        ({"time": "2026-02-30T12:00:00Z"}, "time: expected"),
        ({"time": "0001-01-01T00:00:00+23:59"}, "time: expected"),
        ({"time": "2026-03-03T12:00:00Z"}, "time: expected one until 2026-03-02T12:00Z"),
        ({"time": 1_700_000_000}, "time: expected"),
        ({"cellid": "cell-b"}, "cellid: expected 'cell-a' as in the subject, found 'cell-b'"),
        ({"tenantid": "other"}, "tenantid: expected 'acme'"),
        ({"type": "order.paid"}, "type: expected 'order.created'"),
        ({"data": None}, "data: expected an object"),
        ({"data": {"bytes": "3"}}, r"data.bytes: expected a number, found '3'"),
        ({"data": {"bytes": True}}, r"data.bytes: expected a number, found True"),
        ({"data": {"bytes": 10**18}}, r"data.bytes: expected under 10\^18"),
        ({"data": {"bytes": -(10**18)}}, r"data.bytes: expected under 10\^18"),
        ({"data": {"bytes": 1e-10}}, r"data.bytes: expected under 10\^18, with 9 decimals"),
    ],
)
def test_a_message_that_cannot_be_counted_has_its_reason(change: dict[str, Any], reason: str) -> None:
    found = read({**BODY, **change})
    assert isinstance(found, DeadLetter)
    with pytest.raises(ValueError, match=reason):
        raise ValueError(found.reason)


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b"7", b"{", b'{"a":NaN}', b"[" * 100_000, b'{"a":1' + b"0" * 5_000 + b"}", b"1e999999999"],
)
def test_what_is_no_json_is_a_dead_letter(body: bytes) -> None:
    assert isinstance(read(body), DeadLetter)


@pytest.mark.parametrize("number", ["1e999999999", "-1e999999999", "1e-999999999", "123456789012345678901234567890.5"])
def test_numbers_beyond_all_bounds_are_dead_letters(number: str) -> None:
    text = json.dumps({**BODY, "data": {"bytes": 0}}).replace('"bytes": 0', f'"bytes": {number}')
    assert isinstance(read(text.encode()), DeadLetter)


@pytest.mark.parametrize(
    "subject", ["events.cell-a.acme", "other.cell-a.acme.order.created", "events.=.acme.order.created"]
)
def test_what_is_no_subject_of_an_event_is_a_dead_letter(subject: str) -> None:
    assert isinstance(read(BODY, subject), DeadLetter)


@pytest.mark.parametrize("data", [{}, {"bytes": None}, {"other": "text"}])
def test_a_number_that_is_not_there_adds_nothing(data: dict[str, Any]) -> None:
    found = read({**BODY, "data": data})
    assert isinstance(found, Fact)
    assert found.numbers == ()


@given(st.binary(max_size=200), st.text(max_size=60))
def test_no_message_whatever_raises(body: bytes, subject: str) -> None:
    assert isinstance(read_message(Message(1, subject, body), ("bytes",), LATEST), Fact | DeadLetter)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from([*BODY, "bytes"]), x),
    )
)
def test_no_json_whatever_raises(body: Any) -> None:
    assert isinstance(read(json.dumps(body).encode()), Fact | DeadLetter)
    if isinstance(body, dict):
        assert isinstance(read({**BODY, **body}), Fact | DeadLetter)


def test_facts_add_up_exactly() -> None:
    numbers = ["0.1"] * 10 + ["999999999999999999.999999999"]
    at = datetime(2026, 2, 28)  # noqa: DTZ001
    facts = [Fact(str(n), at, "acme", "c", "t", (("bytes", Decimal(x)),)) for n, x in enumerate(numbers)]
    totals = totals_of([*facts, Fact("z", at, "acme", "c", "t", ())])
    key = (date(2026, 2, 28), "acme", "c", "t")
    assert totals.events == {key: 12}
    assert totals.sums == {(key, "bytes"): Decimal("1000000000000000000.999999999")}
