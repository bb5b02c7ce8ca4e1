"""While somebody writes for long, reads go on, changes wait for a bounded time, and those refused change nothing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx2
import pytest

from cellplane.control import app
from cellplane.control.api.threads import WRITERS
from cellplane.control.settings import WRITE_THREADS
from cellplane.directory import Author, Directory
from cellplane.directory.settings import DatabaseSettings
from unit.control.serving import Api, as_holder, assert_problem, eventually, serving

IMPORTS = 10
CHANGES = 2 * WRITE_THREADS
CELL = {"address": "127.0.0.1", "port": 8009}


@contextmanager
def waiting_for(busy_timeout_ms: int, state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The fleet `shop` where a change waits so long for others."""
    settings = DatabaseSettings(busy_timeout_ms=busy_timeout_ms)
    monkeypatch.setattr(app, "Directory", partial(Directory, settings=settings))
    with serving(state) as api:
        api.fill()
        yield api


def change(api: Api, number: int) -> httpx2.Response:
    """An import, or a change of a tenant, a cell or who may call."""
    if number < IMPORTS:
        return api.http.post("/v1/bulk/tenants", content=f'{{"id": "imported-{number}"}}')
    if number % 3 == 0:
        return api.put(f"/v1/tenants/t-{number}", {})
    if number % 3 == 1:
        return api.put(f"/v1/cells/cell-{number}", CELL)
    return api.http.delete(f"/v1/assignments/t-{number}")


def test_reads_do_not_wait_behind_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with waiting_for(60_000, tmp_path / "state", monkeypatch) as api:
        api.put_epoch("/v1/tenants/acme", {})
        unknown_yet = as_holder(api.holder(name="ann", role="viewer"))
        with ThreadPoolExecutor(CHANGES) as threads:
            with api.service.directory.changing(Author("import")):
                changes = [threads.submit(change, api, number) for number in range(CHANGES)]
                eventually(lambda: WRITERS._work_queue.qsize() == CHANGES - WRITE_THREADS, "all wait")
                for path in ("/v1/tenants/acme", "/v1/cells/cell-1", "/v1/tenants", "/v1/assignments", "/v1/fleet"):
                    assert api.http.get(path, headers=unknown_yet).status_code == 200
                assert not any(each.done() for each in changes)
            statuses = {each.result().status_code for each in changes}
        assert statuses <= {200, 404}, "what is no tenant has no assignment to give back"


def test_changes_that_wait_too_long_are_refused_and_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with waiting_for(200, tmp_path / "state", monkeypatch) as api:
        with ThreadPoolExecutor(CHANGES) as threads, api.service.directory.changing(Author("import")):
            for answer in threads.map(partial(change, api), range(CHANGES)):
                document = assert_problem(answer, 503, "directory-busy")
                assert answer.headers["retry-after"] == "1"
                assert "nothing was changed" in document["detail"]
            token = api.http.post("/v1/tokens", json={"name": "ann", "role": "viewer"})
            assert_problem(token, 503, "directory-busy")
        assert api.get("/v1/events").json()["items"][0]["epoch"] == 4
        assert [each["name"] for each in api.get("/v1/tokens").json()["items"]] == ["admin"]
        assert api.put_epoch("/v1/tenants/acme", {}) == 5
