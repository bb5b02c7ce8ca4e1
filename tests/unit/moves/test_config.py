"""moves.yaml: the example of the manual does what it says, and what is wrong is said by its field and line."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.api import RetentionPolicy

from cellplane.moves.book import MoveBook
from cellplane.moves.carriers.carrier import Carrier, Load
from cellplane.moves.config import KEPT, config_of, parse_config, read_config
from cellplane.moves.driver import Driver
from cellplane.moves.errors import MoveError
from cellplane.moves.hooks import FileHookRecord
from cellplane.moves.move import Move, Phase
from cellplane.moves.settings import CutoverSettings, DriverSettings
from cellplane.moves.shadowing import ShadowRules
from cellplane.moves.steps import Steps
from e2e_app.servers import Nats
from support.http_server import answering_with
from support.moving import SOURCE, TARGET, TENANT, World, WorldBook, WorldMover, WorldRecords, WorldRoutes
from unit.publishing.buckets import CREDENTIALS, client_of, object_store

MANUAL = Path(__file__).resolve().parents[3] / "docs" / "moves.md"
MOVE = Move("m1", TENANT, SOURCE, TARGET, True, 1.0)


def example() -> str:
    found = re.search(r"```yaml\n(carriers:\n.*?)```", MANUAL.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, str]]:
    made = {}
    try:
        for cell in (SOURCE, TARGET):
            folder = tmp_path / f"nats-{cell}"
            folder.mkdir()
            made[cell] = Nats(folder)
            made[cell].start_and_wait()
        yield {cell: server.url for cell, server in made.items()}
    finally:
        for server in made.values():
            server.stop()


class Endpoint(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((body["hook"], "X-Cellplane-Signature" in self.headers))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


async def queued(url: str, cell: str, *, put: bool = False) -> list[tuple[str, str]]:
    """Subjects and texts of what waits at a cell, after the stream is made and something is put into it."""
    client = Client()
    await client.connect(url)
    stream = client.jetstream()
    try:
        name = f"CELL-{cell}"
        if put or cell == TARGET:
            await stream.add_stream(
                name=name, subjects=[f"deliveries.{cell}", "orders.>"], retention=RetentionPolicy.WORK_QUEUE
            )
        if put:
            for subject, tenant in (
                (f"deliveries.{cell}", TENANT),
                (f"orders.{TENANT}.new", TENANT),
                ("orders.globex.new", "globex"),
            ):
                await stream.publish(subject, tenant.encode(), headers={"x-tenant-id": tenant})
        found = []
        state = (await stream.stream_info(name)).state
        for sequence in range(max(1, state.first_seq), state.last_seq + 1):
            message = await stream.get_msg(name, sequence)
            found.append((message.subject or "", (message.data or b"").decode()))
        return found
    finally:
        await client.close()


def test_the_example_of_the_manual_moves_what_it_names_and_tells_whom_it_names(
    tmp_path: Path, servers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, object]] = []
    billing = ModuleType("billing.moves")
    billing.tell = told.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "billing", ModuleType("billing"))
    monkeypatch.setitem(sys.modules, "billing.moves", billing)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "hooks.secret").write_text("between us")
    asked: list[tuple[str, bool]] = []
    with object_store() as endpoint, answering_with(Endpoint, asked=asked) as server:
        text = example().replace("/srv/", f"{tmp_path}/").replace("?region", f"?endpoint={endpoint}&region")
        text = text.replace("https://ops.example.com/moves", f"http://127.0.0.1:{server.server_port}/")
        (tmp_path / "moves.yaml").write_text(text)
        store = client_of(endpoint)
        for cell in (SOURCE, TARGET):
            (tmp_path / cell / "uploads").mkdir(parents=True)
            store.create_bucket(Bucket=f"{cell}-reports")
        (tmp_path / SOURCE / "uploads" / TENANT).mkdir()
        (tmp_path / SOURCE / "uploads" / TENANT / "a.txt").write_text("a")
        store.put_object(Bucket=f"{SOURCE}-reports", Key=f"tenants/{TENANT}/b", Body=b"b")
        asyncio.run(queued(servers[SOURCE], SOURCE, put=True))
        asyncio.run(queued(servers[TARGET], TARGET))

        book = MoveBook(tmp_path / "moves")
        book.add(MOVE, {KEPT: read_config(tmp_path / "moves.yaml").kept()})
        (tmp_path / "moves.yaml").write_text("carriers: []")
        config = config_of(tmp_path / "moves" / MOVE.id)
        world = World(lambda count: count - 1)
        seen = WorldBook(MOVE)
        cargo = config.cargo(MOVE, servers)
        assert {name: load.things for name, load in cargo.estimate().items()} == {
            "deliveries": 2,
            "uploads": 1,
            "reports": 1,
        }

        def steps_of(move: Move) -> Steps:
            hooks = config.hooks_with(FileHookRecord(tmp_path / "hooks.json"))
            records, settings = WorldRecords(world), CutoverSettings()
            return Steps(move, WorldMover(world), WorldRoutes(world), records, settings, cargo=cargo, hooks=hooks)

        ticks = iter(range(1, 1_000))
        driver = Driver(
            seen,  # type: ignore[arg-type]  # as a book, in memory
            WorldRoutes(world),
            steps_of,
            DriverSettings(),
            lambda: float(next(ticks)),
            lambda _: world.happen(),
        )
        for _ in range(50):
            if driver.advance(MOVE.id).phase.is_end:
                break
        assert seen.move.phase is Phase.DONE
        assert (tmp_path / TARGET / "uploads" / TENANT / "a.txt").read_text() == "a"
        assert list((tmp_path / SOURCE / "uploads" / TENANT).iterdir()) == []
        assert store.get_object(Bucket=f"{TARGET}-reports", Key=f"tenants/{TENANT}/b")["Body"].read() == b"b"
        assert "Contents" not in store.list_objects_v2(Bucket=f"{SOURCE}-reports")
    assert asyncio.run(queued(servers[TARGET], TARGET)) == [
        (f"deliveries.{TARGET}", TENANT),
        (f"orders.{TENANT}.new", TENANT),
    ]
    assert asked == [("before_fence", True), ("after_flip", True)]
    assert [call["hook"] for call in told] == ["after_release"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("carrier: []", r"moves.yaml:1:1: carrier: no field is named 'carrier' here: did you mean carriers\?"),
        ("carriers: 7", r"moves.yaml:1:11: carriers: expected a list, found the number 7"),
        ("carriers:\n  - ftp: {}", r"carriers\[0\].ftp: no field is named 'ftp' here: expected jetstream, files, s3"),
        ("carriers:\n  - files: {}", r"moves.yaml:2:12: carriers\[0\].files.roots: expected a text with {cell}"),
        ("carriers:\n  - {}", r"carriers\[0\]: expected one of jetstream, files, s3, python, found 0"),
        ("carriers:\n  - files: {roots: 7}", r"carriers\[0\].files.roots: expected a text, found the number 7"),
        ("carriers:\n  - files: {roots: {cell-1: [a]}}", r"files.roots.cell-1: expected a text, found a list"),
        ("carriers:\n  - files: {roots: a}\n  - files: {roots: b}", r"carriers: two are named 'files'"),
        ("carriers:\n  - jetstream: {stream: S}", r"jetstream.subjects: expected a text or a list of them, found none"),
        (
            "carriers:\n  - jetstream:\n      stream: S\n      subjects: ['a..b']",
            r"moves.yaml:4:18: carriers\[0\].jetstream.subjects\[0\]: expected a subject",
        ),
        ("carriers:\n  - python: {factory: f, options: 1}", r"options: expected names and values, found the number 1"),
        ("hooks:\n  - {on: before_lunch, url: 'http://x'}", r"hooks\[0\].on: no hook is named 'before_lunch'"),
        ("hooks:\n  - {on: before_copy}", r"hooks\[0\]: expected either url or python"),
        ("hooks:\n  - {on: before_copy, url: 'ftp://x'}", r"hooks\[0\].url: expected http://… or https://…"),
        ("hooks:\n  - {on: before_copy, python: f}", r"hooks\[0\].python: expected package.module:function"),
        ("hooks:\n  - {on: after_copy, python: 'm:f', secretFile: s}", r"secretFile: only calls by url are signed"),
        ("shadow: {tolerance: 1}", r"moves.yaml:1:10: shadow.tolerance: no field .* did you mean tolerancePercent\?"),
        ("shadow: {tolerancePercent: 101}", r"shadow.tolerancePercent: expected a number from 0 to 100, found the num"),
        ("shadow: {tolerancePercent: true}", r"shadow.tolerancePercent: expected a number from 0 to 100, found true"),
        ("shadow: {ignore: [at]}", r"shadow.ignore\[0\]: expected a path such as /items/\*/id"),
        ("- a", r"moves.yaml:1:1: expected carriers, hooks, shadow, tables, limits, found a list"),
        ("carriers: [", r"this is no YAML"),
    ],
)
def test_what_is_wrong_is_said_by_its_field_and_its_line(text: str, said: str) -> None:
    with pytest.raises(MoveError, match=said):
        parse_config(text, Path())


def test_what_a_shadow_allows_for_is_read_and_kept(tmp_path: Path) -> None:
    config = parse_config("shadow: {ignore: [/at, /items/*/id], tolerancePercent: 5}", tmp_path)
    (tmp_path / KEPT).write_bytes(config.kept())
    for found in (config, config_of(tmp_path)):
        assert found.shadow == ShadowRules(("/at", "/items/*/id"), 5.0)
    assert parse_config("hooks: []", tmp_path).shadow == ShadowRules()


def test_an_empty_file_and_none_carry_nothing(tmp_path: Path) -> None:
    for found in (parse_config("", tmp_path), config_of(tmp_path)):
        assert found.cargo(MOVE, {}).carriers == ()
        assert found.hooks_with(FileHookRecord(tmp_path / "hooks.json")).hooks == {}
    (tmp_path / KEPT).write_text("{")
    with pytest.raises(MoveError, match="put it back"):
        config_of(tmp_path)
    with pytest.raises(MoveError, match="cannot be read"):
        read_config(tmp_path / "nowhere")


def test_a_cell_that_is_not_named_is_said() -> None:
    found = parse_config("carriers:\n  - files: {roots: {cell-1: a}}", Path())
    with pytest.raises(MoveError, match=r"carriers\[0\].files.roots: cell-2 is not there"):
        found.cargo(MOVE, {})
    found = parse_config("carriers:\n  - jetstream: {stream: S, subjects: a}", Path())
    with pytest.raises(MoveError, match="nothing says where cell-1 has its NATS"):
        found.cargo(MOVE, {})


class Own(Carrier):
    """A carrier of one's own."""

    def __init__(self, name: str, move: Move, options: dict[str, object]) -> None:
        self.name, self.move, self.options = name, move, options

    def estimate(self) -> Load:
        return Load(3)


def test_a_carrier_of_ones_own_is_made_by_its_function(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("own_carriers")
    module.make = Own  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_carriers", module)
    text = "carriers:\n  - python: {name: mail, factory: 'own_carriers:make', options: {url: x, tries: 3}}"
    [made] = parse_config(text, Path()).cargo(MOVE, {}).carriers
    assert isinstance(made, Own)
    assert (made.name, made.move, made.options) == ("mail", MOVE, {"url": "x", "tries": 3})
