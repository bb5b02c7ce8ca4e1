"""A router that trusts keys: what is not signed by them never gets to its disk, and what is there is verified again."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cellplane.errors import ControlPlaneError, TableError
from cellplane.publishing.signer import Signer
from cellplane.router.fetched import read_bounded
from cellplane.routing import RoutingTable
from unit.agent.fake_control import FakeControl, close
from unit.agent.fake_engine import FakeEngine
from unit.agent.running import overlay_on, running, table_of
from unit.publishing.tables import key_of


def trusting(folder: Path, *seeds: int) -> dict[str, Any]:
    """Settings of a router that trusts these keys."""
    path = folder / "trust.pem"
    path.write_text("".join(key_of(seed).public.encode() for seed in seeds))
    return {"trust": (path,)}


def by(*seeds: int) -> Callable[[bytes], bytes]:
    signer = Signer([key_of(seed) for seed in seeds], time.time)
    return lambda data: signer.manifest(RoutingTable.of_publication(data)).encode()


def test_signed_tables_are_taken_and_their_manifests_kept(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.manifest = by(1)
        control.publish(table_of(5))
        async with running(tmp_path, control.url, **trusting(tmp_path, 1)) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.publish(overlay_on(table_of(5), 6))
            await agent.until(lambda: agent.engine.applied == [6], "an overlay alone")
            control.publish(table_of(9))
            await agent.until(lambda: agent.engine.applied == [6, 9], "another base")
            kept = sorted(path.name for path in agent.tables.glob("manifest-*"))
            assert kept == ["manifest-5", "manifest-6", "manifest-9"]
            assert agent.sample("cellplane_agent_tables_fetched_total", source="control") == 3

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("sign", "reason"),
    [
        (None, "came without a manifest"),
        (by(), "is not signed"),
        (by(2), "does not trust"),
        (lambda data: by(1)(data).replace(b"epoch 6", b"epoch 7"), "or neither"),
        (lambda data: by(1)(data).replace(b"fleet shop", b"fleet shoe"), "is wrong"),
        (lambda _: by(1)(table_of(7)), "its epoch is 7, found 6"),
        (lambda _: b"what", "begins with"),
    ],
    ids=["none", "unsigned", "stranger", "changed", "other fleet", "of another table", "no manifest"],
)
def test_what_is_not_signed_by_a_trusted_key_is_refused_told_of_and_not_stored(
    tmp_path: Path, control: FakeControl, sign: Callable[[bytes], bytes] | None, reason: str
) -> None:
    async def scenario() -> None:
        control.manifest = by(1)
        control.publish(table_of(5))
        async with running(tmp_path, control.url, **trusting(tmp_path, 1)) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            control.manifest = sign
            control.publish(table_of(6))
            await agent.until(lambda: bool(control.last().get("rejected")), "the refusal is reported")
            assert reason in control.last()["rejected"]["reason"]
            assert control.last()["rejected"]["epoch"] == 6
            assert agent.sample("cellplane_agent_tables_rejected_total", by="signature") >= 1
            assert sorted(path.name for path in agent.tables.iterdir()) == ["live.json", "manifest-5", "table-5.cpt"]
            assert agent.engine.tried == []
            control.manifest = by(1)
            control.publish(table_of(8))
            await agent.until(lambda: agent.engine.applied[-1:] == [8], "a sound one is taken")
            await agent.until(lambda: control.last()["rejected"] is None, "the report is clean")

    asyncio.run(scenario())


def test_a_router_does_not_start_on_what_it_does_not_trust(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.manifest = by(2)
        control.publish(table_of(5))
        async with running(tmp_path, control.url, **trusting(tmp_path, 1)) as agent:
            await agent.until(
                lambda: agent.sample("cellplane_agent_tables_rejected_total", by="signature") >= 2, "it refuses"
            )
            assert agent.stored() == []
            control.manifest = by(2, 1)
            control.publish(table_of(6))
            await agent.until(lambda: bool(agent.engine.started), "signed by the right key too")

    asyncio.run(scenario())


async def run_once(tmp_path: Path, control: FakeControl, *seeds: int) -> None:
    async with running(tmp_path, control.url, **(trusting(tmp_path, *seeds) if seeds else {})) as agent:
        await agent.until(lambda: bool(agent.engine.started), "it starts")


@pytest.mark.parametrize(
    "damage", ["manifest gone", "manifest of another", "manifest changed", "other key", "no damage"]
)
def test_what_is_on_the_disk_is_verified_again_at_the_start(tmp_path: Path, control: FakeControl, damage: str) -> None:
    async def scenario() -> None:
        control.manifest = by(1)
        control.publish(table_of(5))
        await run_once(tmp_path, control, 1)
        kept = tmp_path / "tables" / "manifest-5"
        if damage == "manifest gone":
            kept.unlink()
        elif damage == "manifest of another":
            kept.write_bytes(by(1)(table_of(6)))
        elif damage == "manifest changed":
            kept.write_bytes(kept.read_bytes().replace(b"epoch 5", b"epoch 6"))
        control.turn(close)
        engine = FakeEngine()
        trust = trusting(tmp_path, 2 if damage == "other key" else 1)
        async with running(tmp_path, control.url, engine, **trust) as agent:
            if damage == "no damage":
                await agent.until(lambda: engine.started == [5], "without a control plane")
                return
            await agent.until(lambda: agent.sample("cellplane_agent_table_failures_total") >= 2, "it has none")
            assert engine.started == []
            control.manifest = by(1, 2)
            control.publish(table_of(7))
            await agent.until(lambda: engine.started == [7], "the control plane is back")

    asyncio.run(scenario())


def test_a_base_whose_overlay_is_lost_still_has_the_word_of_the_overlays_manifest(
    tmp_path: Path, control: FakeControl
) -> None:
    async def scenario() -> None:
        control.manifest = by(1)
        control.publish(overlay_on(table_of(5), 6))
        await run_once(tmp_path, control, 1)
        (tmp_path / "tables" / "overlay-6-on-5.cpt").unlink()
        control.turn(close)
        engine = FakeEngine()
        async with running(tmp_path, control.url, engine, **trusting(tmp_path, 1)) as agent:
            await agent.until(lambda: engine.started == [5], "the base")

    asyncio.run(scenario())


def test_a_router_that_begins_to_trust_has_what_came_signed_before(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.manifest = by(1)
        control.publish(table_of(5))
        await run_once(tmp_path, control)
        control.turn(close)
        await run_once(tmp_path, control, 1)

    asyncio.run(scenario())


def test_keys_come_and_go_without_a_restart(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.manifest = by(1)
        control.publish(table_of(5))
        async with running(tmp_path, control.url, **trusting(tmp_path, 1)) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            trusting(tmp_path, 1, 2)
            control.manifest = by(2)
            control.publish(table_of(6))
            await agent.until(lambda: agent.engine.applied == [6], "the new key counts")
            trusting(tmp_path, 2)
            control.manifest = by(1)
            control.publish(table_of(7))
            await agent.until(lambda: bool(control.last().get("rejected")), "the old one does not")
            (tmp_path / "trust.pem").write_text("damaged")
            control.manifest = by(2)
            control.publish(table_of(8))
            await agent.until(lambda: agent.engine.applied[-1:] == [8], "the keys of before go on")

    asyncio.run(scenario())


def test_a_table_of_another_fleet_is_refused_where_one_is_named(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, fleet="shoe") as agent:
            await agent.until(
                lambda: agent.sample("cellplane_agent_tables_rejected_total", by="signature") >= 1, "it is refused"
            )
        async with running(tmp_path, control.url, fleet="shop") as agent:
            await agent.until(lambda: agent.engine.started == [5], "its own is taken")

    asyncio.run(scenario())


def test_compressed_tables_are_taken(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.compresses, control.manifest = True, by(1)
        control.publish(overlay_on(table_of(5), 6))
        async with running(tmp_path, control.url, **trusting(tmp_path, 1)) as agent:
            await agent.until(lambda: agent.engine.started == [6], "the first table")
            assert control.sent[0] < 10_000

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("encoding", "data", "reason"),
    [
        ("zstd", zstandard.compress(bytes(1 << 24)), "when it is decompressed"),
        ("zstd", zstandard.compress(bytes(1 << 10))[:-3] + b"xyz", "decompressed|truncated|not a routing"),
        ("zstd", b"plain", "cannot be decompressed"),
        ("gzip", b"plain", "Content-Encoding 'gzip'"),
    ],
    ids=["bomb", "damaged", "not zstd", "gzip"],
)
def test_a_small_body_that_is_huge_or_is_damaged_is_refused(encoding: str, data: bytes, reason: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 100):
            yield data[start : start + 100]

    async def scenario() -> None:
        with pytest.raises((TableError, ControlPlaneError), match=reason):
            RoutingTable.of_publication(await read_bounded(pieces(), encoding, 1 << 20))

    asyncio.run(scenario())


def test_a_bomb_is_refused_by_a_router_and_a_sound_table_taken_after_it(tmp_path: Path, control: FakeControl) -> None:
    bomb = zstandard.compress(bytes(1 << 24))

    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, max_table_bytes=1 << 20) as agent:
            await agent.until(lambda: agent.engine.started == [5], "the first table")
            headers = {"Content-Encoding": "zstd"}
            control.turn(lambda handler: handler.answer(200, bomb, headers=headers))
            await agent.until(lambda: agent.sample("cellplane_agent_tables_rejected_total", by="agent") >= 1, "refused")
            control.publish(table_of(7))
            await agent.until(lambda: agent.engine.applied == [7], "a sound one is taken")

    asyncio.run(scenario())
