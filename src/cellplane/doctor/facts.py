"""What is known of an installation when it is judged. Moments are Unix seconds, by the clock of whoever said them."""

from dataclasses import dataclass, field
from typing import TypeVar

from cellplane.model import Topology

Known = TypeVar("Known")


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that is not known, and why."""

    reason: str


class MissingFactError(Exception):
    """A check needs something that is not known; its message says why it is not."""


NOT_ASKED = Missing("nobody asked")


def known(fact: Known | Missing) -> Known:
    """A fact.

    Raises:
        MissingFactError: it is not known.
    """
    if isinstance(fact, Missing):
        raise MissingFactError(fact.reason)
    return fact


@dataclass(frozen=True, slots=True)
class Clock:
    """What a clock said.

    Attributes:
        whose: for people.
        ahead_seconds: of this machine's.
        within_seconds: how far that may be wrong.
    """

    whose: str
    ahead_seconds: float
    within_seconds: float


@dataclass(frozen=True, slots=True)
class ControlAnswer:
    """That a control plane answers at all.

    Attributes:
        status: of HTTP, for a look at its health.
        refusal: why it is not well, or does not let us read; empty where it is and does.
        clock: its clock, by its answer's `Date`.
    """

    status: int
    refusal: str = ""
    clock: Clock | None = None


@dataclass(frozen=True, slots=True)
class SigningKeyFact:
    """A key that signs tables, or its public half.

    Attributes:
        about: where it is.
        id: the key's.
        not_after: None where it has no end.
    """

    about: str
    id: str
    not_after: float | None


@dataclass(frozen=True, slots=True)
class TargetFact:
    """As ``TargetView`` of the API."""

    name: str
    epoch: int | None
    failure: str


@dataclass(frozen=True, slots=True)
class StatusFact:
    """What a control plane says of itself, as ``ControlStatus`` of the API."""

    version: str
    table_format: str
    store: str
    schema_revision: str | None
    schema_expected: str
    leads: bool
    holder: str | None
    lease_left_seconds: float | None
    signing_keys: tuple[SigningKeyFact, ...]
    targets: tuple[TargetFact, ...]
    table_check_installed: bool
    free_bytes: int
    database_now: float
    clock: Clock
    database_clock: Clock


@dataclass(frozen=True, slots=True)
class Publication:
    """A published table: its epoch, when, and the fencing token of who published it."""

    epoch: int
    at: float
    token: int


@dataclass(frozen=True, slots=True)
class PublicationsFact:
    """The newest publications, the last first; and what is held, with the reasons."""

    items: tuple[Publication, ...]
    held_epoch: int | None = None
    held_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RouterFact:
    """As ``RouterView`` of the API; ``rejected`` is the reason, None where nothing is refused."""

    id: str
    epoch: int
    age_seconds: float
    ready: bool
    behind: int
    rejected: str | None = None
    version: str = ""
    clock_offset_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class CellFact:
    """A cell, and what the control plane knows of it; None and "closed" where it knows nothing."""

    id: str
    address: str
    port: int
    status: str
    protocol: str = "http1"
    healthy: bool | None = None
    breaker: str = "closed"
    gray: bool = False
    score: float | None = None


@dataclass(frozen=True, slots=True)
class PoolNeedFact:
    """What a pool lacks, as ``PoolCapacityView`` of the API; empty texts where it lacks nothing."""

    name: str
    wants: str = ""
    kept: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class CellUseFact:
    """How full a cell says that it is, as ``CellCapacityView`` of the API; None where it says nothing."""

    cell: str
    utilisation: float | None = None
    report_age_seconds: float | None = None
    kept_open: str = ""


@dataclass(frozen=True, slots=True)
class CapacityFact:
    """How full pools and cells are."""

    pools: tuple[PoolNeedFact, ...]
    cells: tuple[CellUseFact, ...]


@dataclass(frozen=True, slots=True)
class MoveFact:
    """A move that has not ended, as ``MoveView`` of the API; ``age_seconds`` is that of its mover's last word, None
    where the control plane has not heard of it since its own start.
    """

    id: str
    tenant: str
    source: str
    target: str
    phase: str
    paused: bool
    age_seconds: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MovesFact:
    """The moves that have not ended, and ids of the tenants whose writes are held."""

    living: tuple[MoveFact, ...]
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProbeFact:
    """What a cell answered from here.

    Attributes:
        cell: its id.
        failure: why that is no good; empty where it is well.
        clock: its clock; None where it did not say.
    """

    cell: str
    failure: str
    clock: Clock | None = None


@dataclass(frozen=True, slots=True)
class TokenFact:
    """A token of the control plane, as ``TokenView`` of the API."""

    id: str
    name: str
    role: str
    subject: str | None
    state: str
    created_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class CertificateFact:
    """A certificate, by where it is or who showed it; with a reason where there is none to be had."""

    about: str
    not_before: float = 0.0
    not_after: float = 0.0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class NameFact:
    """A host name of cells.

    Attributes:
        name: the name.
        cells: whose it is.
        addresses: what it resolves to here.
        failure: why it does not.
        ttl_seconds: how long the name server lets it be remembered; None where that could not be read.
        without_ttl: why not.
    """

    name: str
    cells: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    failure: str = ""
    ttl_seconds: int | None = None
    without_ttl: str = ""


@dataclass(frozen=True, slots=True)
class FileFact:
    """A file or folder of this machine.

    Attributes:
        path: where.
        kind: ``secret``, ``trust`` (public keys), ``tables`` (a router's), or ``directory`` (the control plane's).
        mode: permissions, as of chmod(1).
    """

    path: str
    kind: str
    mode: int


@dataclass(frozen=True, slots=True)
class DiskFact:
    """A state folder's file system.

    Attributes:
        path: the folder.
        free_bytes: what is left; None where that is not known.
        sync_seconds: how long a small file took to be on the disk; None where that was not tried.
        failure: why it failed, or was not tried.
        failed: whether it failed.
    """

    path: str
    free_bytes: int | None
    sync_seconds: float | None = None
    failure: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class OwnTableFact:
    """The table on a router's disk, with which it would start.

    Attributes:
        path: its folder.
        epoch: of the table that was live last.
        failure: why it cannot be used; empty where it can.
        cells: those that it routes to.
    """

    path: str
    epoch: int
    failure: str
    cells: tuple[CellFact, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentFact:
    """What a router's agent says itself, by its metrics; with a reason where it says nothing."""

    url: str
    epoch: int = 0
    rejected: int = 0
    failures: int = 0
    failure: str = ""
    clock: Clock | None = None


@dataclass(frozen=True, slots=True)
class BackupFact:
    """A file of a backup: when it was written; with a reason where it cannot be read."""

    path: str
    at: float = 0.0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class SlotFact:
    """A replication slot of a cell's server.

    Attributes:
        name: its name.
        kept_bytes: of the log, which the server keeps for it; None where that is not known.
        is_read: whether anybody reads it.
        is_lost: whether the server gave it up, since it kept too much.
    """

    name: str
    kept_bytes: int | None
    is_read: bool
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class RemnantFact:
    """What belongs to no move that is under way, by its kind: ``slot``, ``guard`` and others."""

    kind: str
    about: str


@dataclass(frozen=True, slots=True)
class StoreFact:
    """A cell's database, as moves see it; with a reason where it could not be asked."""

    cell: str
    slots: tuple[SlotFact, ...] = ()
    remnants: tuple[RemnantFact, ...] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class FleetFact:
    """The fleet.

    Attributes:
        topology: of it.
        has_all_tenants: whether its tenants are in it; none are where there are too many.
    """

    topology: Topology
    has_all_tenants: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that is known, by who was asked."""

    now: float
    version: str
    control_url: str
    control: ControlAnswer | Missing = NOT_ASKED
    status: StatusFact | Missing = NOT_ASKED
    publications: PublicationsFact | Missing = NOT_ASKED
    routers: tuple[RouterFact, ...] | Missing = NOT_ASKED
    cells: tuple[CellFact, ...] | Missing = NOT_ASKED
    capacity: CapacityFact | Missing = NOT_ASKED
    moves: MovesFact | Missing = NOT_ASKED
    probes: tuple[ProbeFact, ...] | Missing = NOT_ASKED
    fleet: FleetFact | Missing = NOT_ASKED
    tokens: tuple[TokenFact, ...] | Missing = NOT_ASKED
    names: tuple[NameFact, ...] | Missing = NOT_ASKED
    certificates: tuple[CertificateFact, ...] | Missing = NOT_ASKED
    key_files: tuple[SigningKeyFact, ...] | Missing = NOT_ASKED
    unreadable_keys: tuple[str, ...] = field(default=())
    files: tuple[FileFact, ...] | Missing = NOT_ASKED
    disks: tuple[DiskFact, ...] | Missing = NOT_ASKED
    own_tables: tuple[OwnTableFact, ...] | Missing = NOT_ASKED
    agents: tuple[AgentFact, ...] | Missing = NOT_ASKED
    backups: tuple[BackupFact, ...] | Missing = NOT_ASKED
    stores: tuple[StoreFact, ...] | Missing = NOT_ASKED
