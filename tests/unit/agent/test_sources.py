"""Where tables come from when there is no control plane: folders and URLs."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from cellplane.publishing.settings import PublishingSettings
from cellplane.publishing.signer import Signer
from cellplane.publishing.targets import FolderTarget
from cellplane.routing import RoutingTable
from support.http_server import answering_with
from unit.agent.fake_control import FakeControl, close, hang, status
from unit.agent.fake_engine import FakeEngine
from unit.agent.running import overlay_on, running, table_of
from unit.agent.test_signatures import trusting
from unit.publishing.tables import key_of


def publish(folder: Path, data: bytes, seed: int = 1) -> None:
    table = RoutingTable.of_publication(data)
    manifest = Signer([key_of(seed)], time.time).manifest(table)
    FolderTarget(folder, PublishingSettings()).publish(manifest, table)


class Files(SimpleHTTPRequestHandler):
    """A web server of a folder, with entity tags for its manifest."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        self.asked.append((path.name, self.headers.get("If-None-Match")))
        if not path.is_file():
            self.send_error(404)
            return
        tag = f'"{path.stat().st_ino}"'
        if self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            self.end_headers()
            return
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str, list[tuple[str, str | None]]]]:
    """A folder, its URL, and what was asked there: names and tags."""
    folder, asked = tmp_path / "served", list[tuple[str, str | None]]()
    folder.mkdir()
    handler = type("BoundFiles", (Files,), {"asked": asked})
    with answering_with(partial(handler, directory=str(folder))) as server:
        yield folder, f"http://127.0.0.1:{server.server_port}/", asked


def alone(tmp_path: Path, *sources: str, **more: Any) -> Any:
    """A router without a control plane."""
    return running(
        tmp_path / "router", "", sources=sources, source_interval_seconds=0.02, **trusting(tmp_path, 1), **more
    )


def test_a_router_starts_and_lives_from_a_folder(tmp_path: Path) -> None:
    async def scenario() -> None:
        folder = tmp_path / "tables"
        publish(folder, overlay_on(table_of(5), 6))
        async with alone(tmp_path, str(folder)) as agent:
            await agent.until(lambda: agent.engine.started == [6], "the first table")
            publish(folder, overlay_on(table_of(5), 7))
            await agent.until(lambda: agent.engine.applied == [7], "an overlay")
            publish(folder, table_of(9))
            await agent.until(lambda: agent.engine.applied == [7, 9], "another base")
            assert agent.sample("cellplane_agent_tables_fetched_total", source="folder") == 3

    asyncio.run(scenario())


def test_a_router_waits_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    async def scenario() -> None:
        folder = tmp_path / "tables"
        async with alone(tmp_path, str(folder)) as agent:
            await agent.until(lambda: agent.sample("cellplane_agent_table_failures_total") >= 2, "it tries")
            publish(folder, table_of(5))
            await agent.until(lambda: agent.engine.started == [5], "the first table")

    asyncio.run(scenario())


def test_a_url_is_asked_with_the_last_tag_and_for_nothing_that_is_here(
    tmp_path: Path, served: tuple[Path, str, list[tuple[str, str | None]]]
) -> None:
    folder, url, asked = served

    async def scenario() -> None:
        publish(folder, table_of(5))
        async with alone(tmp_path, url) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            publish(folder, overlay_on(table_of(5), 6))
            await agent.until(lambda: agent.engine.applied == [6], "an overlay")
            so_far = len(asked)
            await agent.until(lambda: len(asked) >= so_far + 3, "it asks again and again")
            assert len([name for name, _ in asked if name.startswith("base-")]) == 1, "the base is here"
            assert {tag is None for name, tag in asked[so_far + 1 :] if name == "manifest"} == {False}
            assert agent.sample("cellplane_agent_tables_fetched_total", source="url") == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("misbehave", [close, hang, status(503)], ids=["closes", "hangs", "has no table"])
def test_the_others_are_asked_where_the_control_plane_cannot_be_reached(
    tmp_path: Path, control: FakeControl, misbehave: Any
) -> None:
    async def scenario() -> None:
        folder = tmp_path / "tables"
        publish(folder, table_of(5))
        control.turn(misbehave)
        source: dict[str, Any] = {"sources": (str(tmp_path / "none"), str(folder))}
        async with running(
            tmp_path / "router", control.url, **source, poll_wait_seconds=0.1, fetch_timeout_seconds=0.3
        ) as agent:
            await agent.until(lambda: agent.engine.started == [5], "from the second of them")
            control.publish(table_of(7))
            await agent.until(lambda: agent.engine.applied == [7], "from the control plane, which is back")
            publish(folder, table_of(6))
            control.turn(misbehave)
            await asyncio.sleep(0.3)
            assert agent.engine.applied == [7], "what is older elsewhere is none"
            assert agent.sample("cellplane_agent_tables_rejected_total", by="agent") == 0
            publish(folder, table_of(8))
            await agent.until(lambda: agent.engine.applied == [7, 8], "what is newer is")

    asyncio.run(scenario())


def test_what_a_source_must_not_say_is_refused_and_the_next_is_asked(
    tmp_path: Path, served: tuple[Path, str, list[tuple[str, str | None]]]
) -> None:
    folder, url, asked = served

    async def scenario() -> None:
        publish(folder, table_of(9), seed=2)
        publish(tmp_path / "good", table_of(5))
        async with alone(tmp_path, url, str(tmp_path / "good")) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the good one's")
            await agent.until(
                lambda: agent.sample("cellplane_agent_tables_rejected_total", by="signature") >= 1,
                "the other is told of",
            )
            assert {name for name, _ in asked} == {"manifest"}, "not a byte of what is not signed was fetched"
            publish(tmp_path / "good", table_of(6))
            await agent.until(lambda: agent.engine.applied == [6], "the good one goes on")

    asyncio.run(scenario())


@pytest.mark.parametrize("damage", ["shorter", "longer", "other", "gone"])
def test_a_file_that_is_not_what_its_manifest_says_is_refused_until_it_is(tmp_path: Path, damage: str) -> None:
    async def scenario() -> None:
        folder = tmp_path / "tables"
        publish(folder, table_of(5))
        async with alone(tmp_path, str(folder)) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            manifest = (folder / "manifest").read_bytes()
            publish(folder, table_of(6))
            (file,) = folder.glob("base-6-*")
            data, newer = file.read_bytes(), (folder / "manifest").read_bytes()
            (folder / "manifest").write_bytes(manifest)
            damaged = {"shorter": data[:-1], "longer": data + b"x", "other": data[:-1] + b"x", "gone": None}[damage]
            file.unlink() if damaged is None else file.write_bytes(damaged)
            (folder / "manifest").write_bytes(newer)
            failures = agent.sample("cellplane_agent_table_failures_total")
            await agent.until(
                lambda: agent.sample("cellplane_agent_table_failures_total") >= failures + 2, "it is refused"
            )
            assert agent.stored() == ["table-5.cpt"]
            file.write_bytes(data)
            await agent.until(lambda: agent.engine.applied[-1:] == [6], "it is whole again")

    asyncio.run(scenario())


def test_a_manifest_that_says_too_much_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    async def scenario() -> None:
        folder = tmp_path / "tables"
        publish(folder, table_of(5))
        async with alone(tmp_path, str(folder), max_table_bytes=1000) as agent:
            await agent.until(
                lambda: agent.sample("cellplane_agent_tables_rejected_total", by="agent") >= 1, "it is refused"
            )
            assert agent.engine.starts_tried == 0

    asyncio.run(scenario())


def test_without_a_control_plane_the_stored_table_serves_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        folder = tmp_path / "tables"
        publish(folder, table_of(5))
        async with alone(tmp_path, str(folder)) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
        engine = FakeEngine()
        async with alone(tmp_path, str(tmp_path / "none"), engine=engine) as agent:
            await agent.until(lambda: engine.started == [5], "from its own disk")

    asyncio.run(scenario())
