"""What a cell's processes are told from outside, and the limits of headers, proofs and the record of moves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from cellplane.cell.errors import InvalidSettingError, MissingSettingsError

CELL_ID_VARIABLE = "CELLPLANE_CELL_ID"
DATABASE_URL_VARIABLE = "CELLPLANE_DATABASE_URL"
NATS_URL_VARIABLE = "CELLPLANE_NATS_URL"
RELEASE_VARIABLE = "CELLPLANE_RELEASE"


@dataclass(frozen=True)
class HeaderLimits:
    """Bounds of the routing headers. They are those of ``docs/table-format.md``, so they are not tunable."""

    tenant_max_bytes: int = 128
    """Bytes of ``x-tenant-id``; 128, the longest key of a routing table."""

    epoch_max_digits: int = 20
    """Digits of ``x-cell-epoch``; 20, those of the largest 64-bit epoch."""

    cell_max_bytes: int = 128
    """Bytes of a cell's own id; 128, far over any real one, so that it is safe to repeat in an answer."""

    release_max_bytes: int = 128
    """Bytes of a cell's release; 128, as of its id."""


@dataclass(frozen=True)
class MoveLimits:
    """Bounds of a cell's record of moves (``cellplane.cell.moves``), the same in all of its processes."""

    max_tenants: int = 100_000
    """Tenants of whom a move is kept; 100,000, ten times those of a large cell. At the limit a move is refused: none is
    forgotten to make room."""

    keep_seconds: float = 7 * 86_400.0
    """How long a move is kept at least, in seconds; 7 days: longer than work waits in any of the cell's queues."""

    spare_lines: int = 1_000
    """Lines that the file may have beyond two for each tenant before it is written anew; 1,000, so that a small one
    is written anew as seldom as a large one."""

    lock_wait_seconds: float = 5.0
    """How long a change waits for another process's; 5, hundreds of times what one takes."""

    lock_poll_seconds: float = 0.005
    """Time between two tries for the lock, seconds."""


@dataclass(frozen=True)
class ProofLimits:
    """When a router's proof counts (``cellplane.cell.proof``)."""

    max_age_seconds: int = 60
    """How old a proof may be; 60. So long can a request that somebody has read be sent once more. It has to be longer
    than a router holds a request back: its time-outs, and the tries that follow the first."""

    max_ahead_seconds: int = 5
    """How far a router's clock may be ahead of the cell's; 5."""

    check_file_seconds: float = 1.0
    """Time between two looks at the file of keys; 1."""

    max_file_bytes: int = 64 * 1024
    """Largest file of keys that is read, bytes."""


@dataclass(frozen=True, slots=True)
class CellSettings:
    """Which cell this is, and where its own database and queue are."""

    cell_id: str
    """This cell's id, ``CELLPLANE_CELL_ID``; no default, because a wrong guess would serve foreign tenants."""

    database_url: str = field(repr=False)
    """URL of this cell's PostgreSQL, ``CELLPLANE_DATABASE_URL``; no default. Not in repr: it holds a password."""

    nats_url: str = field(default="", repr=False)
    """URL of this cell's NATS, ``CELLPLANE_NATS_URL``; required, but for an app that says it has none, and then empty.
    Not in repr: it may hold a password."""

    release: str = ""
    """What the cell runs, ``CELLPLANE_RELEASE``; empty where nobody says."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, needs_nats: bool = True) -> Self:
        """Read the settings of this process.

        Args:
            environ: usually ``os.environ``.
            needs_nats: False for an app without a queue: ``nats_url`` may be missing then.

        Raises:
            MissingSettingsError: names all variables that are missing or empty, not only the first.
            InvalidSettingError: the cell's id, or its release, cannot be the value of a header.
        """
        names = (CELL_ID_VARIABLE, DATABASE_URL_VARIABLE, *((NATS_URL_VARIABLE,) if needs_nats else ()))
        missing = [name for name in names if not environ.get(name)]
        if missing:
            raise MissingSettingsError(missing)
        cell_id, database_url = environ[CELL_ID_VARIABLE], environ[DATABASE_URL_VARIABLE]
        check_cell_id(CELL_ID_VARIABLE, cell_id)
        release = environ.get(RELEASE_VARIABLE, "")
        if release:
            check_release(RELEASE_VARIABLE, release)
        nats_url = environ.get(NATS_URL_VARIABLE, "")
        return cls(cell_id=cell_id, database_url=database_url, nats_url=nats_url, release=release)


def is_visible(text: str, most: int) -> bool:
    """Whether this is 1 to ``most`` visible ASCII characters, without spaces."""
    return 1 <= len(text) <= most and text.isascii() and text.isprintable() and " " not in text


def check_cell_id(name: str, cell_id: str) -> None:
    """Check that a cell's id can be compared with a header: visible ASCII, without spaces.

    Raises:
        InvalidSettingError: says so under ``name``.
    """
    limit = HeaderLimits.cell_max_bytes
    if not is_visible(cell_id, limit):
        raise InvalidSettingError(
            name,
            f"expected a cell id of 1–{limit} visible ASCII characters, found {cell_id[:limit]!r}. "
            "Use the id under which the fleet knows this cell",
        )


def check_release(name: str, release: str) -> None:
    """Check that a release can stand in a header: visible ASCII, without spaces.

    Raises:
        InvalidSettingError: says so under ``name``.
    """
    limit = HeaderLimits.release_max_bytes
    if release and not is_visible(release, limit):
        raise InvalidSettingError(
            name, f"expected a release of 1–{limit} visible ASCII characters, or none; found {release[:limit]!r}"
        )
