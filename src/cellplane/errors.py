"""The one error tree.

CellplaneError
├── ValidationError      a value breaks a rule of the model; carries the field's path
│   └── ForeignLawError  by it a tenant would be under a law that is not its own
├── PlacementError       no shard is left that keeps the rule asked for
├── TableError           a routing table is corrupt, truncated, foreign or of another version
│   └── SignatureError   nobody whom the router trusts has signed it
├── BaseNeededError      no overlay of this base can say what has changed
├── DirectoryError       the directory refuses a change or cannot be used
│   ├── NotFoundError    what was named does not exist
│   ├── ConflictError    the change contradicts what the directory holds
│   │   ├── ForeignLawConflictError  by it a tenant would be under a law that is not its own
│   │   ├── NoCellError  no cell takes the tenant; carries why, cell by cell
│   │   └── KeyReusedError  an idempotency key came before with another request
│   ├── PreconditionError   the resource is not of the version that the change is for
│   ├── DiskError        the directory's disk is full, or fails
│   ├── BusyError        others write for longer than one waits
│   ├── FencedError      another process leads: what the one before says counts no more
│   └── UnknownOutcomeError  the database was lost in a commit
├── AccessError          a caller of the control plane is refused
│   ├── UnauthenticatedError  it does not say who it is, or not so that it can be believed
│   ├── ForbiddenError   it may not do this
│   └── RateLimitedError it asks too often
├── ControlPlaneError    the control plane answered with an error
│   ├── BusyControlPlaneError  it does it later: nothing was done
│   └── UnreachableError the control plane cannot be reached
├── KeyFileError         a file of signing keys cannot be used
├── TargetError          a table could not be put where routers find it without the control plane
│   └── NewerTableError  another publisher has put a newer one there, or another of the same epoch
├── TableCheckError      the routers' own validator refuses a table, or cannot be asked
├── RouterError          Envoy or the agent cannot do what was asked
├── ProvisionError       a cell, or what it runs on, is not as needed
│   ├── CellTakenError   a cell of this id is there, and was asked for otherwise
│   └── LimitReachedError  no more cells, or no more capacity, than a limit allows
├── ScaffoldError        the files of a new service cannot be written where they should be
├── cellplane.events.analytics.AnalyticsError  events cannot be counted, or what was counted cannot be shown
└── cellplane.cell.CellError   an app inside a cell used the SDK wrongly, or outside a cell
    └── cellplane.events.EventsError  an event cannot be added, or carried out of the cell
"""

from typing import Self


class CellplaneError(Exception):
    """Root of every error that Cellplane raises on purpose; its message says what to do."""


class ValidationError(CellplaneError):
    """A value breaks a rule of the model.

    Args:
        field: path of the field, such as ``cells[2].port``.
        message: what was expected and what was found.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message

    def at(self, field: str) -> Self:
        """The same error of the field of another path."""
        return type(self)(field, self.message)


class ForeignLawError(ValidationError):
    """By this value a tenant would be under a law that is not its own."""


class PlacementError(CellplaneError):
    """No shard is left that keeps the rule asked for; the message says how many there can be."""


class TableError(CellplaneError):
    """A routing table is corrupt, truncated, foreign or of another version."""


class SignatureError(TableError):
    """Nobody whom the router trusts has signed this table."""


class BaseNeededError(CellplaneError):
    """No overlay of this base can say what has changed: compile a new base."""


class DirectoryError(CellplaneError):
    """The directory refuses a change or cannot be used."""


class NotFoundError(DirectoryError):
    """What was named does not exist in the directory."""


class ConflictError(DirectoryError):
    """The change contradicts what the directory holds."""


class ForeignLawConflictError(ConflictError):
    """By this change a tenant would be under a law that is not its own."""


class NoCellError(ConflictError):
    """No cell takes the tenant.

    Args:
        message: in one sentence, with what to do.
        cells: id of each cell that was looked at, and why it does not take the tenant.
    """

    def __init__(self, message: str, cells: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message)
        self.cells = cells


class KeyReusedError(ConflictError):
    """An idempotency key came before with another request."""


class PreconditionError(DirectoryError):
    """The resource is not of the version that the change is for; the message says which it is of."""


class DiskError(DirectoryError):
    """The directory's disk takes nothing: it is full, or it fails. Nothing was changed.

    Args:
        message: in one sentence, with what to do.
        is_full: whether it is full.
    """

    def __init__(self, message: str, *, is_full: bool) -> None:
        super().__init__(message)
        self.is_full = is_full


class BusyError(DirectoryError):
    """Others write for longer than one waits. Nothing was changed."""


class FencedError(DirectoryError):
    """Another process leads: what the one before says counts no more."""


class UnknownOutcomeError(DirectoryError):
    """The database was lost in a commit: whether it was done is not known."""


class AccessError(CellplaneError):
    """A caller of the control plane is refused."""


class UnauthenticatedError(AccessError):
    """A caller does not say who it is, or not so that it can be believed."""


class ForbiddenError(AccessError):
    """A caller may not do this."""


class RateLimitedError(AccessError):
    """A caller asks too often.

    Args:
        message: in one sentence.
        retry_after_seconds: when it may ask again.
    """

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ControlPlaneError(CellplaneError):
    """The control plane answered with an error.

    Args:
        message: in one sentence, with what to do.
        status: of HTTP; 0 where there is none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class BusyControlPlaneError(ControlPlaneError):
    """The control plane does it later: nothing was done, and the same may be asked again.

    Args:
        retry_after_seconds: when.
    """

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UnreachableError(ControlPlaneError):
    """The control plane cannot be reached."""


class KeyFileError(CellplaneError):
    """A file of signing keys cannot be used."""


class TargetError(CellplaneError):
    """A table could not be put where routers find it without the control plane."""


class NewerTableError(TargetError):
    """Another publisher has put a newer table there, or another one of the same epoch."""


class TableCheckError(CellplaneError):
    """The routers' own validator refuses a table, or cannot be asked."""


class RouterError(CellplaneError):
    """Envoy or the agent cannot do what was asked."""


class ProvisionError(CellplaneError):
    """A cell, or what it runs on (a process, a port, a folder), is not as needed."""


class CellTakenError(ProvisionError):
    """A cell of this id is there, and was asked for otherwise."""


class LimitReachedError(ProvisionError):
    """No more cells, or no more capacity, than a limit allows."""


class ScaffoldError(CellplaneError):
    """The files of a new service cannot be written where they should be."""
