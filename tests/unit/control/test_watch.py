"""Changes as they happen: in order, none left out, none twice, to a bounded number of listeners."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from unit.control.serving import Api, assert_problem, eventually, serving


@contextmanager
def watching(api: Api, last_event_id: str | None = None, **params: str | int) -> Iterator[list[dict[str, Any]]]:
    """The changes that a watcher is told of, while the block runs."""
    found: list[dict[str, Any]] = []
    headers = {} if last_event_id is None else {"last-event-id": last_event_id}
    with api.http.stream("GET", "/v1/events/watch", params=params, headers=headers, timeout=20) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert next(lines) == ": watching"

        def listen() -> None:
            event: dict[str, str] = {}
            try:
                for line in lines:
                    name, _, value = line.partition(": ")
                    if line and name:
                        event[name] = value
                    elif "data" in event:
                        change = json.loads(event["data"])
                        assert (event["id"], event["event"]) == (str(change["epoch"]), "change")
                        found.append(change)
                        event = {}
            except Exception:  # noqa: BLE001  # the connection is closed below
                return

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield found


def epochs(changes: list[dict[str, Any]]) -> list[int]:
    return [change["epoch"] for change in changes]


def test_changes_are_told_as_they_happen(shop: Api) -> None:
    with watching(shop) as found:
        shop.put_epoch("/v1/tenants/acme", {"cell": "cell-1"})
        eventually(lambda: epochs(found) == [5], "the change is told")
        assert (found[0]["kind"], found[0]["id"], found[0]["after"]["shard"]) == ("tenant", "acme", ["cell-1"])
        shop.put_epoch("/v1/tenants/acme", {"cell": "cell-2"})
        eventually(lambda: epochs(found) == [5, 6], "the next, too")


def test_who_comes_back_is_told_of_what_was_missed(shop: Api) -> None:
    for number in range(4):
        shop.put_epoch(f"/v1/tenants/t-{number}", {})
    with watching(shop, after=5) as found:
        eventually(lambda: epochs(found) == [6, 7, 8], "what was missed")
    with watching(shop, last_event_id="7", after=1) as found:
        eventually(lambda: epochs(found) == [8], "behind the last that was seen")


def test_some_changes_alone_are_told(shop: Api) -> None:
    with watching(shop, kind="tenant", id="acme") as found:
        shop.put_epoch("/v1/tenants/other", {})
        shop.put_epoch("/v1/tenants/acme", {})
        shop.put_epoch("/v1/cells/cell-1", {"address": "127.0.0.1", "port": 9})
        shop.put_epoch("/v1/tenants/acme", {"tier": "gold"})
        eventually(lambda: epochs(found) == [6, 8], "those that were asked for")


def test_none_is_left_out_and_none_comes_twice_however_many_write(shop: Api) -> None:
    def write(thread: int) -> None:
        for number in range(15):
            shop.put_epoch(f"/v1/tenants/w{thread}-{number}", {})

    with watching(shop, after=0) as found:
        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eventually(lambda: len(found) >= 64, "all are told")
        assert epochs(found) == list(range(1, 65))


def test_silence_is_broken_now_and_then(tmp_path: Path) -> None:
    with serving(tmp_path / "state", watch_heartbeat_seconds=0.05) as api:
        api.fill()
        with api.http.stream("GET", "/v1/events/watch") as response:
            lines = response.iter_lines()
            assert [next(lines) for _ in range(5)] == [": watching", "", ": nothing new", "", ": nothing new"]


def test_only_so_many_may_watch(tmp_path: Path) -> None:
    # A heartbeat wakes who listens here, so that the connection is closed.
    with serving(tmp_path / "state", max_watchers=1, watch_heartbeat_seconds=0.2) as api:
        api.fill()
        with watching(api):
            eventually(lambda: api.service.feed.watchers == 1, "it watches")
            assert_problem(api.get("/v1/events/watch"), 503, "too-many-watchers")
        eventually(lambda: api.service.feed.watchers == 0, "who left is forgotten")
        with watching(api):
            pass


@pytest.mark.parametrize("query", [{"after": -1}, {"after": 2**63}, {"after": "x"}])
def test_where_to_begin_is_an_epoch(shop: Api, query: dict[str, Any]) -> None:
    assert_problem(shop.get("/v1/events/watch", **query), 422, "invalid-request", field="query.after")
