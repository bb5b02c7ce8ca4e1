"""What a worker does beside each other ends together."""

import asyncio

import pytest

from cellplane.cell.messaging import run_together


def test_an_error_of_one_ends_the_others_and_is_heard_of() -> None:
    ended: list[str] = []

    async def fail() -> None:
        raise ValueError("a bug")

    async def go_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("the other")

    with pytest.raises(ValueError, match="a bug"):
        asyncio.run(run_together([go_on(), fail()], asyncio.Event(), 600))
    assert ended == ["the other"]


def test_what_goes_on_after_a_stop_is_cut_off() -> None:
    ended: list[str] = []

    async def end(stop: asyncio.Event) -> None:
        await stop.wait()
        ended.append("by itself")

    async def go_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cut off")

    async def run() -> None:
        stop = asyncio.Event()
        stop.set()
        await run_together([go_on(), end(stop)], stop, 0.01)

    asyncio.run(run())
    assert ended == ["by itself", "cut off"]
