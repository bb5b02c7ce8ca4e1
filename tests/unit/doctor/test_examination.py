"""An examination as a whole: who does not answer in time is told of, and keeps nobody waiting."""

import threading
from pathlib import Path

import pytest

from cellplane.doctor.examination import Places, examine
from cellplane.doctor.facts import Missing
from cellplane.doctor.finding import Severity
from cellplane.doctor.gather import control, folders
from cellplane.doctor.gather.folders import State
from cellplane.doctor.judging import judge
from cellplane.doctor.settings import DoctorSettings
from unit.doctor.test_gather import fleet_folder, stored

HASTY = DoctorSettings(deadline_seconds=0.5, probe_seconds=0.2)
NOBODY = Missing("nobody is asked")


def places(state: State | Missing, **more: tuple[Path, ...]) -> Places:
    return Places(control_url="http://127.0.0.1:1", client=NOBODY, state=state, **more)  # type: ignore[arg-type]


def test_a_disk_that_hangs_is_an_error_and_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fleet_folder(tmp_path / "state")
    answers = threading.Event()
    monkeypatch.setattr(folders, "disk_of", lambda _folder: answers.wait(60))
    facts = examine(places(State.find(root)), HASTY)
    answers.set()
    found = judge(facts, HASTY, ("CPD62", "CPD61"))
    assert {(each.code, each.severity) for each in found} == {
        ("CPD61", Severity.SKIPPED),
        ("CPD62", Severity.ERROR),
    }
    assert "no answer within 0.5 s" in found[-1].found


def test_without_a_control_plane_the_cells_of_the_table_on_the_disk_are_asked(tmp_path: Path) -> None:
    router = stored(tmp_path / "router", 5)
    facts = examine(places(State.find(router)), DoctorSettings(probe_seconds=0.2))
    assert all(getattr(facts, name) == NOBODY for name in control.ASKED if name != "cells")
    (cell,) = judge(facts, HASTY, ("CPD20",))
    assert cell.about == "cell-1 (127.0.0.1:8001)"
    assert cell.severity is Severity.ERROR, "nothing listens there"


def test_where_there_is_no_folder_either_that_is_the_reason(tmp_path: Path) -> None:
    gone = Missing("there is no state folder here")
    facts = examine(places(gone, keys=(tmp_path / "none",)), HASTY)
    assert facts.disks == facts.own_tables == gone
    assert facts.probes == facts.names == NOBODY
    assert facts.files == ()
    assert len(facts.unreadable_keys) == 1
