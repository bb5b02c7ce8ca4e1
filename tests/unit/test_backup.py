"""Backups: of one moment, whole or refused, into either kind of database, with epochs that no router has seen."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner

from cellplane.cli.commands import cli
from cellplane.directory.audit import AuditEntry, AuditFilter
from cellplane.directory.backup import EPOCH_GAP, back_up, restore
from cellplane.directory.snapshot import TenantFilter
from cellplane.errors import ConflictError, DirectoryError
from cellplane.model import Cell, Fleet, Policy, Pool, QuarantinePolicy, Tenant
from cellplane.placement.quarantine import Asked
from support.directory import Directory

CALL = AuditEntry("ann", "admin", "127.0.0.1", "PUT", "/v1/fleet", 403, "", at=datetime(2026, 1, 1, tzinfo=UTC))


def fill(directory: Directory, tenants: int = 30) -> None:
    fleet = Fleet("shop", quarantine=QuarantinePolicy(cells=("cell-3",)))
    cells = [Cell(f"cell-{n}", "127.0.0.1", n) for n in (1, 2, 3)]
    directory.apply([fleet, *cells, Pool("default", ("cell-1", "cell-2"))], actor="ann")
    directory.apply([Tenant(f"t-{n}", ("cell-1",), policy=Policy(rps=n % 9 + 1)) for n in range(tenants)], actor="ann")
    directory.delete_tenant("t-0", actor="bob")
    directory.quarantine(Asked("t-1", "it fails"), actor="bob")
    directory.access.note([CALL], {})


def state(directory: Directory) -> list[object]:
    with directory.snapshot() as snapshot:
        return [
            snapshot.outline,
            list(snapshot.all_tenants()),
            snapshot.quarantines(),
            snapshot.holdings(["cell-1", "cell-2", "cell-3"]),
            snapshot.versions("cell", ["cell-1", "cell-2", "cell-3"]),
            list(snapshot.entries()),
        ]


@pytest.fixture
def full(location: Path | str) -> Directory:
    directory = Directory(location)
    fill(directory)
    return directory


def test_a_directory_comes_back_in_either_kind_of_database(
    full: Directory, location: Path | str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = tmp_path / "backup"
    taken = back_up(location, file)
    assert taken.epoch == full.epoch()
    expected, log = state(full), full.changes(limit=100)
    other = tmp_path / "other.sqlite3"
    targets: list[Path | str] = [other]
    if isinstance(location, Path):
        targets.append(request.getfixturevalue("database_url"))
    for target in targets:
        found, epoch = restore(target, file)
        assert found == taken
        assert epoch == taken.epoch + EPOCH_GAP + 1
        again = Directory(target)
        assert state(again) == expected
        assert again.changes(limit=100)[:-1] == log
        assert again.epoch() == epoch
        assert again.changes(limit=1, after=taken.epoch)[0].action == "restore"
        assert again.put_tenant(Tenant("new"), actor="test") == epoch + 1
        with again.past(taken.epoch) as past:
            assert past.outline == expected[0]
        again.access.note([CALL], {})
        assert [call.id for call in again.access.calls(AuditFilter(), limit=9)] == [2, 1]
        again.close()
    full.close()


def test_epochs_go_on_where_it_is_said(full: Directory, location: Path | str, tmp_path: Path) -> None:
    file, target = tmp_path / "backup", tmp_path / "other.sqlite3"
    taken = back_up(location, file)
    full.close()
    with pytest.raises(ConflictError, match=rf"the backup is of epoch {taken.epoch}"):
        restore(target, file, after_epoch=taken.epoch - 1)
    assert restore(target, file, after_epoch=500)[1] == 501


def test_a_directory_that_is_not_empty_is_not_touched(full: Directory, location: Path | str, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    back_up(location, file)
    before = state(full)
    with pytest.raises(ConflictError, match="is not empty"):
        restore(location, file)
    assert state(full) == before
    full.close()


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def without_a_row(data: bytes) -> bytes:
    text = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return zstandard.ZstdCompressor().compress(text.replace(b'"t-5"', b'"t-x"', 1))


def without_its_end(data: bytes) -> bytes:
    text = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return zstandard.ZstdCompressor().compress(text[: text.rstrip(b"\n").rindex(b"\n") + 1])


@pytest.mark.parametrize("damage", [cut, without_a_row, without_its_end, lambda _: b"", lambda _: b"hello"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    source, file, target = tmp_path / "a.sqlite3", tmp_path / "backup", tmp_path / "b.sqlite3"
    directory = Directory(source)
    fill(directory)
    directory.close()
    back_up(source, file)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DirectoryError, match=str(file)):
        restore(target, file)
    empty = Directory(target)
    assert empty.epoch() == 0
    empty.close()


def test_a_backup_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    source, file = tmp_path / "a.sqlite3", tmp_path / "backup"
    Directory(source).close()
    back_up(source, file)
    text = zstandard.ZstdDecompressor().decompressobj().decompress(file.read_bytes())
    header, rest = text.split(b"\n", 1)
    header = json.dumps({**json.loads(header), "revision": "9999"}).encode()
    file.write_bytes(zstandard.ZstdCompressor().compress(header + b"\n" + rest))
    with pytest.raises(DirectoryError, match="schema 9999 is of a newer release"):
        restore(tmp_path / "b.sqlite3", file)


def test_a_backup_is_taken_while_others_write(tmp_path: Path) -> None:
    source, file = tmp_path / "a.sqlite3", tmp_path / "backup"
    directory = Directory(source)
    fill(directory, tenants=3_000)
    during: list[int] = []

    def write(_rows: int) -> None:
        during.append(directory.put_tenant(Tenant(f"late-{len(during)}"), actor="test"))

    taken = back_up(source, file, write)
    assert len(during) > 3
    assert taken.epoch < during[0], "what was changed meanwhile is not in it"
    restore(tmp_path / "b.sqlite3", file)
    again = Directory(tmp_path / "b.sqlite3")
    with again.snapshot() as snapshot:
        assert snapshot.tenants(limit=10, wanted=TenantFilter(prefix="late-")).items == ()
    again.close()
    directory.close()


def test_a_restore_that_is_killed_leaves_an_empty_directory(tmp_path: Path) -> None:
    source, file, target = tmp_path / "a.sqlite3", tmp_path / "backup", tmp_path / "b.sqlite3"
    directory = Directory(source)
    fill(directory, tenants=3_000)
    directory.close()
    back_up(source, file)
    code = (
        "import os, signal, sys; from pathlib import Path; from cellplane.directory.backup import restore\n"
        "restore(Path(sys.argv[1]), Path(sys.argv[2]),"
        " progress=lambda rows: os.kill(os.getpid(), signal.SIGKILL) if rows > 2_000 else None)"
    )
    killed = subprocess.run([sys.executable, "-c", code, target, file], check=False, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    restore(target, file)
    again = Directory(target)
    assert sum(1 for _ in again.entries()) == 2_999
    again.close()


def test_backup_and_restore_are_commands(tmp_path: Path) -> None:
    source, file, target = tmp_path / "a.sqlite3", tmp_path / "backup", tmp_path / "b.sqlite3"
    directory = Directory(source)
    fill(directory)
    epoch = directory.epoch()
    directory.close()
    taken = CliRunner().invoke(cli, ["backup", str(file), "--directory", str(source)])
    assert taken.exit_code == 0, taken.output
    assert taken.output.startswith(f"{file}: epoch {epoch} of ")
    done = CliRunner().invoke(cli, ["restore", str(file), "--directory", str(target), "--json", "--after-epoch", "99"])
    assert json.loads(done.output)["epoch"] == 100
    again = CliRunner().invoke(cli, ["restore", str(file), "--directory", str(target)])
    assert again.exit_code == 1
    nothing = CliRunner().invoke(cli, ["backup", str(file), "--directory", str(tmp_path / "none")])
    assert nothing.exit_code == 1
    assert "there is no directory at" in nothing.output
    assert not (tmp_path / "none").exists()
