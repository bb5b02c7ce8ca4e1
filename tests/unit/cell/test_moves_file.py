"""The file of a record of moves: its form, what damage does, and what a crash or a full disk leaves."""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import pytest

from cellplane.cell import MovedTo, Moves, moves_file
from cellplane.cell.errors import MoveFileError, MoveWriteError
from cellplane.cell.moves_file import APPENDED, COUNTED
from cellplane.cell.moves_format import HEAD_BYTES, MAX_LINE_BYTES, Head, max_bytes
from cellplane.cell.settings import MoveLimits
from unit.cell.move_records import CELL, DAY, Clock, opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cell" / "moves"


def test_the_form_is_this(path: Path) -> None:
    moves = opened(path)
    moves.note_all({"acme": ("cell-2", 812), "berta": (CELL, 813)})
    moves.note("acme", CELL, 900)
    head, *lines = path.read_bytes().splitlines(keepends=True)
    assert lines == [b"acme 812 cell-2 1000000\n", b"berta 813 cell-1 1000000\n", b"acme 900 cell-1 1000000\n"]
    said = b"cellplane-moves 1 cell-1 2 0 585 %08x" % crc32(b"".join(lines))
    assert head == (said + b" %08x" % crc32(said)).ljust(511) + b"\n"
    assert Head.parse(head) == Head(CELL, 2, 0, 585, crc32(b"".join(lines)))


def damages(sound: bytes) -> dict[str, tuple[bytes, str]]:
    """What may have become of a record of two moves, by name, and what is said of it."""
    version_2 = b"cellplane-moves 2 cell-1 and so on\n"
    return {
        "empty": (b"", "expected a record of moves"),
        "cut within its head": (sound[:100], "damaged"),
        "cut behind its head": (sound[:HEAD_BYTES], "cut short"),
        "cut within its last line": (sound[:-3], "cut short"),
        "cut before its last line": (sound[: sound[:-1].rfind(b"\n") + 1], "cut short"),
        "a digit changed": (sound.replace(b" 8 ", b" 9 "), "damaged"),
        "another length": (sound.replace(b" 557 ", b" 535 "), "damaged"),
        "zeros": (b"\0" * len(sound), "expected a record of moves"),
        "zeros behind its head": (sound[:HEAD_BYTES] + b"\0" * (len(sound) - HEAD_BYTES), "damaged"),
        "of a later version": (version_2, "expected a record of version 1, found b'2'"),
        "something else": (b'{"acme": 8}\n' * 60, "expected a record of moves"),
    }


EACH_DAMAGE = pytest.mark.parametrize("damage", damages(b""))


def two_moves(path: Path) -> Moves:
    moves = opened(path)
    moves.note("berta", "cell-3", 7)
    moves.note("acme", "cell-2", 8)
    assert path.stat().st_size == 557
    return moves


@EACH_DAMAGE
def test_at_a_start_a_damaged_record_is_an_error(path: Path, damage: str) -> None:
    two_moves(path)
    data, reason = damages(path.read_bytes())[damage]
    path.write_bytes(data)
    with pytest.raises(MoveFileError, match=reason):
        Moves(path, CELL)


def test_lines_that_somebody_else_has_written_are_an_error(path: Path) -> None:
    moves = two_moves(path)
    for own in (b"acme 9 cell-2\n", b"acme nine cell-2 1000000\n", b"acme 9 cell-2 1000000 and more\n"):
        sound = path.read_bytes()
        lines = sound[HEAD_BYTES:] + own
        head = Head(CELL, 9, 0, HEAD_BYTES + len(lines), crc32(lines))
        path.write_bytes(head.encode() + lines)
        with pytest.raises(MoveFileError, match="expected lines of a tenant, an epoch, a cell and a time"):
            Moves(path, CELL)
        assert moves.moved("acme") == 8
        assert moves.trouble is not None
        path.write_bytes(sound)


def test_a_head_that_is_being_written_over_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_moves(path)
    pread, reads = os.pread, iter([True, True])

    def torn(file: int, length: int, offset: int) -> bytes:
        data = pread(file, length, offset)
        return data.replace(b" 557 ", b" 535 ") if offset == 0 and next(reads, False) else data

    monkeypatch.setattr(os, "pread", torn)
    assert Moves(path, CELL).moved("acme") == 8


def test_another_cells_record_is_refused(path: Path) -> None:
    two_moves(path)
    with pytest.raises(MoveFileError, match="expected the record of cell cell-2, found that of cell-1"):
        Moves(path, "cell-2")


def test_no_bit_can_be_another(path: Path) -> None:
    two_moves(path)
    sound = path.read_bytes()
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with pytest.raises(MoveFileError):
            Moves(path, CELL)


@pytest.mark.parametrize("way", ["in place", "put in its place"])
@pytest.mark.parametrize("damage", [*damages(b""), "gone", "a folder"])
def test_while_it_runs_what_was_known_last_counts(
    path: Path, damage: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    moves = two_moves(path)
    sound = path.read_bytes()
    if way != "in place" or damage in {"gone", "a folder"}:
        path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "gone":
        path.write_bytes(damages(sound)[damage][0])
    for _ in range(3):
        assert moves.moved("acme") == 8
        assert moves.of("berta", 1) == MovedTo("cell-3", 7)
    assert moves.trouble is not None
    assert len([record for record in caplog.records if "what was known last counts" in record.message]) == 1
    with pytest.raises(MoveFileError):
        moves.note("globex", "cell-2", 9)
    if damage == "a folder":
        path.rmdir()
    path.write_bytes(sound)
    assert moves.moved("acme") == 8
    assert moves.trouble is None
    moves.note("globex", "cell-2", 9)
    assert set(Moves(path, CELL).away()) == {"acme", "berta", "globex"}


def test_an_older_record_that_was_put_back_is_not_believed(path: Path) -> None:
    moves = opened(path)
    empty = path.read_bytes()
    moves.note("acme", "cell-2", 8)
    for _ in range(2):
        path.write_bytes(empty)
        assert moves.moved("acme") == 8
        assert moves.trouble is not None
        assert "expected generation 1 or later, found 0" in moves.trouble
        # One that goes on from there is as new as the one that is known, and says less.
        Moves(path, CELL).note_all({"berta": ("cell-2", 9)})
        Moves(path, CELL).note_all({"carl": ("cell-2", 9)})
        assert (moves.moved("acme"), moves.moved("berta")) == (8, None)
        assert "expected epoch 8 or later for tenant acme, found less" in str(moves.trouble)


def test_what_has_been_cut_short_does_not_count_and_is_in_nobodys_way(path: Path) -> None:
    writer, reader = two_moves(path), opened(path)
    for rest in (b"carl 9 cell", b"\0" * 5000, b"carl 9 cell-2 1000000\n"):
        with path.open("ab") as file:
            file.write(rest)
        assert reader.moved("carl") == Moves(path, CELL).moved("carl") is None
        assert reader.trouble is None
    reader.note("dora", "cell-3", 9)
    assert set(writer.away()) == set(Moves(path, CELL).away()) == {"acme", "berta", "dora"}
    assert path.read_bytes().endswith(b"\ndora 9 cell-3 1000000\n")


def test_an_append_that_ends_at_any_byte_is_not_there_and_then_there(path: Path) -> None:
    reader, twin = two_moves(path), path.with_name("twin")
    before = path.read_bytes()
    shutil.copy(path, twin)
    opened(twin).note_all({"acme": ("cell-4", 9), "carl": ("cell-2", 9)})
    after = twin.read_bytes()
    for length in range(len(before), len(after) + 1):
        path.write_bytes(before + after[len(before) : length])
        for each in (reader, Moves(path, CELL)):
            assert (each.of("acme", 1), each.moved("carl")) == (MovedTo("cell-2", 8), None)
            assert each.trouble is None
    path.write_bytes(after)
    for each in (reader, Moves(path, CELL)):
        assert (each.of("acme", 1), each.moved("carl")) == (MovedTo("cell-4", 9), 9)


def test_a_file_that_is_too_large_is_not_read(path: Path) -> None:
    moves = opened(path)
    moves.note_all({f"tenant-{number}": ("cell-2", 1) for number in range(200)})
    small = MoveLimits(max_tenants=1, spare_lines=10)
    assert max_bytes(small) == HEAD_BYTES + 12 * MAX_LINE_BYTES
    with pytest.raises(MoveFileError, match=f"at most {max_bytes(small)} bytes"):
        Moves(path, CELL, limits=small)


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


def test_a_full_disk_changes_nothing(path: Path) -> None:
    clock = Clock()
    moves, other = opened(path, clock), opened(path, clock)
    moves.note("a", "cell-2", 1)
    clock.now += 8 * DAY
    moves.note("b", "cell-2", 2)
    before = path.read_bytes()
    with file_limit(len(before) + 10), pytest.raises(MoveWriteError, match="Nothing was changed") as caught:
        moves.note_all({"c": ("cell-2", 3), "d": ("cell-2", 3)})
    assert caught.value.is_undone
    assert path.read_bytes() == before
    with file_limit(HEAD_BYTES + 10), pytest.raises(MoveWriteError, match="Nothing was changed"):
        moves.forget(9)
    assert path.read_bytes() == before
    assert [each.moved("a") for each in (moves, other, Moves(path, CELL))] == [1, 1, 1]
    assert [each.moved("c") for each in (moves, other, Moves(path, CELL))] == [None, None, None]
    assert not list(path.parent.glob(".moves*"))
    assert moves.note("c", "cell-2", 3)
    assert moves.forget(9) == 1


def test_at_a_disk_that_fails_once_lines_count_it_says_that_it_does_not_know(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = two_moves(path)
    syncs = iter([False, True, False, True])

    def fsync(file: int) -> None:
        if next(syncs):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        for _ in range(2):
            with pytest.raises(MoveWriteError, match="Whether the change is kept is not known") as caught:
                moves.note("carl", "cell-2", 9)
            assert not caught.value.is_undone
    assert not moves.note("carl", "cell-2", 9)
    assert moves.moved("carl") == Moves(path, CELL).moved("carl") == 9


WRITER = """
import sys
from pathlib import Path
from cellplane.cell.moves import Moves
from cellplane.cell.settings import MoveLimits
moves = Moves(Path(sys.argv[1]), "cell-1", limits=MoveLimits(spare_lines=20), clock=lambda: 1_000_000)
print("ready", flush=True)
for number in range(int(sys.argv[2]), 1_000_000):
    moves.note_all({f"t{number % 20}": ("cell-2", number), f"u{number % 5}": ("cell-3", number)})
    print(number, flush=True)
"""


def died_at(path: Path, fault: str) -> list[int]:
    """What a writer had noted that died at a fault point."""
    environ = {**os.environ, "CELLPLANE_FAULT": fault}
    command = [sys.executable, "-c", WRITER, str(path), "1"]
    child = subprocess.run(command, env=environ, capture_output=True, check=False, timeout=60)
    assert child.returncode == -signal.SIGKILL
    return [int(line) for line in child.stdout.split()[1:]]


@pytest.mark.parametrize(
    ("fault", "last_said", "last_known"),
    [("moves-appended:3", 2, 2), ("moves-counted:3", 2, 3), ("moves-written-aside:1", 35, 35)],
)
def test_a_writer_that_dies_leaves_all_of_a_change_or_nothing(
    path: Path, fault: str, last_said: int, last_known: int
) -> None:
    reader = opened(path)
    limits = MoveLimits(spare_lines=20)
    said = died_at(path, fault)
    assert said == list(range(1, last_said + 1))
    fresh = Moves(path, CELL, limits=limits)
    assert fresh.moved(f"t{last_known % 20}") == fresh.moved(f"u{last_known % 5}") == last_known
    # Whoever comes after says again what was not kept, as far as he knows.
    number = last_said + 1
    again = {f"t{number % 20}": ("cell-2", number), f"u{number % 5}": ("cell-3", number)}
    assert fresh.note_all(again) == (2 if last_known == last_said else 0)
    for each in (reader, fresh, Moves(path, CELL)):
        assert each.moved(f"t{number % 20}") == number
        assert each.trouble is None
    assert not list(path.parent.glob(".moves*"))


def test_what_a_dead_writer_did_not_make_seen_is_seen_when_it_is_said_again(path: Path) -> None:
    reader, twin = opened(path), path.with_name("twin")
    shutil.copy(path, twin)
    opened(twin).note("acme", "cell-2", 8)
    noted = twin.read_bytes()
    with path.open("ab") as file:
        file.write(noted[HEAD_BYTES:])
    assert reader.moved("acme") is None
    looked_at = path.stat()
    with path.open("r+b") as file:
        file.write(noted[:HEAD_BYTES])
    # As when both came within a tick of the file system's clock.
    os.utime(path, ns=(looked_at.st_mtime_ns, looked_at.st_mtime_ns))
    assert reader.moved("acme") is None
    assert not opened(path).note("acme", "cell-2", 8)
    assert reader.moved("acme") == 8


def test_who_looks_between_two_writes_of_one_tick_sees_the_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, reader = two_moves(path), opened(path)
    looked_at = 0

    def look(point: str) -> None:
        nonlocal looked_at
        if point == APPENDED:
            assert reader.moved("carl") is None
            looked_at = path.stat().st_mtime_ns
        elif point == COUNTED:
            os.utime(path, ns=(looked_at, looked_at))
            assert reader.moved("carl") is None

    monkeypatch.setattr(moves_file, "fault_point", look)
    writer.note("carl", "cell-2", 9)
    assert looked_at > 0
    assert reader.moved("carl") == 9


def test_each_change_has_a_later_time_also_when_the_clock_is_set_back(path: Path) -> None:
    moves = opened(path, spare_lines=3)
    future = time.time_ns() + 3600 * 10**9
    os.utime(path, ns=(future, future))
    inodes = set()
    for epoch in range(1, 12):
        before = path.stat()
        moves.note("acme", "cell-2", epoch)
        assert path.stat().st_mtime_ns > before.st_mtime_ns
        inodes.add(path.stat().st_ino)
    assert len(inodes) > 1


def test_kill_9_loses_nothing_that_was_noted(path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    reader = opened(path, spare_lines=20)
    noted = 0
    for _ in range(12):
        command = [sys.executable, "-c", WRITER, str(path), str(noted + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            for _, line in zip(range(moments.randrange(1, 60)), writer.stdout, strict=False):
                noted = int(line)
                where = reader.of(f"t{noted % 20}", 0)
                assert isinstance(where, MovedTo)
                assert where.epoch >= noted
            time.sleep(moments.random() * 0.002)
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:
                if line.endswith("\n"):
                    noted = int(line)
        for each in (reader, Moves(path, CELL)):
            for number in range(max(1, noted - 19), noted + 1):
                where = each.of(f"t{number % 20}", 0)
                assert isinstance(where, MovedTo)
                assert number <= where.epoch <= noted + 1
            found = each.away()
            newest = [max(move.epoch for name, move in found.items() if name[0] == kind) for kind in "tu"]
            assert newest[0] == newest[1], "of one note, half is known"
        assert reader.trouble is None
    assert path.stat().st_size < HEAD_BYTES + (2 * 25 + 20) * 30
