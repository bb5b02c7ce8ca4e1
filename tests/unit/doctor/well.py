"""An installation with which nothing is wrong, for tests that make one thing wrong."""

from dataclasses import replace
from typing import Any

from cellplane.doctor.facts import (
    AgentFact,
    BackupFact,
    CapacityFact,
    CellFact,
    CellUseFact,
    CertificateFact,
    Clock,
    ControlAnswer,
    DiskFact,
    Facts,
    FileFact,
    FleetFact,
    MoveFact,
    MovesFact,
    NameFact,
    OwnTableFact,
    PoolNeedFact,
    ProbeFact,
    Publication,
    PublicationsFact,
    RouterFact,
    SigningKeyFact,
    SlotFact,
    StatusFact,
    StoreFact,
    TargetFact,
    TokenFact,
)
from cellplane.doctor.finding import Finding, Severity
from cellplane.doctor.judging import judge
from cellplane.doctor.settings import DoctorSettings
from cellplane.model import Cell, Fleet, KeySource, Pool, Topology

NOW = 1_800_000_000.0
DAY = 86_400.0
GIB = 1024**3

STATUS = StatusFact(
    version="1.0",
    table_format="1.0",
    store="postgresql",
    schema_revision="0004",
    schema_expected="0004",
    leads=True,
    holder="one:8081:7",
    lease_left_seconds=4.0,
    signing_keys=(SigningKeyFact("the control plane", "k1", NOW + 200 * DAY),),
    targets=(TargetFact("/srv/tables", 20, ""),),
    table_check_installed=True,
    free_bytes=50 * GIB,
    database_now=NOW,
    clock=Clock("the control plane", 0.1, 0.1),
    database_clock=Clock("the control plane's database", 0.1, 0.1),
)

CELLS = (
    CellFact("cell-1", "10.0.0.1", 8001, "active", healthy=True, score=100.0),
    CellFact("cell-2", "two.example.com", 8001, "locked", healthy=True, score=99.0),
)

ROUTER = RouterFact("router-1", 20, 0.5, ready=True, behind=0, version="1.0", clock_offset_seconds=0.2)
TOKEN = TokenFact("t1", "router-1", "router", "router-1", "live", NOW - 10 * DAY, NOW + 80 * DAY)

MOVE = MoveFact("m1", "acme", "cell-1", "cell-2", "copied", paused=False, age_seconds=0.7)

TOPOLOGY = Topology(
    Fleet("shop", (KeySource.trusted_header("x-tenant-id"),)),
    (Cell("cell-1", "10.0.0.1", 8001), Cell("cell-2", "two.example.com", 8001)),
    (Pool("default", ("cell-1", "cell-2")),),
)

WELL = Facts(
    now=NOW,
    version="1.0",
    control_url="http://control:8081",
    control=ControlAnswer(200),
    status=STATUS,
    publications=PublicationsFact((Publication(20, NOW - 60, 1), Publication(19, NOW - 120, 1))),
    routers=(ROUTER,),
    cells=CELLS,
    capacity=CapacityFact(
        (PoolNeedFact("default"),), (CellUseFact("cell-1", 0.4, 3.0), CellUseFact("cell-2", 0.71, 3.0))
    ),
    moves=MovesFact((MOVE,), ()),
    probes=(ProbeFact("cell-1", "", Clock("cell cell-1", 0.4, 1.0)), ProbeFact("cell-2", "")),
    fleet=FleetFact(TOPOLOGY, has_all_tenants=True),
    tokens=(TOKEN,),
    names=(NameFact("two.example.com", ("cell-2",), ("10.0.0.2",), ttl_seconds=30),),
    certificates=(CertificateFact("control:8081", NOW - 10 * DAY, NOW + 80 * DAY),),
    key_files=(SigningKeyFact("keys/eu.pem", "k1", NOW + 200 * DAY),),
    files=(
        FileFact("admin-token", "secret", 0o600),
        FileFact("eu.pem.pub", "trust", 0o644),
        FileFact("tables", "tables", 0o700),
        FileFact("directory.sqlite3", "directory", 0o600),
    ),
    disks=(DiskFact("control", 50 * GIB, 0.01),),
    own_tables=(OwnTableFact("router/tables", 20, ""),),
    agents=(AgentFact("http://127.0.0.1:9901", epoch=20, clock=Clock("the agent", 0.3, 1.0)),),
    backups=(BackupFact("newest", NOW - DAY / 2),),
    stores=(StoreFact("cell-1", (SlotFact("cellplane_m1", 10_000, is_read=True),)), StoreFact("cell-2")),
)


def found(code: str, /, *, settings: DoctorSettings | None = None, **changed: Any) -> tuple[Finding, ...]:
    """What a check finds where these facts are otherwise."""
    return judge(replace(WELL, **changed), settings or DoctorSettings(), (code,))


def only(code: str, /, **changed: Any) -> Finding:
    """The one thing that it finds."""
    (finding,) = found(code, **changed)
    return finding


def with_status(**changed: Any) -> StatusFact:
    return replace(STATUS, **changed)


WRONG = {Severity.WARNING, Severity.ERROR}
