"""What can be an event, and how it is written."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from cellplane.cell import CellContext, NoCellContextError, entered
from cellplane.events import Event, InvalidEventError
from cellplane.events.event import WaitingEvent, to_json, to_record

ID = UUID(int=7)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVENT = Event("order.created", {"bytes": 1})


@pytest.fixture
def acme() -> Iterator[None]:
    with entered(CellContext("cell-a", 9, "acme")):
        yield


def record(event: Event) -> dict[str, Any]:
    return to_record(event, lambda: NOON, lambda: ID)


@pytest.mark.usefixtures("acme")
def test_the_request_says_for_whom_and_when() -> None:
    assert record(EVENT) == {
        "id": str(ID),
        "tenant_id": "acme",
        "type": "order.created",
        "occurred_at": "2026-03-01T12:00:00+00:00",
        "epoch": 9,
        "data": {"bytes": 1},
    }


@pytest.mark.usefixtures("acme")
def test_an_event_of_another_tenant_than_the_request_is_refused() -> None:
    with pytest.raises(InvalidEventError, match=r"expected 'acme', whose request this is, found 'other'.*entered\(\)"):
        record(Event("order.created", {}, tenant_id="other"))


def test_outside_of_a_request_the_event_says_for_whom() -> None:
    with pytest.raises(NoCellContextError):
        record(EVENT)
    with pytest.raises(NoCellContextError):
        record(Event("order.created", {}, tenant_id="acme"))
    assert record(Event("order.created", {}, tenant_id="acme", epoch=3))["epoch"] == 3


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"x": float("nan")}, "what JSON can say"),
        ({"x": object()}, "what JSON can say"),
        ({"x": "\ud800"}, "what JSON can say"),
        ({"x": "a\x00b"}, "character of code 0"),
        ({"x" * 65_536: 1}, "at most 65,536 bytes"),
        ({"x": "é" * 33_000}, "at most 65,536 bytes"),
        ([1], "expected a mapping"),
        ("text", "expected a mapping"),
    ],
)
def test_data_that_cannot_be_stored_is_refused(data: Any, expected: str) -> None:
    with pytest.raises(InvalidEventError, match=f"data: .*{expected}"):
        record(Event("order.created", data))


@pytest.mark.usefixtures("acme")
def test_data_too_deep_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(2_000):
        deep = {"x": deep}
    with pytest.raises(InvalidEventError, match="RecursionError"):
        record(Event("order.created", deep))


def test_a_time_without_offset_is_refused() -> None:
    with pytest.raises(InvalidEventError, match="occurred_at: expected a time with its offset"):
        Event("order.created", {}, occurred_at=datetime(2026, 3, 1))  # noqa: DTZ001


def test_a_time_at_the_end_of_all_calendars_is_refused() -> None:
    with pytest.raises(InvalidEventError, match="expected a year from 2 to 9998"):
        Event("order.created", {}, occurred_at=datetime.max.replace(tzinfo=UTC))


def test_an_id_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidEventError, match="id: expected a UUID"):
        Event("order.created", {}, id="7")  # type: ignore[arg-type]


@pytest.mark.parametrize("epoch", [-1, 10**20])
def test_an_epoch_that_is_none_is_refused(epoch: int) -> None:
    with pytest.raises(InvalidEventError, match="epoch: expected 0 to"):
        record(Event("order.created", {}, tenant_id="acme", epoch=epoch))


def test_the_body_is_a_cloud_event() -> None:
    waiting = WaitingEvent(1, str(ID), "a.b", "order.created", "2026-03-01T12:00:00Z", 2**64 - 1, '{"bytes": 1}')
    assert waiting.subject("cell-a") == "events.cell-a.a=2Eb.order.created"
    assert json.loads(waiting.body('"cell"')) == {
        "specversion": "1.0",
        "id": str(ID),
        "source": "/cells/=22cell=22",
        "type": "order.created",
        "time": "2026-03-01T12:00:00Z",
        "datacontenttype": "application/json",
        "cellid": '"cell"',
        "tenantid": "a.b",
        "cellepoch": 2**64 - 1,
        "data": {"bytes": 1},
    }


def test_json_is_short_and_readable() -> None:
    assert to_json({"a": "é", "b": [1, 2]}) == '{"a":"é","b":[1,2]}'
