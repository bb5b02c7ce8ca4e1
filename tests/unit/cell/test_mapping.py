"""Work that was queued before a move finds its tenant afterwards, for as long as it may be under way."""

import fcntl
import json
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.cell import InvalidSettingError
from cellplane.cell.door import Door, RequestLine
from cellplane.cell.errors import MappingError
from cellplane.cell.mapping import Here, MovedTo, Unknown, Whereabouts
from cellplane.cell.problem import Problem
from cellplane.cell.settings import MappingSettings

DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cell" / "moves"


def record(path: Path, clock: Clock | None = None, **bounds: float) -> Whereabouts:
    said = MappingSettings(**{"look_seconds": 0.0, **bounds})  # type: ignore[arg-type]
    return Whereabouts(path, "cell-1", said, clock=clock or Clock())


def test_work_finds_where_its_tenant_went(path: Path) -> None:
    whereabouts = record(path)
    assert whereabouts.of("acme", 3) == Here()
    assert whereabouts.note("acme", "cell-2", 10)
    assert whereabouts.of("acme", 9) == MovedTo("cell-2", 10)
    assert whereabouts.of("acme", 10) == Here()  # as the door says: by this table nobody is sent here in error
    assert whereabouts.of("berta", 9) == Here()
    assert whereabouts.note("acme", "cell-1", 20)
    assert whereabouts.of("acme", 3) == Here()


def test_the_door_asks_it(path: Path) -> None:
    whereabouts = record(path)
    whereabouts.note_all({"acme": ("cell-2", 10), "berta": ("cell-1", 10)})
    door = Door("cell-1", moved=whereabouts.moved)

    def admitted(tenant: bytes, epoch: bytes) -> bool:
        headers = [(b"x-cell-id", b"cell-1"), (b"x-cell-epoch", epoch), (b"x-tenant-id", tenant)]
        return not isinstance(door.admit(headers, lambda: RequestLine(b"GET", b"/", b"")), Problem)

    assert not admitted(b"acme", b"9")
    assert admitted(b"acme", b"10")
    assert admitted(b"berta", b"9")
    assert whereabouts.moved("carl") is None


def test_what_is_not_newer_changes_nothing(path: Path) -> None:
    whereabouts = record(path)
    assert whereabouts.note("acme", "cell-2", 10)
    assert not whereabouts.note("acme", "cell-2", 10)
    assert not whereabouts.note("acme", "cell-3", 9)
    assert whereabouts.of("acme", 1) == MovedTo("cell-2", 10)
    with pytest.raises(MappingError, match="found cell-2 and cell-3"):
        whereabouts.note_all({"berta": ("cell-2", 11), "acme": ("cell-3", 10)})
    assert whereabouts.of("berta", 1) == Here()


def test_all_processes_know_it_and_so_does_the_next(path: Path) -> None:
    one, other = record(path), record(path)
    one.note("acme", "cell-2", 10)
    assert other.of("acme", 1) == MovedTo("cell-2", 10)
    other.note("acme", "cell-3", 11)
    assert one.of("acme", 1) == record(path).of("acme", 1) == MovedTo("cell-3", 11)


def test_it_is_looked_at_now_and_then(path: Path) -> None:
    clock = Clock()
    reader = Whereabouts(path, "cell-1", MappingSettings(look_seconds=1.0), monotonic=clock)
    record(path).note("acme", "cell-2", 10)
    clock.now += 0.9
    assert reader.of("acme", 1) == Here()
    clock.now += 0.1
    assert reader.of("acme", 1) == MovedTo("cell-2", 10)


def test_nothing_is_forgotten_that_work_may_refer_to(path: Path) -> None:
    clock = Clock()
    whereabouts = record(path, clock, keep_seconds=DAY)
    whereabouts.note("acme", "cell-2", 10)
    clock.now += DAY
    whereabouts.note("berta", "cell-2", 11)
    assert whereabouts.forget() == 0
    clock.now += 1
    assert whereabouts.forget(oldest_work_at=1_000_000.0) == 0
    assert whereabouts.forget() == 1
    assert whereabouts.of("acme", 9) == Unknown()
    assert whereabouts.of("carl", 9) == Unknown()
    assert whereabouts.of("carl", 10) == Here()
    assert whereabouts.of("berta", 9) == MovedTo("cell-2", 11)
    assert record(path).of("acme", 9) == Unknown()


def test_it_is_bounded_by_refusing_never_by_forgetting(path: Path) -> None:
    whereabouts = record(path, max_tenants=2)
    whereabouts.note_all({"a": ("cell-2", 1), "b": ("cell-2", 1)})
    with pytest.raises(MappingError, match="at most 2 tenants"):
        whereabouts.note("c", "cell-2", 2)
    assert whereabouts.note("b", "cell-3", 3)
    assert whereabouts.of("a", 0) == MovedTo("cell-2", 1)
    assert whereabouts.of("c", 0) == Here()


def test_a_tenant_that_comes_and_goes_does_not_let_the_file_grow(path: Path) -> None:
    writer, reader = record(path, max_tenants=5), record(path)
    for epoch in range(1, 100):
        writer.note("acme", f"cell-{epoch % 2 + 1}", epoch)
        assert path.read_bytes().count(b"\n") <= 12
        assert reader.moved("acme") == writer.moved("acme")


@pytest.mark.parametrize(
    ("tenant", "cell", "epoch"), [("", "cell-2", 1), ("a b", "cell-2", 1), ("a", "cell-2", -1), ("a", "cell-2", 2**64)]
)
def test_what_cannot_be_is_refused(path: Path, tenant: str, cell: str, epoch: int) -> None:
    with pytest.raises(MappingError):
        record(path).note(tenant, cell, epoch)
    with pytest.raises(InvalidSettingError):
        record(path).note("a", "no cell", 1)
    assert not path.exists()


def test_a_file_that_is_damaged_or_another_cells_is_refused(path: Path) -> None:
    whereabouts = record(path)
    whereabouts.note_all({"a": ("cell-2", 1), "b": ("cell-2", 1)})
    whole = path.read_bytes()
    with pytest.raises(MappingError, match="expected the moves of cell-2"):
        Whereabouts(path, "cell-2")
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        if whole[at : at + 1] == b"\n" and at == len(whole) - 1:
            continue
        with pytest.raises(MappingError):
            record(path)
    path.unlink()
    with pytest.raises(MappingError, match="is gone"):
        whereabouts.of("a", 0)


def test_what_was_cut_short_is_not_there_and_is_in_nobodys_way(path: Path) -> None:
    writer, reader = record(path), record(path)
    writer.note("a", "cell-2", 1)
    with path.open("ab") as file:
        file.write(b"0badbeef {")
    assert reader.of("a", 0) == MovedTo("cell-2", 1)
    reader.note("b", "cell-3", 2)
    assert record(path).of("b", 0) == writer.of("b", 0) == MovedTo("cell-3", 2)


@contextmanager
def file_limit(limit_bytes: int) -> Iterator[None]:
    """As a full disk is: what is beyond cannot be written."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_loses_nothing(path: Path) -> None:
    clock = Clock()
    whereabouts = record(path, clock)
    whereabouts.note("a", "cell-2", 1)
    clock.now += 8 * DAY
    whereabouts.note("b", "cell-2", 2)
    before = path.read_bytes()
    with file_limit(len(before) + 10), pytest.raises(MappingError, match="Nothing was noted"):
        whereabouts.note("c", "cell-2", 3)
    assert path.read_bytes() == before
    with file_limit(20), pytest.raises(MappingError, match="anew"):
        whereabouts.forget()
    assert path.read_bytes() == before
    assert whereabouts.of("a", 0) == MovedTo("cell-2", 1)
    assert whereabouts.note("c", "cell-2", 3)


def test_who_writes_all_the_time_is_waited_for_in_bounds(path: Path) -> None:
    whereabouts = record(path, lock_seconds=0.05)
    whereabouts.note("a", "cell-2", 1)
    with path.with_name("moves.lock").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(MappingError, match=r"within 0\.05 s"):
            whereabouts.note("b", "cell-2", 2)
    assert whereabouts.note("b", "cell-2", 2)


MOVES = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from(["cell-1", "cell-2", "cell-3"]), st.integers(0, 8), st.integers(0, 3)
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(moves=MOVES)
def test_any_course_of_moves_agrees_with_a_plain_model(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, str, int, int]]
) -> None:
    """Three processes, of which one writes at a time; now and then all that is old is forgotten."""
    path = tmp_path_factory.mktemp("moves") / "moves"
    clock = Clock()
    processes = [record(path, clock, keep_seconds=2 * DAY) for _ in range(3)]
    known: dict[str, tuple[str, int, float]] = {}
    complete_after = 0
    for step, (tenant, cell, epoch, days) in enumerate(moves):
        clock.now += days * DAY
        process = processes[step % 3]
        last = known.get(tenant)
        if last is not None and epoch == last[1] and cell != last[0]:
            with pytest.raises(MappingError):
                process.note(tenant, cell, epoch)
        else:
            is_new = last is None or epoch > last[1]
            assert process.note(tenant, cell, epoch) == is_new
            if is_new:
                known[tenant] = (cell, epoch, clock.now)
        if days == 3:
            gone = [name for name, (_, _, at) in known.items() if at < clock.now - 2 * DAY]
            complete_after = max([complete_after, *(known[name][1] for name in gone)])
            assert process.forget() == len(gone)
            for name in gone:
                del known[name]
        for asked in "abcd":
            for at in (0, 4, 9):
                expected: Here | MovedTo | Unknown = Here() if at >= complete_after else Unknown()
                if asked in known:
                    to, since, _ = known[asked]
                    expected = Here() if to == "cell-1" or at >= since else MovedTo(to, since)
                assert {type(process.of(asked, at)) for process in processes} == {type(expected)}
                assert processes[0].of(asked, at) == expected


_WRITER = """
import sys
from pathlib import Path
from cellplane.cell.mapping import Whereabouts
from cellplane.cell.settings import MappingSettings

whereabouts = Whereabouts(Path(sys.argv[1]), "cell-1", MappingSettings(max_tenants=30))
for number in range(int(sys.argv[2]), 1_000_000):
    whereabouts.note_all({f"t{number % 20}": ("cell-2", number), f"u{number % 5}": ("cell-3", number)})
    print(number, flush=True)
"""


def test_kill_9_loses_nothing_that_was_noted(path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    noted = 0
    for _ in range(15):
        command = [sys.executable, "-c", _WRITER, str(path), str(noted + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _, line in zip(range(moments.randrange(1, 90)), writer.stdout, strict=False):
                noted = int(line)
            time.sleep(moments.random() * 0.002)
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:
                if line.endswith("\n"):
                    noted = int(line)
        found = record(path)
        for number in range(max(1, noted - 19), noted + 1):
            where = found.of(f"t{number % 20}", 0)
            assert isinstance(where, MovedTo)
            assert where.epoch >= number
        json.loads(path.read_bytes().splitlines()[-1].partition(b" ")[2])
    assert path.stat().st_size < 70 * 100
