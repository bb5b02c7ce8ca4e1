"""How the example's API fails on purpose."""

import asyncio
import json
import random
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from notifications.faulty import Faulty


async def answer(_request: Request) -> Response:
    return PlainTextResponse("ok")


def statuses(faulty: Faulty, path: str, count: int) -> list[int]:
    async def ask() -> list[int]:
        transport = httpx2.ASGITransport(faulty)
        async with httpx2.AsyncClient(transport=transport, base_url="http://cell") as client:
            return [(await client.get(path)).status_code for _ in range(count)]

    return asyncio.run(ask())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "faults.json"


@pytest.fixture
def faulty(file: Path) -> Faulty:
    return Faulty(Starlette(routes=[Route("/x", answer)]), file, random.Random(3))


def write(file: Path, text: str) -> None:
    """As a file that is renamed into place: it is another one."""
    new = file.with_name("new")
    new.write_text(text)
    new.replace(file)


def test_without_a_file_nothing_fails(faulty: Faulty) -> None:
    assert set(statuses(faulty, "/x", 50)) == {200}


def test_a_share_fails_from_one_request_to_the_next(faulty: Faulty, file: Path) -> None:
    write(file, json.dumps({"error_share": 0.3}))
    assert 30 < statuses(faulty, "/x", 200).count(500) < 90
    write(file, json.dumps({"error_share": 1.0}))
    assert set(statuses(faulty, "/x", 20)) == {500}
    file.unlink()
    assert set(statuses(faulty, "/x", 50)) == {200}


@pytest.mark.parametrize("text", ["", "[1]", '{"error_share": "many"}', '{"other": 1}'])
def test_a_file_that_says_nothing_sensible_does_nothing(
    faulty: Faulty, file: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(file, text)
    assert set(statuses(faulty, "/x", 20)) == {200}
    assert [record.getMessage() for record in caplog.records].count("faults not understood") == 1
