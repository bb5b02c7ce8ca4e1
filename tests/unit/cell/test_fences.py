"""The tenants that a cell gave away: what counts, what is refused, and what a crash leaves."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.cell import CellContext, CellMiddleware
from cellplane.cell.errors import FenceFileError, FencesBusyError, FencesFullError, StaleFenceError
from cellplane.cell.fences import Fences
from cellplane.cell.settings import FenceLimits
from cellplane.durable import locked
from unit.cell.test_asgi import ROUTED, App, call, problem

WRITER = """
import sys
from pathlib import Path
from cellplane.cell.fences import Fences
fences = Fences(Path(sys.argv[1]), "cell-a")
print("ready", flush=True)
epoch = max(fences.away().values(), default=0)
while True:
    epoch += 1
    fences.give_away(f"tenant-{epoch % 50}", epoch)
    print(epoch, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Fences.create(tmp_path / "fences", "cell-a")
    return tmp_path / "fences"


def test_a_tenant_that_was_given_away_is_refused_with_the_very_next_request(path: Path) -> None:
    serving, moving = Fences(path, "cell-a"), Fences(path, "cell-a")
    app = App()
    middleware = CellMiddleware(app, "cell-a", moved=serving.moved)
    call(app, ROUTED, middleware=middleware)
    moving.give_away("acme", 8)
    document = problem(call(app, ROUTED, middleware=middleware))
    assert (document["status"], document["code"], document["epoch"]) == (421, "tenant-moved", 8)
    moving.returned("acme", 9)
    call(app, ROUTED, middleware=middleware)
    assert app.contexts == [CellContext("cell-a", 7, "acme")] * 2


def test_every_change_is_seen_by_others_however_fast_they_follow(path: Path) -> None:
    serving, moving = Fences(path, "cell-a"), Fences(path, "cell-a")
    for epoch in range(10, 60):
        moving.give_away("acme", epoch)
        assert serving.moved("acme") == epoch


def test_an_epoch_never_goes_back(path: Path) -> None:
    fences = Fences(path, "cell-a")
    fences.give_away("acme", 8)
    fences.give_away("acme", 8)
    with pytest.raises(StaleFenceError, match=r"an epoch after 8, by which it is another cell's; found 7"):
        fences.give_away("acme", 7)
    with pytest.raises(StaleFenceError):
        fences.returned("acme", 8)
    fences.returned("acme", 12)
    with pytest.raises(StaleFenceError, match="by which it is here"):
        fences.give_away("acme", 12)
    assert fences.moved("acme") is None
    fences.give_away("acme", 13)
    assert fences.away() == {"acme": 13}


@pytest.mark.parametrize(("tenant", "epoch"), [("", 1), ("a b", 1), ("ä", 1), ("t" * 129, 1), ("a", 0), ("a", 10**20)])
def test_what_is_no_tenant_or_no_epoch_is_not_noted(path: Path, tenant: str, epoch: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        Fences(path, "cell-a").give_away(tenant, epoch)


def test_at_a_start_a_list_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FenceFileError, match=r"cannot be read.*Fences\.create"):
        Fences(tmp_path / "fences", "cell-a")


def damages(sound: bytes) -> dict[str, tuple[bytes, str]]:
    return {
        "empty": (b"", "SHA-256"),
        "cut short": (sound[:-10], "SHA-256"),
        "a digit changed": (sound.replace(b" 8 ", b" 9 "), "SHA-256"),
        "zeros": (b"\0" * len(sound), "SHA-256"),
    }


@pytest.mark.parametrize("damage", damages(b""))
def test_at_a_start_a_damaged_list_is_an_error(path: Path, damage: str) -> None:
    Fences(path, "cell-a").give_away("acme", 8)
    data, reason = damages(path.read_bytes())[damage]
    path.write_bytes(data)
    with pytest.raises(FenceFileError, match=reason):
        Fences(path, "cell-a")


def test_another_cells_list_is_refused(path: Path) -> None:
    with pytest.raises(FenceFileError, match="expected the list of cell cell-b, found that of cell-a"):
        Fences(path, "cell-b")


@pytest.mark.parametrize("damage", [*damages(b""), "gone", "a folder"])
def test_while_it_runs_what_was_known_last_counts(path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    fences = Fences(path, "cell-a")
    fences.give_away("acme", 8)
    sound = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "gone":
        path.write_bytes(damages(sound)[damage][0])
    for _ in range(3):
        assert fences.moved("acme") == 8
    assert fences.trouble is not None
    assert len([record for record in caplog.records if "what was known last counts" in record.message]) == 1
    with pytest.raises(FenceFileError):
        fences.give_away("globex", 9)
    if damage == "a folder":
        path.rmdir()
    path.write_bytes(sound)
    assert fences.moved("acme") == 8
    assert fences.trouble is None
    fences.give_away("globex", 9)
    assert Fences(path, "cell-a").away() == {"acme": 8, "globex": 9}


def test_an_older_list_that_was_put_back_is_not_believed(path: Path) -> None:
    fences = Fences(path, "cell-a")
    empty = path.read_bytes()
    fences.give_away("acme", 8)
    path.write_bytes(empty)
    assert fences.moved("acme") == 8
    assert fences.trouble is not None
    assert "expected generation 1 or later, found 0" in fences.trouble


def test_it_holds_no_more_than_it_may_and_forgets_the_return_of_longest_ago(path: Path) -> None:
    fences = Fences(path, "cell-a", limits=FenceLimits(max_tenants=3))
    fences.give_away("a", 1)
    fences.returned("b", 3)
    fences.returned("c", 2)
    fences.give_away("d", 4)
    fences.give_away("e", 5)
    assert fences.away() == {"a": 1, "d": 4, "e": 5}
    with pytest.raises(FencesFullError, match="3 tenants were given away"):
        fences.give_away("f", 6)
    fences.give_away("e", 7)
    assert fences.moved("e") == 7


def test_a_file_that_is_too_large_is_not_read(path: Path) -> None:
    with pytest.raises(FenceFileError, match="at most 10 bytes"):
        Fences(path, "cell-a", limits=FenceLimits(max_bytes=10))


def test_a_change_waits_for_another_process_but_not_for_ever(path: Path) -> None:
    fences = Fences(path, "cell-a", limits=FenceLimits(lock_wait_seconds=0.05))
    with locked(path.with_name("fences.lock")) as is_held:
        assert is_held
        with pytest.raises(FencesBusyError, match=r"0\.05 s"):
            fences.give_away("acme", 8)
    fences.give_away("acme", 8)


def test_a_list_that_is_there_is_left_as_it_is(path: Path) -> None:
    Fences(path, "cell-a").give_away("acme", 8)
    assert Fences.create(path, "cell-a").moved("acme") == 8
    path.write_bytes(b"")
    with pytest.raises(FenceFileError):
        Fences.create(path, "cell-a")
    with pytest.raises(FenceFileError, match="cannot be written"):
        Fences.create(Path("/proc/nowhere/fences"), "cell-a")


MANY = """
import sys
from pathlib import Path
from cellplane.cell.fences import Fences
for epoch in range(1, 21):
    Fences(Path(sys.argv[1]), "cell-a").give_away(f"{sys.argv[2]}-{epoch}", epoch)
"""


def test_processes_and_threads_that_write_at_once_lose_nothing(path: Path) -> None:
    others = [subprocess.Popen([sys.executable, "-c", MANY, str(path), f"process-{number}"]) for number in range(2)]
    fences = Fences(path, "cell-a")

    def give_away_many(name: str) -> None:
        for epoch in range(1, 21):
            fences.give_away(f"{name}-{epoch}", epoch)

    threads = [threading.Thread(target=give_away_many, args=(f"thread-{number}",)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [process.wait(60) for process in others] == [0, 0]
    assert len(Fences(path, "cell-a").away()) == 80


@pytest.mark.parametrize("seed", [1, 2])
def test_a_writer_that_is_killed_leaves_the_old_list_or_the_new_one(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    reading = Fences(path, "cell-a")
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(rng.random() * 0.05)
            child.send_signal(signal.SIGKILL)
            said = [int(line) for line in child.stdout.read().splitlines()]
        newest = max(reading.away().values(), default=0)
        assert reading.trouble is None, f"seed {seed}"
        if said:
            assert said[-1] <= newest <= said[-1] + 1, f"seed {seed}"
    reading.give_away("acme", 10**6)
    assert not list(path.parent.glob(".fences*"))


def test_a_writer_that_dies_before_the_rename_leaves_the_old_list(path: Path) -> None:
    environ = {**os.environ, "CELLPLANE_FAULT": "fences-written-aside:2"}
    child = subprocess.run([sys.executable, "-c", WRITER, str(path)], env=environ, capture_output=True, check=False)
    assert child.returncode == -signal.SIGKILL
    assert re.findall(rb"\d+", child.stdout) == [b"1"]
    assert Fences(path, "cell-a").away() == {"tenant-1": 1}


changes = st.lists(st.tuples(st.booleans(), st.sampled_from(["a", "b"]), st.integers(1, 6)), max_size=12)


@given(changes=changes)
def test_what_counts_is_the_newest_that_was_said(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[bool, str, int]]
) -> None:
    fences = Fences.create(tmp_path_factory.mktemp("fences") / "fences", "cell-a")
    expected: dict[str, tuple[int, bool]] = {}
    for is_away, tenant, epoch in changes:
        before = expected.get(tenant)
        is_stale = before is not None and (epoch < before[0] or (epoch == before[0] and is_away != before[1]))
        change = fences.give_away if is_away else fences.returned
        if is_stale:
            with pytest.raises(StaleFenceError):
                change(tenant, epoch)
        else:
            change(tenant, epoch)
            expected[tenant] = (epoch, is_away)
        assert fences.away() == {name: epoch for name, (epoch, is_away) in expected.items() if is_away}
