"""A folder as a target: whole or not at all, fenced, bounded, and sound after a crash at any point."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cellplane.errors import NewerTableError, TargetError
from cellplane.faults import FAULT_VARIABLE
from cellplane.publishing.manifest import Manifest
from cellplane.publishing.settings import PublishingSettings
from cellplane.publishing.targets import FolderTarget, S3Target, target_of
from cellplane.routing import RoutingTable
from unit.publishing.tables import NOW, base_of, overlaid, signed

SETTINGS = PublishingSettings()


def publish(folder: Path, table: RoutingTable, *seeds: int, settings: PublishingSettings = SETTINGS) -> None:
    FolderTarget(folder, settings).publish(signed(table, *(seeds or (1,))), table)


def published(folder: Path) -> RoutingTable:
    """What a router would find: every file that the manifest names, of the bytes that it says."""
    manifest = Manifest.parse((folder / "manifest").read_bytes())
    files = [(folder / part.file_name).read_bytes() for part in manifest.statement.parts]
    table = RoutingTable.of_publication(b"".join(files))
    manifest.statement.check_describes(table)
    return table


def test_a_table_is_there_with_its_manifest(tmp_path: Path) -> None:
    for table in (base_of(3), overlaid(3, 5), overlaid(3, 6), base_of(7)):
        publish(tmp_path / "to", table)
        assert published(tmp_path / "to").tag == table.tag
    assert (tmp_path / "to" / "manifest").stat().st_mode & 0o044 == 0o044, "a web server may read it"
    assert not list((tmp_path / "to").glob(".*.new"))


def test_old_files_go_beyond_a_bound_and_never_what_counts(tmp_path: Path) -> None:
    settings = PublishingSettings(kept_bases=1, kept_overlays=2)
    for table in (base_of(1), base_of(2), base_of(3), *(overlaid(3, epoch) for epoch in range(4, 9))):
        publish(tmp_path, table, settings=settings)
        assert published(tmp_path).tag == table.tag
    names = sorted(path.name.rsplit("-", 1)[0] for path in tmp_path.glob("*.cpt"))
    assert names == ["base-3", "overlay-7", "overlay-8"]


def test_a_publisher_that_has_been_overtaken_changes_and_removes_nothing(tmp_path: Path) -> None:
    publish(tmp_path, overlaid(3, 9))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for table, reason in (
        (base_of(8), "newer than 8"),
        (overlaid(3, 9, "cell-2"), "another table of epoch 9"),
        (base_of(20, fleet="shoe"), "is of fleet 'shop'"),
    ):
        with pytest.raises(NewerTableError, match=reason):
            publish(tmp_path, table)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_same_table_may_be_signed_anew_and_is_not_written_twice(tmp_path: Path) -> None:
    publish(tmp_path, base_of(3), 1)
    first = (tmp_path / "manifest").stat().st_ino
    FolderTarget(tmp_path, SETTINGS).publish(signed(base_of(3), 1, now=NOW + 5), base_of(3))
    assert (tmp_path / "manifest").stat().st_ino == first
    publish(tmp_path, base_of(3), 1, 2)
    assert len(Manifest.parse((tmp_path / "manifest").read_bytes()).signatures) == 2


def test_what_is_no_manifest_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "manifest").write_text("mine")
    with pytest.raises(NewerTableError, match="move it away"):
        publish(tmp_path, base_of(3))
    assert (tmp_path / "manifest").read_text() == "mine"


def test_of_publishers_that_race_the_newest_wins(tmp_path: Path) -> None:
    fenced: list[int] = []

    def one(epoch: int) -> None:
        try:
            publish(tmp_path, overlaid(3, epoch))
        except NewerTableError:
            fenced.append(epoch)

    threads = [threading.Thread(target=one, args=(epoch,)) for epoch in (9, 5, 8, 6, 7, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert published(tmp_path).epoch == 9
    assert 9 not in fenced


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("publish.folder.file", 3), ("publish.folder.files", 3), ("publish.folder.manifest", 5)],
)
def test_killed_at_any_point_the_folder_has_the_old_table_or_the_new_one(
    tmp_path: Path, fault: str, expected: int
) -> None:
    publish(tmp_path, base_of(3))
    code = (
        "import sys; from pathlib import Path; from unit.publishing.test_folder_target import publish; "
        "from unit.publishing.tables import overlaid; publish(Path(sys.argv[1]), overlaid(3, 5))"
    )
    tests = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        env={**os.environ, FAULT_VARIABLE: fault, "PYTHONPATH": str(tests)},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert published(tmp_path).epoch == expected
    publish(tmp_path, overlaid(3, 5))
    assert published(tmp_path).epoch == 5, "the next publisher goes on"


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match="cannot be written"):
        publish(tmp_path / "file", base_of(3))


@pytest.mark.parametrize("broken", ["fsync", "rename"])
def test_a_disk_that_fails_leaves_the_old_table_and_takes_the_next_when_it_is_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    publish(tmp_path, base_of(3))

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os if broken == "fsync" else Path, broken, fail)
        with pytest.raises(TargetError, match="No space left"):
            publish(tmp_path, overlaid(3, 5))
    assert published(tmp_path).epoch == 3
    assert not list(tmp_path.glob(".*.new"))
    publish(tmp_path, overlaid(3, 5))
    assert published(tmp_path).epoch == 5


def test_a_target_is_named_on_the_command_line(tmp_path: Path) -> None:
    assert isinstance(target_of(str(tmp_path), SETTINGS), FolderTarget)
    assert isinstance(target_of("s3://bucket/a/b?endpoint=http://127.0.0.1:1", SETTINGS), S3Target)
    for text in ("", "http://bucket", "s3://", "s3://bucket?secret=x", "s3://user:word@bucket/"):
        with pytest.raises(TargetError, match="expected") as caught:
            target_of(text, SETTINGS)
        assert "word" not in str(caught.value)
