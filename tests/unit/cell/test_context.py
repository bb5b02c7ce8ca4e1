"""The context of a request, and what is said outside of one."""

import asyncio
import dataclasses
import threading

import pytest

from cellplane.cell import (
    CellContext,
    CellError,
    InvalidContextError,
    NoCellContextError,
    carried,
    current,
    current_or_none,
    entered,
)
from cellplane.cell.context import enter, leave
from cellplane.errors import CellplaneError


def test_outside_of_a_request_there_is_none() -> None:
    assert current_or_none() is None
    with pytest.raises(NoCellContextError, match="CellMiddleware"):
        current()


def test_every_error_is_of_the_projects_tree() -> None:
    assert issubclass(NoCellContextError, CellError)
    assert issubclass(CellError, CellplaneError)


def test_context_cannot_be_changed() -> None:
    context = CellContext("cell-a", 1, "acme")
    with pytest.raises(dataclasses.FrozenInstanceError):
        context.tenant_id = "other"  # type: ignore[misc]


def test_context_follows_a_request_into_its_tasks_but_not_into_others() -> None:
    async def tenant() -> str:
        await asyncio.sleep(0)
        return current().tenant_id

    async def serve(tenant_id: str) -> str:
        token = enter(CellContext("cell-a", 1, tenant_id))
        try:
            return await asyncio.create_task(tenant())
        finally:
            leave(token)

    async def main() -> list[str]:
        return await asyncio.gather(*(serve(f"tenant-{number}") for number in range(5)))

    assert asyncio.run(main()) == [f"tenant-{number}" for number in range(5)]
    assert current_or_none() is None


ACME = CellContext("cell-a", 7, "acme")


def test_a_thread_knows_the_context_only_where_it_is_carried() -> None:
    seen: list[tuple[str, CellContext | None]] = []

    def work(name: str) -> None:
        seen.append((name, current_or_none()))

    with entered(ACME):
        threads = [
            threading.Thread(target=work, args=("lost",)),
            threading.Thread(target=carried(work), args=("kept",)),
        ]
    for thread in threads:
        thread.start()
        thread.join()
    assert seen == [("lost", None), ("kept", ACME)]


def test_what_is_carried_runs_many_times_at_once() -> None:
    both = threading.Barrier(2)

    def work() -> str:
        both.wait(60)
        return current().tenant_id

    found: list[str] = []
    with entered(ACME):
        run = carried(work)
    threads = [threading.Thread(target=lambda: found.append(run())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == ["acme", "acme"]


def test_without_a_context_there_is_none_to_carry() -> None:
    with pytest.raises(NoCellContextError):
        carried(print)


def test_what_is_entered_is_left_also_when_it_fails() -> None:
    with pytest.raises(LookupError), entered(ACME):
        raise LookupError
    assert current_or_none() is None


def test_a_message_says_the_context() -> None:
    assert CellContext.of_headers(ACME.to_headers()) == ACME
    assert CellContext.of_headers({**ACME.to_headers(), "other": "x"}) == ACME


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-cell-id", None),
        ("x-cell-id", "c" * 129),
        ("x-cell-epoch", ""),
        ("x-cell-epoch", "-1"),
        ("x-cell-epoch", "٧"),
        ("x-cell-epoch", "1" * 21),
        ("x-tenant-id", None),
        ("x-tenant-id", "a b"),
        ("x-tenant-id", "ä"),
        ("x-tenant-id", "t" * 129),
    ],
)
def test_a_message_without_a_whole_context_is_refused(name: str, value: str | None) -> None:
    headers = {each: text for each, text in {**ACME.to_headers(), name: value}.items() if text is not None}
    with pytest.raises(InvalidContextError, match=name):
        CellContext.of_headers(headers)
