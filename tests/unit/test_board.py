"""The board: its file, breakers, counts of all workers, and the tenants that take most of a cell's time."""

import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cellplane.router.board import LATENCY_BOUNDS_SECONDS, MAGIC, Board, BreakerState, Count, Load, TenantCounts
from unit.boards import board_of, count, note_tenant, serve, table_of

TABLE = table_of(["cell-1", "cell-2"])


def test_a_new_board_says_nothing_and_its_header_is_as_the_module_reads_it(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE, workers=3)
    assert board.cells == ("cell-1", "cell-2")
    assert not board.counts().any()
    assert list(board.tenants("cell-1")) == []
    words = np.fromfile(board.path, "<u8")
    assert words[:4].tolist() == [MAGIC, 2, 3, 2]
    assert words[4:8].tobytes() == bytes.fromhex(TABLE.sha256)
    assert len(words) == 16 + 2 * 3 + 3 * 2 * (64 + 16 * 24)
    assert stat.S_IMODE(board.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(board.path.parent.stat().st_mode) == 0o700


def test_breakers_are_the_words_that_the_module_reads(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE)
    for state, share, word in [
        (BreakerState.OPEN, 0.0, 1),
        (BreakerState.HALF_OPEN, 0.05, 2 | 500 << 16),
        (BreakerState.AVOIDED, 0.0, 3),
        (BreakerState.CLOSED, 0.0, 0),
    ]:
        board.set_breaker("cell-2", state, share)
        assert board.breaker("cell-2") == (state, share)
        assert np.fromfile(board.path, "<u8")[16:22].tolist() == [0, 0, 0, word, 0, 0]
    assert board.breaker("cell-1") == (BreakerState.CLOSED, 0.0)


def test_loads_are_read_from_the_words_that_the_module_writes(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE)
    assert board.loads() == [Load(0, None, None)] * 2
    for word, load in [
        (1 << 48 | 8_000 << 32 | 12_500, Load(1, 12.5, 0.8)),
        (65_535 << 48 | 0xFFFF << 32, Load(65_535, 0.0, None)),
        (2 << 48 | 0 << 32 | 0xFFFF_FFFF, Load(2, None, 0.0)),
    ]:
        np.memmap(board.path, "<u8", mode="r+")[16 + 3 + 2] = word
        assert board.loads() == [Load(0, None, None), load]


def test_counts_are_those_of_all_workers(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE, workers=2)
    serve(board, "cell-2", 3, errors=1)
    serve(board, "cell-2", 4, worker=1)
    # What one worker began, another may have ended: only the sum means something.
    board._counts[0, 1, Count.IN_FLIGHT] = np.uint64(2**64 - 2)
    count(board, "cell-2", Count.IN_FLIGHT, 5, worker=1)
    first, second = board.counts().tolist()
    assert not any(first)
    assert (second[Count.REQUESTS], second[Count.ERRORS], second[Count.IN_FLIGHT]) == (7, 1, 3)


def test_a_board_has_its_room_on_the_disk_from_the_beginning(tmp_path: Path) -> None:
    found = board_of(tmp_path, TABLE).path.stat()
    assert found.st_blocks * 512 >= found.st_size, "what the disk has no room for later ends the proxy (SIGBUS)"


def test_a_board_is_found_again_with_what_was_counted_on_it(tmp_path: Path) -> None:
    serve(board_of(tmp_path, TABLE), "cell-1", 5)
    again = board_of(tmp_path, TABLE)
    assert again.counts()[0][Count.REQUESTS] == 5
    assert not board_of(tmp_path, table_of(["cell-1", "cell-2"], epoch=2)).counts().any()
    assert not board_of(tmp_path, TABLE, workers=2).counts().any()
    again.forget_others()
    assert [path.name for path in again.path.parent.iterdir()] == [again.path.name]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-8],
        lambda data: data[:-3],
        lambda data: data + bytes(8),
        lambda data: bytes(len(data)),
        lambda data: data[:32] + bytes(32) + data[64:],
    ],
    ids=["empty", "short", "no words", "long", "zeros", "of another base"],
)
def test_what_a_power_cut_left_is_made_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    board = board_of(tmp_path, TABLE)
    serve(board, "cell-1", 5)
    board.path.write_bytes(damage(board.path.read_bytes()))
    again = board_of(tmp_path, TABLE)
    assert not again.counts().any()
    again.set_breaker("cell-2", BreakerState.OPEN)
    assert board_of(tmp_path, TABLE).breaker("cell-2") == (BreakerState.OPEN, 0.0)


def test_a_new_run_of_the_proxy_begins_with_nothing_under_way_and_limits_unused(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE, workers=2)
    serve(board, "cell-1", 5)
    count(board, "cell-1", Count.IN_FLIGHT, 3, worker=1)
    board.set_breaker("cell-1", BreakerState.OPEN)
    board._limits[0] = 2**63
    board.begin_run()
    counts = board.counts()[0]
    assert (counts[Count.REQUESTS], counts[Count.IN_FLIGHT]) == (5, 0)
    assert board.breaker("cell-1") == (BreakerState.OPEN, 0.0)
    assert np.fromfile(board.path, "<u8")[16:20].tolist() == [1, 0, 0, 0]


def test_tenants_of_several_workers_are_one_and_what_changes_hands_is_left_out(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE, workers=2)
    note_tenant(board, "cell-1", 0, "acme", requests=3, errors=1, busy_us=1_500_000)
    note_tenant(board, "cell-1", 5, "x" * 128, requests=1, errors=0, busy_us=1)
    note_tenant(board, "cell-1", 9, "acme", requests=4, errors=0, busy_us=500_000, worker=1)
    note_tenant(board, "cell-1", 15, "half-written", requests=4, errors=0, busy_us=500_000, worker=1)
    board._tenants[1, 0, 15, 0] = 7
    found = {tenant.tenant: tenant for tenant in board.tenants("cell-1")}
    assert found == {
        "acme": TenantCounts("acme", 7, 1, 2.0),
        "x" * 128: TenantCounts("x" * 128, 1, 0, 1e-6),
    }
    assert list(board.tenants("cell-2")) == []


def test_bounds_are_those_of_the_modules_buckets() -> None:
    assert LATENCY_BOUNDS_SECONDS[:4] == (512e-6, 768e-6, 1024e-6, 1536e-6)
    assert len(LATENCY_BOUNDS_SECONDS) == 31
    # Bucket 31 begins at 2²⁴ µs.
    assert LATENCY_BOUNDS_SECONDS[-1] == pytest.approx(2**24 * 1e-6)


def test_a_cell_that_the_board_does_not_have_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        board_of(tmp_path, TABLE).set_breaker("cell-9", BreakerState.OPEN)


def test_a_board_that_is_another_is_refused(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE)
    with pytest.raises(ValueError, match="this table's base"):
        Board(board.path, "0" * 64, board.cells, 1)
