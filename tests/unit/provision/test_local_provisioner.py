"""What is asked of a local fleet, without one that does it."""

import fcntl
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.errors import CellTakenError, ProvisionError, ValidationError
from cellplane.model import Capacity
from cellplane.provision import CellRequest, InstanceState
from cellplane.provision.local.folder import FolderLock, StateFolder, read_json
from cellplane.provision.local.keeper import remove_cell
from cellplane.provision.local.provisioner import LocalProvisioner
from cellplane.provision.local.roster import Member, Roster
from cellplane.provision.local.settings import LocalSettings
from cellplane.provision.local.wishes import (
    Wish,
    forget_wish,
    read_wish,
    read_wishes,
    request_of,
    request_row,
    wishes_locked,
    write_wish,
)

CELL_4 = CellRequest("cell-4")


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    return folder


@contextmanager
def supervised(folder: StateFolder) -> Iterator[None]:
    """A folder whose supervisor is there, and does nothing."""
    lock = FolderLock(folder)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def provisioner(folder: StateFolder, timeout_seconds: float = 0.1) -> LocalProvisioner:
    return LocalProvisioner(folder, lambda _cell: None, timeout_seconds=timeout_seconds)


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
requests = st.builds(
    CellRequest,
    names,
    region=names,
    zone=st.just("") | names,
    jurisdiction=names,
    release=st.just("") | names,
    capacity=st.builds(Capacity, rps=st.none() | st.floats(1, 1e9), tenants=st.none() | st.integers(1, 10**6)),
    ask_id=st.text("abc-/ é", max_size=20),
)


@given(requests)
def test_a_request_is_read_as_it_was_written(request: CellRequest) -> None:
    assert request_of(request_row(request)) == request


def test_a_wish_stays_until_it_is_done_and_a_later_one_is_not_taken_for_it(folder: StateFolder) -> None:
    first = Wish(CELL_4, asked=1)
    second = replace(first, running=False, asked=2)
    with wishes_locked(folder):
        write_wish(folder, first)
    assert read_wishes(folder) == [first]
    with wishes_locked(folder):
        write_wish(folder, second)
    assert forget_wish(folder, first)
    assert read_wish(folder, "cell-4") == second
    assert forget_wish(folder, second)
    assert read_wishes(folder) == []


def test_what_a_killed_caller_left_half_written_is_no_wish(folder: StateFolder) -> None:
    folder.wish("cell-4").with_name(".cell-4.json.new").write_text("{")
    folder.wish("cell-4").with_name(".x.json").write_text("{")
    assert read_wishes(folder) == []


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"asked": 1, "present": true, "running": true, "request": {"id": "cell-4"}}'],
)
def test_what_is_no_wish_is_named(folder: StateFolder, content: str) -> None:
    folder.wish("cell-4").write_text(content)
    with pytest.raises(ProvisionError, match=r"cell-4\.json .*remove it"):
        read_wishes(folder)


def test_a_wish_is_for_the_cell_that_its_file_is_called_by(folder: StateFolder) -> None:
    with wishes_locked(folder):
        write_wish(folder, Wish(CELL_4))
    folder.wish("cell-4").rename(folder.wish("cell-5"))
    with pytest.raises(ProvisionError, match="is a wish for cell-4, not for cell-5"):
        read_wish(folder, "cell-5")
    row = json.loads(folder.wish("cell-5").read_text())
    row["request"]["id"] = "../cells"
    folder.wish("cell-5").write_text(json.dumps(row))
    with pytest.raises(ProvisionError, match="is no wish"):
        read_wish(folder, "cell-5")


def test_a_supervisor_never_waits_for_a_caller_and_a_caller_not_for_ever(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = Wish(CELL_4, asked=1)
    with wishes_locked(folder):
        write_wish(folder, wish)
    monkeypatch.setattr("cellplane.provision.local.wishes.WISH_LOCK_TRIES", 3)
    with folder.wishes_lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not forget_wish(folder, wish)
        with pytest.raises(ProvisionError, match="another process holds"), wishes_locked(folder):
            pass
    assert forget_wish(folder, wish)


def test_callers_at_once_each_see_what_the_others_asked(folder: StateFolder) -> None:
    def ask() -> None:
        for _ in range(20):
            with wishes_locked(folder):
                known = read_wish(folder, "cell-4")
                write_wish(folder, Wish(CELL_4, asked=1 if known is None else known.asked + 1))

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    found = read_wish(folder, "cell-4")
    assert found is not None
    assert found.asked == 80


def test_without_a_fleet_nothing_is_asked(folder: StateFolder) -> None:
    nobody = r"no local fleet runs in .*: start one with `cellplane demo`"
    with pytest.raises(ProvisionError, match=nobody):
        provisioner(folder).create(CELL_4)
    with pytest.raises(ProvisionError, match=nobody):
        provisioner(folder).stop("cell-4")
    assert read_wishes(folder) == []
    assert provisioner(folder).describe_all() == ()


def test_who_waits_too_long_is_told_so_and_the_wish_stays(folder: StateFolder) -> None:
    with supervised(folder):
        with pytest.raises(ProvisionError, match=r"cell-4 is not done in 0 s, and goes on"):
            provisioner(folder).create(CELL_4)
        found = provisioner(folder).describe("cell-4")
        assert found is not None
        assert (found.state, found.port) == (InstanceState.STARTING, 0)
        with pytest.raises(CellTakenError):
            provisioner(folder).create(replace(CELL_4, region="eu-1"))
        with pytest.raises(ProvisionError, match="not done"):
            provisioner(folder).destroy("cell-4")
        with pytest.raises(ProvisionError, match="cell-4 is being removed: wait until it is gone, then ask again"):
            provisioner(folder).create(CELL_4)
        assert provisioner(folder).describe("cell-4") is None, "it never was there"


def test_who_waits_for_a_fleet_that_ends_is_told_that_it_will_be_done(folder: StateFolder) -> None:
    lock = FolderLock(folder)
    lock.acquire()
    threading.Timer(0.2, lock.release).start()
    with pytest.raises(ProvisionError, match=r"what was asked is on record, and done when it starts again"):
        provisioner(folder, timeout_seconds=20).create(CELL_4)
    assert [wish.request for wish in read_wishes(folder)] == [CELL_4]


def test_every_wish_has_a_larger_number_than_the_one_before_whatever_the_clock_says(folder: StateFolder) -> None:
    times = iter([1_000, 500, 2_000])
    numbers = []
    with supervised(folder):
        for _ in range(3):
            asking = LocalProvisioner(folder, lambda _: None, timeout_seconds=0.01, now_ns=lambda: next(times))
            with pytest.raises(ProvisionError, match="not done"):
                asking.create(CELL_4)
            found = read_wish(folder, "cell-4")
            assert found is not None
            numbers.append(found.asked)
    assert numbers == [1_000, 1_001, 2_000]


@pytest.mark.parametrize("cell_id", ["analytics", "control", "router"])
def test_other_parts_are_no_cells(folder: StateFolder, cell_id: str) -> None:
    with pytest.raises(ValidationError, match="another part of a local fleet"):
        provisioner(folder).create(CellRequest(cell_id))


def test_a_roster_gives_each_cell_ports_of_its_own_and_takes_them_back(folder: StateFolder) -> None:
    settings = LocalSettings(state_dir=folder.root, cells=1)
    roster = Roster(settings, folder)
    roster.choose_ports()
    roster.put(Member(CELL_4))
    assert len(set(roster.ports.values())) == len(roster.ports) == 8
    before = dict(roster.ports)
    roster.put(Member(replace(CELL_4, release="r2"), running=False))
    assert roster.ports == before
    again = Roster(settings, folder)
    assert again.members == {"cell-1": Member(CellRequest("cell-1")), "cell-4": roster.members["cell-4"]}
    again.drop("cell-4")
    assert set(again.ports) == {name for name in before if not name.startswith("cell-4")}
    with pytest.raises(ProvisionError, match="began with 1 cells: use --cells 1"):
        Roster(replace(settings, cells=2), folder)


def test_a_folder_of_before_there_were_rosters_keeps_its_ports(folder: StateFolder) -> None:
    settings = LocalSettings(state_dir=folder.root, cells=2)
    Roster(settings, folder).choose_ports()
    endpoints = read_json(folder.endpoints)
    assert endpoints is not None
    del endpoints["members"]
    folder.endpoints.write_text(json.dumps(endpoints))
    assert list(Roster(settings, folder).members) == ["cell-1", "cell-2"]
    assert Roster(settings, folder).ports == endpoints["ports"]


def test_a_cell_is_removed_with_all_that_it_wrote_and_nothing_of_another(folder: StateFolder) -> None:
    for cell_id in ("cell", "cell-1"):
        (folder.cell(cell_id) / "postgres").mkdir(parents=True)
        for role in ("api", "worker", "postgres", "nats"):
            folder.log(f"{cell_id}-{role}").write_text("x")
        folder.desired(cell_id).write_text("{}")
    (folder.cell(".gone-cell") / "half").mkdir(parents=True)
    for _ in range(2):
        remove_cell(folder, "cell")
    left = sorted(path.name for path in folder.root.rglob("*") if "cell" in path.name)
    assert left == [
        "cell-1",
        *(f"cell-1-{role}.log" for role in ("api", "nats", "postgres", "worker")),
        "cell-1.json",
        "cells",
    ]


def test_a_look_at_a_fleet_that_does_not_run_says_so(folder: StateFolder) -> None:
    Roster(LocalSettings(state_dir=folder.root, cells=1), folder).choose_ports()
    (found,) = provisioner(folder).describe_all()
    assert (found.id, found.state, found.reason) == ("cell-1", InstanceState.STOPPED, "its fleet does not run")
    with supervised(folder):
        (found,) = provisioner(folder).describe_all()
        assert found.state is InstanceState.STARTING
