"""For whom a message is, what a publisher may say, and what a dead letter tells."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.cell import CellContext, CellError, entered
from cellplane.cell.door import nobody_moved
from cellplane.cell.errors import ForeignSubjectError, InvalidSettingError, MessagingError, NotNowError
from cellplane.cell.messaging import CellSubjects, DeadReason, MessagingSettings
from cellplane.cell.messaging.message import Rejection, dead_headers, judge, outgoing, retry_seconds

SUBJECTS = CellSubjects("cell-3")
ACME = CellContext("cell-3", 7, "acme")


def reason(subject: str, headers: Mapping[str, str], moved: Mapping[str, int] | None = None) -> DeadReason | None:
    found = judge(SUBJECTS, subject, headers.items(), (moved or {}).get)
    return found.reason if isinstance(found, Rejection) else None


def test_names_carry_the_cell() -> None:
    assert SUBJECTS.own("orders") == "orders.cell-3"
    assert SUBJECTS.own("orders.new.eu") == "orders.new.eu.cell-3"
    assert SUBJECTS.dead("orders") == "dead.orders.cell-3"
    assert SUBJECTS.base_of("orders.new.cell-3") == "orders.new"


@pytest.mark.parametrize(
    "base", ["", "dead", "dead.orders", "orders.*", "orders.>", ".orders", "a..b", "ö", "a b", "a.b.c.d.e"]
)
def test_what_is_no_kind_of_work_has_no_name(base: str) -> None:
    with pytest.raises(InvalidSettingError, match="base"):
        SUBJECTS.own(base)


@pytest.mark.parametrize("cell_id", ["", "a.b", "a b", "*", "c" * 65])
def test_a_cell_that_cannot_be_in_a_subject_is_refused(cell_id: str) -> None:
    with pytest.raises(InvalidSettingError, match="cell_id"):
        CellSubjects(cell_id)


@given(subject=st.text(alphabet="abcell-3.*> d", max_size=30))
def test_only_names_that_this_cell_has_made_are_its_own(subject: str) -> None:
    try:
        base = SUBJECTS.base_of(subject)
    except ForeignSubjectError:
        return
    assert SUBJECTS.own(base) == subject


def test_a_message_is_for_the_context_that_it_says() -> None:
    assert judge(SUBJECTS, "orders.cell-3", ACME.to_headers().items(), nobody_moved) == ACME
    upper = {name.title(): value for name, value in ACME.to_headers().items()}
    assert judge(SUBJECTS, "orders.cell-3", upper.items(), nobody_moved) == ACME


def test_what_is_not_for_this_cell_is_rejected() -> None:
    own = ACME.to_headers()
    assert reason("orders.cell-4", own) is DeadReason.FOREIGN_CELL
    assert reason("orders.cell-3", {**own, "x-cell-id": "cell-4"}) is DeadReason.FOREIGN_CELL
    assert reason("orders.cell-3", {}) is DeadReason.NO_CONTEXT
    assert reason("orders.cell-3", {**own, "X-CELL-ID": "cell-3"}) is DeadReason.NO_CONTEXT
    assert reason("orders.cell-3", own, {"acme": 8}) is DeadReason.TENANT_MOVED
    assert reason("orders.cell-3", own, {"acme": 7}) is None


def test_a_dead_letter_keeps_the_headers_but_not_what_a_broker_would_obey() -> None:
    headers = {"kind": "new", "Nats-Rollup": "all", "Status": "503", "x-dead-reason": "old", "x-tenant-id": "acme"}
    found = dead_headers(Rejection(DeadReason.POISON, "a\r\nb ü" + "x" * 999), "orders.cell-3", headers.items(), 5)
    assert found.pop("x-dead-detail") == "a b \\xfc" + "x" * (200 - len("a\r\nb \\xfc"))
    assert found == {
        "kind": "new",
        "x-tenant-id": "acme",
        "x-dead-nats-rollup": "all",
        "x-dead-status": "503",
        "x-dead-reason": "poison",
        "x-dead-subject": "orders.cell-3",
        "x-dead-deliveries": "5",
    }


def test_what_is_published_says_the_context_and_nothing_else_may() -> None:
    with entered(ACME):
        context, headers = outgoing(SUBJECTS, "orders.cell-3", b"", {"kind": "new"}, MessagingSettings())
    assert context == ACME
    assert headers == {"kind": "new", **ACME.to_headers()}


def test_pauses_double_up_to_the_longest() -> None:
    settings = MessagingSettings(retry_min_seconds=1, retry_max_seconds=60)
    assert [retry_seconds(settings, delivery) for delivery in (1, 2, 3, 7, 10_000)] == [1, 2, 4, 60, 60]


def test_every_error_is_of_the_projects_tree() -> None:
    assert issubclass(NotNowError, MessagingError)
    assert issubclass(MessagingError, CellError)
