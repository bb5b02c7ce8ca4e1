"""A tenant's folder goes from one cell to another while it is written, and back; it is never half there."""

import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cellplane.moves.carriers.carrier import Load, Way
from cellplane.moves.carriers.files import FolderPrefix
from cellplane.moves.carriers.prefix import Blob, Found, PrefixCarrier
from cellplane.moves.errors import (
    MoveError,
    NotEmptyError,
    NotInTimeError,
    NotMovableError,
    NotTheSameError,
    StoreError,
)
from cellplane.moves.settings import CarrierSettings
from support.depth import examples

OLD_SECONDS = 1_000_000_000


class Cells:
    """A root at each of two cells."""

    def __init__(self, folder: Path) -> None:
        self.source, self.target = folder / "cell-1", folder / "cell-2"
        for root in (self.source, self.target):
            root.mkdir()

    def carrier(
        self, tenant: str = "acme", monotonic: Callable[[], float] = lambda: 0.0, move: str = "m1", **settings: object
    ) -> PrefixCarrier[FolderPrefix]:
        limits = CarrierSettings(**settings)  # type: ignore[arg-type]
        ends = [FolderPrefix(root, tenant, limits) for root in (self.source, self.target)]
        return PrefixCarrier("files", move, ends[0], ends[1], limits, monotonic=monotonic)


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    return Cells(tmp_path)


def put(path: Path, text: str, *, at: int | None = OLD_SECONDS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if at is not None:
        os.utime(path, (at, at))


def tree(folder: Path) -> dict[str, str | None]:
    """What lies below a folder: text by name, None for folders."""
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else None for path in folder.rglob("*")}


def told(_: int) -> None:
    """Nobody listens."""


def test_a_folder_goes_over_in_rounds_and_only_what_was_changed_goes_again(cells: Cells) -> None:
    mine = cells.source / "acme"
    put(mine / "a.txt", "a")
    put(mine / "deep" / "er" / "b.txt", "b")
    (mine / "empty").mkdir()
    put(cells.source / "globex" / "c.txt", "another's")
    (mine / "a.txt").chmod(0o640)
    carrier = cells.carrier()
    assert carrier.estimate().bytes == 2
    carrier.prepare()
    assert carrier.copy(Way.THERE, told).bytes == 2
    assert carrier.copy(Way.THERE, told) == Load(0, 0)
    carrier.compare()
    put(mine / "a.txt", "A", at=OLD_SECONDS + 1)
    shutil.rmtree(mine / "deep")
    put(mine / "deep", "now a file")
    carrier.finish(Way.THERE, 5)
    assert tree(cells.target / "acme") == {"a.txt": "A", "deep": "now a file", "empty": None}
    assert (cells.target / "acme" / "a.txt").stat().st_mode & 0o777 == 0o640
    assert not (cells.target / "globex").exists()
    carrier.hand_over(Way.THERE, 7)
    carrier.clean(Way.THERE, 7)
    carrier.clean(Way.THERE, 7)
    assert tree(cells.source) == {"acme": None, "globex": None, "globex/c.txt": "another's"}
    assert sorted(each.name for each in cells.target.iterdir()) == ["acme"], "no mark is left"


def test_what_was_written_at_the_target_comes_back(cells: Cells) -> None:
    put(cells.source / "acme" / "a.txt", "a")
    put(cells.source / "acme" / "b.txt", "b")
    carrier = cells.carrier()
    carrier.prepare()
    carrier.finish(Way.THERE, 5)
    put(cells.target / "acme" / "c.txt", "c")
    (cells.target / "acme" / "b.txt").unlink()
    carrier.copy(Way.BACK, told)
    carrier.finish(Way.BACK, 5)
    assert tree(cells.source / "acme") == {"a.txt": "a", "c.txt": "c"}
    carrier.clean(Way.BACK, 9)
    assert tree(cells.target) == {"acme": None}
    assert tree(cells.source) == {"acme": None, "acme/a.txt": "a", "acme/c.txt": "c"}


def test_a_file_that_is_written_again_within_a_tick_of_its_clock_is_carried(cells: Cells) -> None:
    path = cells.source / "acme" / "a.txt"
    put(path, "one", at=None)
    found = path.stat()
    carrier = cells.carrier()
    carrier.prepare()
    carrier.copy(Way.THERE, told)
    path.write_text("two")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    carrier.finish(Way.THERE, 5)
    assert tree(cells.target / "acme") == {"a.txt": "two"}


def test_a_copy_that_was_spoiled_is_found_by_its_content_and_mended(cells: Cells) -> None:
    put(cells.source / "acme" / "a.txt", "one")
    carrier = cells.carrier()
    carrier.prepare()
    carrier.copy(Way.THERE, told)
    put(cells.target / "acme" / "a.txt", "two")
    assert carrier.copy(Way.THERE, told) == Load(0, 0), "by time and size it is the same"
    carrier.compare()
    assert tree(cells.target / "acme") == {"a.txt": "one"}


def test_a_copy_that_differs_again_and_again_ends_the_move(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cells.source / "acme" / "a.txt", "one")
    carrier = cells.carrier()
    carrier.prepare()
    carrier.copy(Way.THERE, told)
    monkeypatch.setattr(FolderPrefix, "is_same", lambda *_: False)
    with pytest.raises(NotTheSameError, match=r"1 differ .* such as a.txt"):
        carrier.compare()
    put(cells.source / "acme" / "a.txt", "two!", at=OLD_SECONDS + 1)
    with pytest.raises(NotTheSameError, match=r"a.txt differs"):
        carrier.finish(Way.THERE, 5)


def test_a_target_that_has_files_of_the_tenant_or_of_another_move_is_left_alone(cells: Cells) -> None:
    put(cells.target / "acme" / "old.txt", "whose?")
    with pytest.raises(NotEmptyError, match=r"has old.txt already"):
        cells.carrier().prepare()
    cells.carrier().clean(Way.BACK, 1)
    assert tree(cells.target / "acme") == {"old.txt": "whose?"}, "a move that prepared nothing cleans nothing"
    (cells.target / "acme" / "old.txt").unlink()
    cells.carrier().prepare()
    with pytest.raises(MoveError, match="marked by the move m1"):
        cells.carrier(move="m2").prepare()
    with pytest.raises(MoveError, match="not marked by this move"):
        cells.carrier(move="m2").copy(Way.THERE, told)


def test_an_aborted_move_leaves_the_source_as_it_is_and_nothing_at_the_target(cells: Cells) -> None:
    put(cells.source / "acme" / "a.txt", "a")
    carrier = cells.carrier()
    carrier.prepare()
    carrier.copy(Way.THERE, told)
    carrier.clean(Way.BACK, 3)
    assert tree(cells.source) == {"acme": None, "acme/a.txt": "a"}
    assert tree(cells.target) == {"acme": None}


def test_what_cannot_be_carried_is_refused_with_advice(cells: Cells) -> None:
    (cells.source / "acme").mkdir()
    (cells.source / "acme" / "link").symlink_to("/etc/passwd")
    with pytest.raises(NotMovableError, match="take it away"):
        cells.carrier().prepare()
    for tenant in ("a/b", "..", ""):
        with pytest.raises(NotMovableError, match="no name of one"):
            cells.carrier(tenant)
    put(cells.source / "globex" / "a", "a")
    put(cells.source / "globex" / "b", "b")
    with pytest.raises(MoveError, match="more than 1 things"):
        cells.carrier("globex", things_max=1).prepare()


def test_a_root_that_is_not_mounted_is_no_empty_one(cells: Cells) -> None:
    put(cells.source / "acme" / "a.txt", "a")
    carrier = cells.carrier()
    carrier.prepare()
    carrier.copy(Way.THERE, told)
    shutil.rmtree(cells.source)
    with pytest.raises(StoreError, match="mount its disk"):
        carrier.copy(Way.THERE, told)
    assert tree(cells.target / "acme") == {"a.txt": "a"}


def test_what_takes_longer_than_writes_may_wait_is_given_up(cells: Cells) -> None:
    for number in range(50):
        put(cells.source / "acme" / f"{number}.txt", "x")
    ticks = iter(range(1_000_000))
    carrier = cells.carrier(monotonic=lambda: float(next(ticks)))
    carrier.prepare()
    with pytest.raises(NotInTimeError, match="they go on"):
        carrier.finish(Way.THERE, 5)


def test_a_copy_that_nobody_wants_any_more_ends_in_the_middle_of_a_file(
    cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for name in ("large", "small"):
        put(cells.source / "acme" / name, "x" * 100)
    fetch = FolderPrefix.fetch
    is_told = threading.Event()

    def slow(self: FolderPrefix, other: FolderPrefix, theirs: Blob, go_on: Callable[[], None]) -> Found:
        if theirs.key == "small":
            return fetch(self, other, theirs, go_on)

        def go_on_slowly() -> None:
            asked.append(theirs.key)
            assert is_told.wait(60)
            go_on()

        return fetch(self, other, theirs, go_on_slowly)

    def unwanted(_: int) -> None:
        threading.Timer(0.05, is_told.set).start()
        raise MoveError("nobody wants it")

    carrier = cells.carrier()
    carrier.prepare()
    monkeypatch.setattr(FolderPrefix, "fetch", slow)
    with pytest.raises(MoveError, match="nobody wants it"):
        carrier.copy(Way.THERE, unwanted)
    assert asked == ["large"]
    assert sorted(tree(cells.target / "acme")) == ["small"], "what is not whole is not there"


KILLED = """
import sys
from pathlib import Path
from cellplane.moves.carriers.carrier import Way
from cellplane.moves.carriers.files import FolderPrefix
from cellplane.moves.carriers.prefix import PrefixCarrier
from cellplane.moves.settings import CarrierSettings
settings = CarrierSettings(threads=2, page=3)
ends = [FolderPrefix(Path(sys.argv[1]) / cell, "acme", settings) for cell in ("cell-1", "cell-2")]
carrier = PrefixCarrier("files", "m1", *ends, settings)
if sys.argv[2] == "copy":
    carrier.copy(Way.THERE, lambda _: None)
else:
    carrier.clean(Way.THERE, 7)
"""


@pytest.mark.parametrize("seed", range(examples(1)))
def test_killed_at_any_point_it_goes_on_and_the_copy_is_whole(cells: Cells, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    mine = cells.source / "acme"
    for number in range(30):
        put(mine / f"{number % 4}" / f"{number}.txt", rng.choice("abc") * rng.randrange(1, 100_000))
    expected = tree(mine)
    cells.carrier().prepare()

    def killed(work: str, point: str) -> None:
        fault = f"{point}:{rng.randint(1, 5)}"
        command = [sys.executable, "-c", KILLED, str(tmp_path), work]
        ended = subprocess.run(command, env={"CELLPLANE_FAULT": fault}, timeout=60, check=False)
        print(f"seed {seed}: {work} {fault}: {ended.returncode}")
        assert ended.returncode == -9

    for _ in range(3):
        killed("copy", "move.blob.copied")
        there = tree(cells.target / "acme") if (cells.target / "acme").exists() else {}
        assert there.items() <= expected.items(), "a file is there whole or not at all"
    cells.carrier().finish(Way.THERE, 5)
    assert tree(cells.target / "acme") == expected
    killed("clean", "move.blobs.deleted")
    cells.carrier().clean(Way.THERE, 7)
    assert tree(cells.source) == {"acme": None}
    assert tree(cells.target) == {"acme": None, **{f"acme/{key}": text for key, text in expected.items()}}
