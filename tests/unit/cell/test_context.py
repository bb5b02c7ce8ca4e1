"""The context of a request, and what is said outside of one."""

import asyncio
import dataclasses

import pytest

from cellplane.cell import CellContext, CellError, NoCellContextError, current, current_or_none
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
