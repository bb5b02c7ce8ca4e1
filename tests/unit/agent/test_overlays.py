"""How an agent takes small changes without their base, and what it keeps of both."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cellplane.durable import ASIDE_SUFFIX
from cellplane.errors import TableError
from cellplane.faults import FAULT_VARIABLE
from cellplane.router.engine import TableRejectedError
from cellplane.router.settings import RouterSettings
from cellplane.router.tables import StoredTable, TableFolder
from unit.agent import fake_control
from unit.agent.fake_control import FakeControl
from unit.agent.fake_engine import FakeEngine
from unit.agent.running import overlay_on, running, table_of

OVERLAY_BYTES = 1_000


def test_a_change_comes_without_its_base(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(1))
        async with running(tmp_path, control.url, kept_tables=2) as agent:
            await agent.until(lambda: agent.engine.epoch == 1, "the first table")
            for epoch in (2, 3, 5):
                control.publish(overlay_on(table_of(1), epoch))
                await agent.until(lambda epoch=epoch: agent.engine.epoch == epoch, "the overlay")  # type: ignore[misc]
            await agent.until(lambda: control.last().get("epoch") == 5, "it is reported")
            assert agent.stored() == ["overlay-3-on-1.cpt", "overlay-5-on-1.cpt", "table-1.cpt"]
            assert max(control.sent[1:]) < OVERLAY_BYTES < control.sent[0]
            control.publish(overlay_on(table_of(6), 7))
            await agent.until(lambda: agent.engine.epoch == 7, "an overlay with a base of its own")
            control.publish(overlay_on(table_of(8), 9))
            await agent.until(lambda: agent.engine.epoch == 9, "and another")
            await agent.until(lambda: "table-1.cpt" not in agent.stored(), "the old base goes with what stood on it")
            assert agent.stored() == ["overlay-7-on-6.cpt", "overlay-9-on-8.cpt", "table-6.cpt", "table-8.cpt"]

    asyncio.run(scenario())


def test_a_restart_begins_with_base_and_overlay(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(overlay_on(table_of(1), 4))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.started == [4], "both come at once")
        control.turn(fake_control.close)
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.started == [4], "without a control plane")

    asyncio.run(scenario())


def test_an_overlay_of_another_base_is_not_taken(tmp_path: Path, control: FakeControl) -> None:
    foreign = overlay_on(table_of(2, port=9999), 5)[len(table_of(2, port=9999)) :]

    async def scenario() -> None:
        control.publish(table_of(1))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: agent.engine.epoch == 1, "the first table")
            control.turn(fake_control.body(foreign))
            await agent.until(lambda: agent.sample("cellplane_agent_tables_rejected_total", by="agent") > 0, "refused")
            assert agent.engine.tried == []
            assert agent.stored() == ["table-1.cpt"]
            control.publish(overlay_on(table_of(1), 6))
            await agent.until(lambda: agent.engine.epoch == 6, "it goes on")

    asyncio.run(scenario())


def test_a_damaged_overlay_or_base_gives_way_to_what_is_sound(tmp_path: Path) -> None:
    folder = TableFolder(tmp_path, kept=5)
    for base, epoch in ((1, 2), (1, 3), (4, 5)):
        data = overlay_on(table_of(base), epoch)
        folder.mark_live(folder.store(folder.open(data, None), data, None))
    for damaged, left in (("overlay-5-on-4.cpt", 4), ("table-4.cpt", 3), ("overlay-3-on-1.cpt", 2)):
        (tmp_path / damaged).write_bytes(b"no table")
        found = folder.last_good()
        assert found is not None
        assert found.epoch == left


def test_three_changes_later_there_is_still_a_table_on_another_file(tmp_path: Path) -> None:
    kept = RouterSettings(router_id="r", control_url="http://x", state_dir=tmp_path, port=1).kept_tables
    folder = TableFolder(tmp_path, kept)
    for base, epoch in ((1, 2), (1, 3), (4, 5), (4, 6), (4, 7), (4, 8)):
        data = overlay_on(table_of(base), epoch)
        folder.mark_live(folder.store(folder.open(data, None), data, None))
    (tmp_path / "table-4.cpt").write_bytes(b"no table")
    found = folder.last_good()
    assert found is not None
    assert found.epoch == 3


def test_files_of_writes_that_were_cut_short_go(tmp_path: Path) -> None:
    (tmp_path / f".table-9.cpt{ASIDE_SUFFIX}").write_bytes(b"half")
    TableFolder(tmp_path, 2)
    assert list(tmp_path.iterdir()) == []


def test_a_base_that_was_lost_on_the_disk_is_fetched_again(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(1))
        async with running(tmp_path, control.url, engine=OpeningEngine()) as agent:
            await agent.until(lambda: agent.engine.epoch == 1, "the first table")
            (agent.tables / "table-1.cpt").unlink()
            control.publish(overlay_on(table_of(1), 2))
            await agent.until(lambda: agent.engine.epoch == 2, "the overlay, with its base again")
            assert agent.stored() == ["overlay-2-on-1.cpt", "table-1.cpt"]

    asyncio.run(scenario())


def test_files_that_were_lost_are_written_again_before_the_proxy_is_started_again(tmp_path: Path) -> None:
    folder = TableFolder(tmp_path, 2)
    data = overlay_on(table_of(1), 2)
    stored = folder.store(folder.open(data, None), data, None)
    for path in tmp_path.glob("*.cpt"):
        path.unlink()
    folder.write_again(stored)
    folder.mark_live(stored)
    found = folder.last_good()
    assert found is not None
    assert found.epoch == 2


class OpeningEngine(FakeEngine):
    """Refuses what it cannot open, as the module does."""

    async def apply(self, stored: StoredTable) -> None:
        if not stored.path.exists():
            raise TableRejectedError("no such file")
        await super().apply(stored)


def test_an_overlay_needs_a_base(tmp_path: Path) -> None:
    overlay = overlay_on(table_of(1), 2)[len(table_of(1)) :]
    with pytest.raises(TableError, match="base that is not here"):
        TableFolder(tmp_path, kept=2).open(overlay, None)


def test_what_a_proxy_refused_goes_but_a_base_that_others_stand_on_stays(tmp_path: Path) -> None:
    folder = TableFolder(tmp_path, kept=5)
    data = overlay_on(table_of(1), 2)
    live = folder.store(folder.open(data, None), data, None)
    folder.mark_live(live)
    small = overlay_on(table_of(1), 3)[len(table_of(1)) :]
    folder.drop(folder.store(folder.open(small, live), small, live))
    other = overlay_on(table_of(4), 5)
    folder.drop(folder.store(folder.open(other, None), other, None))
    assert sorted(path.name for path in tmp_path.glob("*.cpt")) == ["overlay-2-on-1.cpt", "table-1.cpt"]


def test_dying_between_base_and_overlay_leaves_what_was_live(tmp_path: Path) -> None:
    folder = TableFolder(tmp_path, kept=2)
    folder.mark_live(folder.store(folder.open(table_of(1), None), table_of(1), None))
    publication = tmp_path / "publication"
    publication.write_bytes(overlay_on(table_of(4), 5))
    script = (
        "import sys; from pathlib import Path; from cellplane.router.tables import TableFolder\n"
        "folder = TableFolder(Path(sys.argv[1]), 2); data = Path(sys.argv[2]).read_bytes()\n"
        "folder.store(folder.open(data, None), data, None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path, publication],
        env={**os.environ, FAULT_VARIABLE: "router.base.stored"},
        check=False,
        timeout=30,
    )
    assert done.returncode == -signal.SIGKILL
    found = folder.last_good()
    assert found is not None
    assert found.epoch == 1
