"""Since which epoch a tenant is another cell's: what counts at the door and for old work, and what is refused."""

import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cellplane.cell import CellContext, CellMiddleware, Here, InvalidSettingError, MovedTo, Moves, Unknown
from cellplane.cell.errors import (
    InvalidMoveError,
    MoveError,
    MoveFileError,
    MovesBusyError,
    MovesFullError,
    MoveWriteError,
    StaleMoveError,
)
from cellplane.cell.settings import MoveLimits
from cellplane.durable import locked
from unit.cell.move_records import CELL, DAY, Clock, admits, opened
from unit.cell.test_asgi import ROUTED, App, call, problem


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cell" / "moves"


def test_a_tenant_that_was_given_away_is_refused_with_the_very_next_request(tmp_path: Path) -> None:
    moving = Moves.create(tmp_path / "moves", "cell-a")
    serving = Moves(tmp_path / "moves", "cell-a")
    app = App()
    middleware = CellMiddleware(app, "cell-a", moved=serving.moved)
    call(app, ROUTED, middleware=middleware)
    moving.note("acme", "cell-b", 8)
    document = problem(call(app, ROUTED, middleware=middleware))
    assert (document["status"], document["code"], document["epoch"]) == (421, "tenant-moved", 8)
    moving.note("acme", "cell-a", 9)
    call(app, ROUTED, middleware=middleware)
    assert app.contexts == [CellContext("cell-a", 7, "acme")] * 2


def test_every_change_is_seen_by_others_however_fast_they_follow(path: Path) -> None:
    moving, *serving = (opened(path, spare_lines=10) for _ in range(3))
    for epoch in range(10, 90):
        moving.note("acme", "cell-2", epoch)
        assert [moves.moved("acme") for moves in serving] == [epoch, epoch]


def test_work_finds_where_its_tenant_went(path: Path) -> None:
    moves = opened(path)
    assert moves.of("acme", 3) == Here()
    assert moves.note("acme", "cell-2", 10)
    assert moves.of("acme", 9) == MovedTo("cell-2", 10)
    assert moves.of("acme", 10) == Here()  # as the door says: by this table nobody is sent here in error
    assert moves.of("berta", 9) == Here()
    assert moves.note("acme", "cell-3", 12)
    assert moves.of("acme", 11) == MovedTo("cell-3", 12)
    assert moves.note("acme", CELL, 20)
    assert moves.of("acme", 3) == Here()
    assert moves.moved("acme") is None


def test_the_door_lets_in_by_the_epoch_of_the_move_and_later(path: Path) -> None:
    moves = opened(path)
    moves.note_all({"acme": ("cell-2", 10), "berta": (CELL, 10)})
    assert [admits(moves, "acme", epoch) for epoch in (1, 9, 10, 11)] == [False, False, True, True]
    assert admits(moves, "berta", 9)
    assert admits(moves, "carl", 1)
    assert moves.away() == {"acme": MovedTo("cell-2", 10)}


def test_thousands_are_noted_at_once_and_seen_at_once(path: Path) -> None:
    moving, serving = opened(path), opened(path)
    gone = {f"tenant-{number}": ("cell-2", 7) for number in range(10_000)}
    assert moving.note_all(gone) == 10_000
    assert len(serving.away()) == 10_000
    size = path.stat().st_size
    assert moving.note_all({**gone, "acme": ("cell-2", 8)}) == 1
    assert path.stat().st_size - size < 40
    assert serving.moved("acme") == 8


def test_an_epoch_never_goes_back_and_the_same_again_is_harmless(path: Path) -> None:
    moves = opened(path)
    assert moves.note("acme", "cell-2", 10)
    assert not moves.note("acme", "cell-2", 10)
    with pytest.raises(StaleMoveError, match=r"tenant acme: .* it is cell-2's by epoch 10; found epoch 9"):
        moves.note("acme", "cell-3", 9)
    with pytest.raises(StaleMoveError):
        moves.note("acme", "cell-3", 10)
    with pytest.raises(StaleMoveError):
        moves.note("acme", CELL, 10)
    assert moves.note("acme", CELL, 12)
    with pytest.raises(StaleMoveError, match=r"cell-1's by epoch 12"):
        moves.note("acme", "cell-2", 11)
    assert admits(moves, "acme", 5)


def test_where_one_of_many_is_stale_none_is_noted_and_all_that_are_have_names(path: Path) -> None:
    moves = opened(path)
    moves.note_all({"acme": ("cell-2", 10), "berta": ("cell-2", 10)})
    with pytest.raises(StaleMoveError, match=r"tenant acme \(and 1 more\)") as caught:
        moves.note_all({"carl": ("cell-2", 11), "acme": ("cell-3", 10), "berta": ("cell-2", 9)})
    assert caught.value.tenants == ("acme", "berta")
    assert moves.away() == {"acme": MovedTo("cell-2", 10), "berta": MovedTo("cell-2", 10)}


def test_nothing_is_forgotten_that_a_router_or_work_may_refer_to(path: Path) -> None:
    clock = Clock()
    moves = opened(path, clock, keep_seconds=DAY)
    moves.note("acme", "cell-2", 10)
    clock.now += DAY
    moves.note("berta", "cell-2", 11)
    assert moves.forget(99) == 0
    clock.now += 1
    assert moves.forget(9) == 0
    assert moves.forget(99, oldest_work_at=1_000_000.0) == 0
    assert moves.forget(99) == 1
    assert moves.away() == {"berta": MovedTo("cell-2", 11)}


def test_what_is_forgotten_is_refused_as_before_and_unknown(path: Path) -> None:
    clock = Clock()
    moves, other = opened(path, clock), opened(path, clock)
    moves.note_all({"acme": ("cell-2", 10), "berta": (CELL, 9), "carl": ("cell-2", 12)})
    clock.now += 8 * DAY
    assert moves.forget(10) == 2
    for each in (moves, other, opened(path, clock)):
        assert not admits(each, "acme", 9)
        assert not admits(each, "never-moved", 9)  # nobody can tell it from acme
        assert admits(each, "acme", 10)
        assert admits(each, "never-moved", 10)
        assert each.of("acme", 9) == each.of("never-moved", 9) == Unknown()
        assert each.of("never-moved", 10) == Here()
        assert each.of("carl", 9) == MovedTo("cell-2", 12)
    assert moves.forget(11) == 0


def test_a_late_note_of_what_is_forgotten_does_not_count(path: Path) -> None:
    clock = Clock()
    moves = opened(path, clock)
    moves.note_all({"acme": ("cell-2", 10)})
    clock.now += 8 * DAY
    moves.forget(10)
    for cell_id, epoch in [("cell-2", 10), ("cell-3", 9), (CELL, 10)]:
        with pytest.raises(StaleMoveError, match="moves up to epoch 10 are forgotten"):
            moves.note("acme", cell_id, epoch)
    assert moves.note("acme", CELL, 11)
    assert moves.of("acme", 3) == Here()


def test_it_is_bounded_by_refusing_never_by_forgetting(path: Path) -> None:
    moves = opened(path, max_tenants=2)
    moves.note_all({"a": ("cell-2", 1), "b": (CELL, 1)})
    with pytest.raises(MovesFullError, match="at most 2 tenants"):
        moves.note_all({"b": ("cell-2", 2), "c": ("cell-2", 2)})
    assert moves.note("b", "cell-3", 3)
    assert moves.away() == {"a": MovedTo("cell-2", 1), "b": MovedTo("cell-3", 3)}


def test_a_tenant_that_comes_and_goes_does_not_let_the_file_grow(path: Path) -> None:
    writer, reader = opened(path, spare_lines=8), opened(path, spare_lines=8)
    inodes = set()
    for epoch in range(1, 100):
        writer.note("acme", f"cell-{epoch % 2 + 1}", epoch)
        assert path.read_bytes().count(b"\n") <= 11
        assert reader.moved("acme") == (epoch if epoch % 2 else None)
        inodes.add(path.stat().st_ino)
    assert len(inodes) > 1
    assert opened(path).moved("acme") == 99


@pytest.mark.parametrize(
    ("tenant", "epoch"), [("", 1), ("a b", 1), ("a\n", 1), ("ä", 1), ("t" * 129, 1), ("a", 0), ("a", -1), ("a", 2**64)]
)
def test_what_is_no_tenant_or_no_epoch_is_refused(path: Path, tenant: str, epoch: int) -> None:
    moves = opened(path)
    with pytest.raises(InvalidMoveError, match="expected"):
        moves.note_all({"fine": ("cell-2", 1), tenant: ("cell-2", epoch)})
    with pytest.raises(InvalidSettingError):
        moves.note("a", "no cell", 1)
    assert moves.away() == {}


def test_the_longest_of_all_fits(path: Path) -> None:
    tenant, cell = "t" * 128, "c" * 128
    moves = opened(path, max_tenants=1, spare_lines=0)
    for epoch in range(2**64 - 5, 2**64):
        moves.note(tenant, cell, epoch)
    assert opened(path, max_tenants=1, spare_lines=0).of(tenant, 1) == MovedTo(cell, 2**64 - 1)


def test_at_a_start_a_record_that_is_not_there_is_an_error(path: Path) -> None:
    with pytest.raises(MoveFileError, match=r"cannot be read.*Moves\.create"):
        Moves(path, CELL)


def test_a_record_that_is_there_is_left_as_it_is(path: Path) -> None:
    opened(path).note("acme", "cell-2", 8)
    assert Moves.create(path, CELL).moved("acme") == 8
    path.write_bytes(b"")
    with pytest.raises(MoveFileError):
        Moves.create(path, CELL)
    with pytest.raises(MoveWriteError, match="cannot be written"):
        Moves.create(Path("/proc/nowhere/moves"), CELL)


def test_a_change_waits_for_another_process_but_not_for_ever(path: Path) -> None:
    moves = opened(path, lock_wait_seconds=0.05)
    with locked(path.with_name("moves.lock")) as is_held:
        assert is_held
        with pytest.raises(MovesBusyError, match=r"0\.05 s"):
            moves.note("acme", "cell-2", 8)
        assert moves.moved("acme") is None
    moves.note("acme", "cell-2", 8)


def test_all_its_errors_are_one_kind() -> None:
    kinds = [InvalidMoveError, MoveFileError, MovesBusyError, MovesFullError, MoveWriteError, StaleMoveError]
    assert all(issubclass(kind, MoveError) for kind in kinds)


MANY = """
import sys
from pathlib import Path
from cellplane.cell.moves import Moves
from cellplane.cell.settings import MoveLimits
moves = Moves(Path(sys.argv[1]), "cell-1", limits=MoveLimits(spare_lines=5, lock_wait_seconds=60))
for epoch in range(1, 21):
    moves.note_all({f"{sys.argv[2]}-{epoch}": ("cell-2", epoch), sys.argv[2]: ("cell-2", epoch)})
"""


def test_processes_and_threads_that_write_at_once_lose_nothing(path: Path) -> None:
    limits = MoveLimits(spare_lines=5, lock_wait_seconds=60)
    moves = Moves.create(path, CELL, limits=limits)
    others = [subprocess.Popen([sys.executable, "-c", MANY, str(path), f"process-{number}"]) for number in range(2)]

    def note_many(name: str) -> None:
        for epoch in range(1, 21):
            moves.note_all({f"{name}-{epoch}": ("cell-2", epoch), name: ("cell-2", epoch)})

    threads = [threading.Thread(target=note_many, args=(f"thread-{number}",)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [process.wait(120) for process in others] == [0, 0]
    names = [f"{kind}-{number}" for kind in ("process", "thread") for number in range(2)]
    expected = {f"{name}-{epoch}": MovedTo("cell-2", epoch) for name in names for epoch in range(1, 21)}
    expected |= {name: MovedTo("cell-2", 20) for name in names}
    assert moves.away() == Moves(path, CELL).away() == expected


def test_threads_that_ask_while_others_write_never_see_an_epoch_go_back(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer, reader = opened(path, spare_lines=20), opened(path, spare_lines=20)
    is_over = threading.Event()
    faults: list[str] = []

    def ask(seed: int) -> None:
        names = random.Random(seed)
        last: dict[str, int] = {}
        while not is_over.is_set():
            name = f"t{names.randrange(5)}"
            epoch = reader.moved(name) or 0
            if epoch < last.get(name, 0):
                faults.append(f"{name}: {epoch} after {last[name]}")
            last[name] = epoch

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for epoch in range(1, 200):
        writer.note(f"t{epoch % 5}", "cell-2", epoch)
        assert reader.moved(f"t{epoch % 5}") == epoch
    is_over.set()
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert not caplog.records
