"""Each check of `cellplane doctor`, where all is well and where it is not."""

from dataclasses import replace
from typing import Any

import pytest

from cellplane.doctor.checks import CHECKS
from cellplane.doctor.checks.expiry import ends_soon
from cellplane.doctor.checks.files import mode_hit
from cellplane.doctor.checks.routers import lag_seconds
from cellplane.doctor.facts import (
    AgentFact,
    BackupFact,
    CapacityFact,
    CellUseFact,
    CertificateFact,
    ControlAnswer,
    DiskFact,
    FileFact,
    FleetFact,
    Missing,
    MovesFact,
    NameFact,
    OwnTableFact,
    PoolNeedFact,
    ProbeFact,
    Publication,
    PublicationsFact,
    RemnantFact,
    SigningKeyFact,
    SlotFact,
    StoreFact,
    TargetFact,
)
from cellplane.doctor.finding import Severity
from cellplane.doctor.judging import judge, worst
from cellplane.doctor.settings import DoctorSettings
from cellplane.model import CellStatus, Pool, Rule
from unit.doctor.well import CELLS, DAY, GIB, MOVE, NOW, ROUTER, TOKEN, TOPOLOGY, WELL, WRONG, found, only, with_status

ERROR, WARNING, OK, SKIPPED = Severity.ERROR, Severity.WARNING, Severity.OK, Severity.SKIPPED


def test_where_all_is_well_every_check_says_so() -> None:
    findings = judge(WELL, DoctorSettings())
    assert [each.code for each in findings] == [check.code for check in CHECKS]
    assert {each.severity for each in findings} == {OK}, [each for each in findings if each.severity is not OK]
    assert worst(findings) is OK
    assert all(each.remedy == "" for each in findings)


def test_where_nothing_is_known_every_check_is_skipped_and_only_the_silence_is_an_error() -> None:
    nothing: dict[str, Any] = {
        name: Missing("gone")
        for name in (
            *(
                "control",
                "status",
                "publications",
                "routers",
                "cells",
                "probes",
                "fleet",
                "tokens",
                "names",
                "capacity",
                "moves",
            ),
            *("certificates", "key_files", "files", "disks", "own_tables", "agents", "backups", "stores"),
        )
    }
    findings = judge(replace(WELL, **nothing), DoctorSettings())
    assert [each.code for each in findings] == [check.code for check in CHECKS]
    assert [each.code for each in findings if each.severity is not SKIPPED] == ["CPD01"]
    assert worst(findings) is ERROR


FLAPPING = PublicationsFact(tuple(Publication(20 - n, NOW - 60 * n, 9 - n) for n in range(5)))
POOL = TOPOLOGY.pools[0]


def cells_of(**statuses: CellStatus) -> FleetFact:
    cells = tuple(replace(cell, status=statuses.get(cell.id.replace("-", "_"), cell.status)) for cell in TOPOLOGY.cells)
    return FleetFact(replace(TOPOLOGY, cells=cells), has_all_tenants=True)


LOCKED = CellStatus.LOCKED
ALL_LOCKED = cells_of(cell_1=LOCKED, cell_2=LOCKED)
OVERFLOWING = FleetFact(
    replace(
        ALL_LOCKED.topology,
        cells=(*ALL_LOCKED.topology.cells, replace(TOPOLOGY.cells[0], id="cell-3")),
        pools=(replace(POOL, overflow="more"), Pool("more", ("cell-3",))),
    ),
    has_all_tenants=True,
)
NEVER_MATCHES = replace(
    TOPOLOGY,
    fleet=replace(
        TOPOLOGY.fleet, rules=(Rule("all", "default", id_pattern="*"), Rule("none", "default", tiers=("x",)))
    ),
)


def with_pool(**changed: str) -> dict[str, Any]:
    return {"capacity": CapacityFact((PoolNeedFact("default", **changed),), (CellUseFact("cell-1", 0.4, 3.0),))}


def with_use(**changed: Any) -> dict[str, Any]:
    return {"capacity": CapacityFact((), (CellUseFact("cell-1", **{"utilisation": 0.95, **changed}),))}


def with_move(*waiting: str, **changed: Any) -> MovesFact:
    return MovesFact((replace(MOVE, **changed),), waiting)


CASES: list[tuple[str, dict[str, Any], Severity, str]] = [
    ("CPD01", {"control": Missing("no control plane answers")}, ERROR, "no control plane answers"),
    ("CPD01", {"control": ControlAnswer(503, "no database")}, ERROR, "503: no database"),
    ("CPD01", {"control": ControlAnswer(200, refusal="expired (401)")}, ERROR, "expired (401)"),
    ("CPD02", {"status": with_status(holder=None)}, ERROR, "ever led"),
    ("CPD02", {"status": with_status(lease_left_seconds=-40.0)}, ERROR, "over since 40 s"),
    ("CPD02", {"status": with_status(lease_left_seconds=None, leads=False)}, ERROR, "does not lead"),
    ("CPD02", {"publications": FLAPPING}, WARNING, "5 leaders"),
    ("CPD03", {"publications": PublicationsFact(())}, ERROR, "nothing is published"),
    (
        "CPD03",
        {"publications": PublicationsFact((Publication(20, NOW, 1),), 21, ("900 of 1,000 would move",))},
        WARNING,
        "900 of 1,000 would move",
    ),
    ("CPD04", {"backups": (BackupFact("old", NOW - 9 * DAY),)}, WARNING, "9.0 days old"),
    ("CPD20", {"cells": (replace(CELLS[0], healthy=False), CELLS[1])}, ERROR, "from here it answers: look at the net"),
    (
        "CPD20",
        {"cells": (replace(CELLS[0], healthy=False),), "probes": (ProbeFact("cell-1", "it does not answer"),)},
        ERROR,
        "no router reaches it; from here it does not answer",
    ),
    (
        "CPD20",
        {"cells": (replace(CELLS[0], healthy=None),), "probes": (ProbeFact("cell-1", "it does not answer"),)},
        ERROR,
        "no router has said",
    ),
    ("CPD21", {"cells": (replace(CELLS[0], breaker="open", score=12.0),)}, WARNING, "breaker is open; its score is 12"),
    ("CPD21", {"cells": (replace(CELLS[0], gray=True),)}, WARNING, "worse than its peers"),
    ("CPD22", {"fleet": ALL_LOCKED}, ERROR, "new tenants find no cell"),
    ("CPD22", {"fleet": OVERFLOWING}, WARNING, "new tenants go to 'more'"),
    (
        "CPD22",
        {"fleet": cells_of(cell_1=CellStatus.MAINTENANCE, cell_2=CellStatus.MAINTENANCE)},
        ERROR,
        "none of its 2 cells serves",
    ),
    (
        "CPD23",
        with_pool(wants="5% is left", kept="no provisioner"),
        WARNING,
        "one more cell: 5% is left; no provisioner",
    ),
    ("CPD23", with_pool(wants="5% is left", failure="no quota"), WARNING, "was not made: no quota"),
    ("CPD23", with_use(kept_open="uses 95%, and is the last"), WARNING, "uses 95%, and is the last"),
    ("CPD23", with_use(utilisation=None, report_age_seconds=900.0), WARNING, "not said for 900 s"),
    (
        "CPD24",
        {"stores": (StoreFact("cell-1", (), (RemnantFact("slot", "cell-1: slot cellplane_m9 of move m9"),)),)},
        ERROR,
        "cellplane_m9 of move m9, and none such is under way: it fills the disk",
    ),
    (
        "CPD24",
        {"stores": (StoreFact("cell-1", (), (RemnantFact("guard", "cell-1: guard of acme of move m9"),)),)},
        WARNING,
        "guard of acme of move m9",
    ),
    (
        "CPD25",
        {"stores": (StoreFact("cell-1", (SlotFact("audit", 3 * GIB, is_read=False),)),)},
        WARNING,
        "the slot audit keeps 3.0 GiB of the log: nobody reads it",
    ),
    (
        "CPD25",
        {"stores": (StoreFact("cell-1", (SlotFact("cellplane_m1", 9 * GIB, is_read=True),)),)},
        ERROR,
        "who reads it does not keep up",
    ),
    (
        "CPD25",
        {"stores": (StoreFact("cell-1", (SlotFact("cellplane_m1", None, is_read=False, is_lost=True),)),)},
        ERROR,
        "the slot cellplane_m1 kept more than max_slot_wal_keep_size, and its server gave it up",
    ),
    ("CPD30", {"routers": ()}, WARNING, "no router has reported"),
    ("CPD30", {"routers": (replace(ROUTER, age_seconds=20),)}, WARNING, "silent for 20 s"),
    ("CPD30", {"routers": (replace(ROUTER, age_seconds=200),)}, ERROR, "silent for 200 s"),
    ("CPD30", {"routers": (replace(ROUTER, ready=False),)}, WARNING, "not ready"),
    ("CPD31", {"routers": (replace(ROUTER, epoch=18, behind=2),)}, ERROR, "2 behind what is published, since 120 s"),
    ("CPD31", {"routers": (replace(ROUTER, epoch=25, behind=-5),)}, ERROR, "5 ahead of what is published"),
    ("CPD32", {"routers": (replace(ROUTER, rejected="no trusted key"),)}, ERROR, "no trusted key"),
    ("CPD33", {"agents": (AgentFact("http://a", failure="its metrics cannot be read"),)}, ERROR, "cannot be read"),
    ("CPD33", {"agents": (AgentFact("http://a", epoch=3, rejected=2),)}, WARNING, "runs epoch 3, published is 20; 2"),
    ("CPD34", {"own_tables": (OwnTableFact("tables", 20, "checksum"),)}, ERROR, "checksum"),
    ("CPD40", {"status": with_status(signing_keys=())}, WARNING, "not signed"),
    (
        "CPD40",
        {"status": with_status(signing_keys=(SigningKeyFact("the control plane", "k1", NOW - 1),))},
        ERROR,
        "all keys of the control plane have expired",
    ),
    ("CPD41", {"status": with_status(targets=(TargetFact("/srv", 19, "no space"),))}, ERROR, "no space"),
    (
        "CPD41",
        {"status": with_status(targets=(TargetFact("/srv", 19, ""),))},
        ERROR,
        "epoch 20 is published since 60 s",
    ),
    ("CPD42", {"status": with_status(table_check_installed=False)}, WARNING, "without a check"),
    ("CPD50", {"key_files": (SigningKeyFact("eu.pem", "k2", NOW - DAY),)}, ERROR, "counts no more"),
    ("CPD50", {"key_files": (SigningKeyFact("eu.pem", "k2", NOW + 9 * DAY),)}, WARNING, "in 9.0 days"),
    ("CPD50", {"unreadable_keys": ("eu.pem: line 3",)}, ERROR, "line 3"),
    ("CPD51", {"tokens": (replace(TOKEN, state="expired", expires_at=NOW - DAY),)}, ERROR, "no other is for the same"),
    ("CPD51", {"tokens": (replace(TOKEN, expires_at=NOW + DAY),)}, WARNING, "in 1.0 days"),
    ("CPD52", {"certificates": (CertificateFact("c", NOW - 90 * DAY, NOW - DAY),)}, ERROR, "has expired"),
    ("CPD52", {"certificates": (CertificateFact("c", NOW + DAY, NOW + 90 * DAY),)}, ERROR, "not yet"),
    ("CPD52", {"certificates": (CertificateFact("c", NOW - 85 * DAY, NOW + 5 * DAY),)}, WARNING, "in 5.0 days"),
    ("CPD52", {"certificates": (CertificateFact("c", failure="refused"),)}, ERROR, "refused"),
    ("CPD60", {"files": (FileFact("admin-token", "secret", 0o644),)}, ERROR, "mode is 0644"),
    ("CPD61", {"disks": (DiskFact("control", GIB // 2),)}, WARNING, "512 MiB are free"),
    ("CPD61", {"status": with_status(free_bytes=1024 * 1024)}, ERROR, "1 MiB are free"),
    ("CPD62", {"disks": (DiskFact("control", GIB, None, "no space left", failed=True),)}, ERROR, "no space left"),
    ("CPD62", {"disks": (DiskFact("nfs", None, failure="no answer within 30 s", failed=True),)}, ERROR, "no answer"),
    ("CPD62", {"disks": (DiskFact("control", GIB, 3.0),)}, WARNING, "took 3.0 s"),
    ("CPD70", {"names": (NameFact("a.example", ("cell-1",), failure="not known"),)}, ERROR, "does not resolve"),
    ("CPD71", {"names": (NameFact("a.example", ("cell-1",), ("1.2.3.4",), ttl_seconds=3600),)}, WARNING, "3600 s"),
    ("CPD80", {"version": "0.9"}, WARNING, "release 0.9, the control plane 1.0"),
    ("CPD80", {"routers": (replace(ROUTER, version="0.8"),)}, WARNING, "release 0.8, the control plane 1.0"),
    ("CPD80", {"status": with_status(table_format="2.0")}, WARNING, "publishes 2.0"),
    ("CPD81", {"status": with_status(schema_revision="0005")}, ERROR, "0005, this control plane is made for 0004"),
    ("CPD90", {"fleet": FleetFact(NEVER_MATCHES, has_all_tenants=True)}, ERROR, "never matches"),
    ("CPD95", {"moves": MovesFact((), ("acme",))}, WARNING, "no move of it is under way"),
    ("CPD95", {"moves": with_move(age_seconds=90.0)}, WARNING, "copied) is silent for 90 s"),
    ("CPD95", {"moves": with_move(age_seconds=None)}, WARNING, "has said nothing"),
    ("CPD95", {"moves": with_move(phase="flipped", reason="1 rows differ")}, WARNING, "barred: 1 rows differ"),
    ("CPD95", {"moves": with_move("acme", age_seconds=90.0)}, ERROR, "and the tenant's writes wait"),
    ("CPD95", {"moves": with_move("acme", age_seconds=90.0, paused=True)}, ERROR, "and the tenant's writes wait"),
]


@pytest.mark.parametrize(("code", "changed", "severity", "says"), CASES, ids=[f"{each[0]}-{each[3]}" for each in CASES])
def test_what_is_wrong_is_found_and_has_a_remedy(
    code: str, changed: dict[str, Any], severity: Severity, says: str
) -> None:
    finding = only(code, **changed)
    assert finding.severity is severity
    assert says in finding.found
    assert finding.remedy


def test_every_check_is_tried_both_ways() -> None:
    # Clocks have tests of their own.
    assert {case[0] for case in CASES} | {"CPD10"} == {check.code for check in CHECKS}
    assert len({check.code for check in CHECKS}) == len(CHECKS)


def test_a_mover_that_is_to_pause_may_be_silent() -> None:
    assert only("CPD95", moves=with_move(age_seconds=None, paused=True)).severity is OK
    assert only("CPD95", moves=with_move("acme")).severity is OK


SKIPS: list[tuple[str, dict[str, Any], str]] = [
    ("CPD04", {"backups": ()}, "--backup FILE"),
    ("CPD20", {"cells": (replace(CELLS[0], status="maintenance"),)}, "no cell serves"),
    ("CPD24", {"stores": ()}, "no cell's database is known here: --state of a local fleet"),
    ("CPD25", {"stores": (StoreFact("cell-1", failure="it is down"),)}, "cell-1: it is down"),
    ("CPD21", {"cells": (replace(CELLS[0], score=None),)}, "no router has judged"),
    ("CPD31", {"routers": ()}, "no router has reported"),
    ("CPD32", {"routers": ()}, "no router has reported"),
    ("CPD33", {"agents": ()}, "--router"),
    ("CPD34", {"own_tables": ()}, "--state"),
    ("CPD41", {"status": with_status(targets=())}, "--publish-to"),
    ("CPD41", {"status": with_status(leads=False)}, "ask that of one:8081:7"),
    ("CPD50", {"status": with_status(signing_keys=()), "key_files": ()}, "--key"),
    ("CPD51", {"tokens": Missing("needs tokens:manage (403)")}, "tokens:manage"),
    ("CPD52", {"certificates": ()}, "--certificate"),
    ("CPD60", {"files": ()}, "--state"),
    ("CPD61", {"disks": (), "status": Missing("older release")}, "--state"),
    ("CPD62", {"disks": ()}, "--state"),
    ("CPD62", {"disks": (DiskFact("control", GIB, None, "you may not write there"),)}, "may not write"),
    ("CPD70", {"names": ()}, "addresses"),
    ("CPD71", {"names": (NameFact("a.example", ("c",), ("1.2.3.4",), without_ttl="no server"),)}, "no server"),
]


@pytest.mark.parametrize(("code", "changed", "says"), SKIPS, ids=[f"{each[0]}-{each[2]}" for each in SKIPS])
def test_what_cannot_be_checked_is_skipped_with_the_reason(code: str, changed: dict[str, Any], says: str) -> None:
    finding = only(code, **changed)
    assert finding.severity is SKIPPED
    assert says in finding.found
    assert finding.remedy == ""


def test_a_cell_that_routers_reach_and_this_machine_does_not_is_fine_and_told() -> None:
    finding = only("CPD20", probes=(ProbeFact("cell-1", "it does not answer"), ProbeFact("cell-2", "")))
    assert finding.severity is OK
    assert "not from here, which may be meant: cell-1" in finding.found


def test_a_cell_in_maintenance_may_be_down() -> None:
    cells = (replace(CELLS[0], status="maintenance", healthy=False), CELLS[1])
    assert only("CPD20", cells=cells).severity is OK


def test_a_router_that_does_not_run_what_came_just_now_is_no_laggard() -> None:
    publications = PublicationsFact((Publication(21, NOW - 1, 1), Publication(20, NOW - 500, 1)))
    assert only("CPD31", routers=(replace(ROUTER, behind=1),), publications=publications).severity is OK


def test_nor_is_its_agent() -> None:
    publications = PublicationsFact((Publication(21, NOW - 1, 1), Publication(20, NOW - 500, 1)))
    assert only("CPD33", publications=publications).severity is OK


def test_what_waits_only_the_one_that_leads_can_say() -> None:
    finding = only("CPD03", status=with_status(leads=False))
    assert finding.severity is OK
    assert "one:8081:7 alone can say" in finding.found


@pytest.mark.parametrize(("epoch", "seconds"), [(20, 0.0), (19, 5.0), (18, 50.0), (2, 50.0)])
def test_a_lag_counts_from_the_first_table_that_a_router_has_not_taken(epoch: int, seconds: float) -> None:
    publications = (Publication(20, 95.0, 1), Publication(19, 50.0, 1))
    assert lag_seconds(epoch, publications, 100.0) == seconds


def test_a_target_has_as_long_for_a_new_table_as_routers_have() -> None:
    publications = PublicationsFact((Publication(21, NOW - 1, 1),))
    assert only("CPD41", publications=publications).severity is OK


def test_copies_of_one_key_are_one_finding() -> None:
    ends = NOW - DAY
    files = tuple(SigningKeyFact(path, "k2", ends) for path in ("eu.pem", "eu.pem.pub"))
    assert "(eu.pem, eu.pem.pub)" in only("CPD50", key_files=files).about


def test_a_key_without_an_end_is_none_that_ends() -> None:
    assert only("CPD50", key_files=(SigningKeyFact("eu.pem", "k2", None),)).severity is OK


def test_an_expired_token_that_was_renewed_or_is_a_persons_is_nobodys_business() -> None:
    gone = replace(TOKEN, id="t0", state="expired", expires_at=NOW - DAY)
    assert only("CPD51", tokens=(gone, TOKEN)).severity is OK
    assert only("CPD51", tokens=(replace(gone, name="ada", role="operator", subject=None),)).severity is OK


def test_a_token_that_ends_and_has_an_heir_is_no_warning() -> None:
    heir = replace(TOKEN, id="t2", expires_at=NOW + 80 * DAY)
    assert only("CPD51", tokens=(replace(TOKEN, expires_at=NOW + DAY), heir)).severity is OK


@pytest.mark.parametrize(
    ("begin", "end", "is_soon"),
    [
        (None, NOW + 13 * DAY, True),
        (None, NOW + 15 * DAY, False),
        (NOW - 80 * DAY, NOW + 13 * DAY, True),
        (NOW - DAY / 2, NOW + DAY / 2, False),
        (NOW - 0.9 * DAY, NOW + 0.1 * DAY, True),
    ],
)
def test_what_lives_for_a_day_is_not_always_about_to_end(begin: float | None, end: float, is_soon: bool) -> None:
    assert ends_soon(begin, end, NOW, 14, 0.2) is is_soon


@pytest.mark.parametrize(
    ("kind", "mode", "severity"),
    [
        ("secret", 0o600, None),
        ("secret", 0o400, None),
        ("secret", 0o640, ERROR),
        ("secret", 0o604, ERROR),
        ("trust", 0o644, None),
        ("trust", 0o666, ERROR),
        ("tables", 0o700, None),
        ("tables", 0o755, WARNING),
        ("tables", 0o770, ERROR),
        ("directory", 0o600, None),
        ("directory", 0o644, WARNING),
        ("directory", 0o662, ERROR),
    ],
)
def test_who_may_do_what_with_a_file(kind: str, mode: int, severity: Severity | None) -> None:
    hit = mode_hit("file", kind, mode)
    assert (None if hit is None else hit.severity) is severity


def test_more_findings_than_can_be_read_are_counted_and_the_worst_come_first() -> None:
    routers = tuple(replace(ROUTER, id=f"r-{n}", age_seconds=200 if n == 39 else 20) for n in range(40))
    findings = found("CPD30", routers=routers, settings=DoctorSettings(max_findings=3))
    assert [each.severity for each in findings] == [ERROR, WARNING, WARNING, WARNING]
    assert findings[-1].found == "and 37 more"


def test_only_what_is_asked_for_is_judged() -> None:
    assert {each.code for each in judge(WELL, DoctorSettings(), ("CPD10", "CPD90"))} == {"CPD10", "CPD90"}


def test_advice_of_lint_is_named_and_not_a_warning() -> None:
    finding = only("CPD90")
    assert finding.severity is OK
    assert "CP204" in finding.found
    assert only("CPD90", fleet=FleetFact(TOPOLOGY, has_all_tenants=False)).found.count("without its tenants") == 1


def test_what_is_known_before_something_is_missing_counts() -> None:
    findings = found("CPD50", status=Missing("gone"), key_files=(), unreadable_keys=("eu.pem: none",))
    assert [each.severity for each in findings] == [ERROR]
    assert {each.severity for each in findings} <= WRONG


def test_a_fleet_whose_cells_never_say_how_full_they_are_is_not_judged_by_it() -> None:
    silent = CapacityFact((PoolNeedFact("default"),), (CellUseFact("cell-1"),))
    assert only("CPD23", capacity=silent).severity is SKIPPED


def test_a_cell_that_names_no_limits_is_no_worry() -> None:
    uses = (CellUseFact("cell-1", None, 3.0), CellUseFact("cell-2", 0.3, 3.0))
    assert only("CPD23", capacity=CapacityFact((), uses)).severity is OK
