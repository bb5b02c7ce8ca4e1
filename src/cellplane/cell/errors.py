"""What the SDK raises; the project's tree is drawn in ``cellplane.errors``.

CellError
├── NoCellContextError     the code asked for its cell outside of a request
├── InvalidContextError    a message or a job says no context that can be one
├── MissingSettingsError   environment variables that a cell needs are not set
├── InvalidSettingError    one is set, to a value that cannot be used
├── MoveError              the record of the tenants that moved refuses a change, or cannot be used
│   ├── MoveFileError      its file is missing, damaged, another cell's or an older one
│   ├── MoveWriteError     the disk does not take a change
│   ├── InvalidMoveError   what was to be noted names no tenant, or no epoch
│   ├── StaleMoveError     something newer is known of a tenant
│   ├── MovesFullError     it holds as many tenants as it may
│   └── MovesBusyError     another process writes it for longer than one waits
├── ProofKeysError         the file of keys of proofs cannot be used
├── MessagingError         work cannot be passed on by a queue, or not so
│   ├── ForeignSubjectError    a subject or topic is another cell's, or no cell's
│   ├── InvalidMessageError    a message cannot be sent as it is
│   ├── BrokerUnavailableError the broker does not answer in time, or refuses
│   ├── NotNowError            a handler says that its message has to wait
│   └── DeliveryFailedError    a handler says that it failed, in a way that was foreseen
├── WiringError            an engine, a repository or a message client does not lead to what is this cell's
├── InvalidManifestError   a cell's manifest does not say what is the cell's
├── ForeignDatabaseError   the database says that it is another cell's
├── DataScopeError         data is used for another tenant, or another cell, than the context says
├── RowGuardError          PostgreSQL would not keep tenants apart by its row-level security
├── IdempotencyError       an idempotency key cannot be used so
│   ├── KeyReuseError      it came before with another request
│   └── InProgressError    the first request with it is still under way
├── ConfigError            a document, or a class of settings, cannot be used
├── UnknownFlagError       the app asks for a flag that it did not declare
└── UnreachableAppError    nobody answers where the app should be
"""

import os
from collections.abc import Sequence

from cellplane.errors import CellplaneError


class CellError(CellplaneError):
    """An app inside a cell used the SDK wrongly, or runs outside a cell."""


class NoCellContextError(CellError):
    """The code asked for its cell outside of a request that ``CellMiddleware`` passed.

    Args:
        instead: what else may be done here.
    """

    def __init__(self, instead: str = "use current_or_none() where both are possible") -> None:
        super().__init__(
            "there is no cell context here: expected to run inside a request that CellMiddleware passed. "
            "Wrap the app in CellMiddleware, take the context into threads by carried() and into background work by "
            f"entered(), or {instead}"
        )


class InvalidContextError(CellError):
    """A message or a job does not say for whom it is.

    Args:
        name: of the header.
        found: its value; empty where it is missing.
        expected: what it can be.
    """

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(
            f"{name}: expected {expected}, found {found[:40]!r}. Send what CellContext.to_headers() gives with the work"
        )
        self.name = name


class MissingSettingsError(CellError):
    """Environment variables that a cell needs are not set.

    Args:
        names: every missing variable, in the order of their documentation.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"expected {', '.join(names)} in the environment, found nothing. "
            "Whatever starts the cell sets them; by hand, export them before the start"
        )
        self.names = tuple(names)


class InvalidSettingError(CellError):
    """A setting has a value that cannot be used.

    Args:
        name: of the variable or the argument.
        message: what was expected, what was found, what to do.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


class MoveError(CellError):
    """The record of the tenants that moved refuses a change, or cannot be used."""


class MoveFileError(MoveError):
    """The record's file is missing, damaged, another cell's or an older one.

    Args:
        path: of the file.
        reason: what was expected and what was found.
    """

    def __init__(self, path: os.PathLike[str], reason: str) -> None:
        super().__init__(
            f"{path}: {reason}. Without its record a cell would let in tenants that it gave away: bring the file back, "
            "or, for a new cell, make it by Moves.create()"
        )
        self.path = path
        self.reason = reason


class MoveWriteError(MoveError):
    """The disk does not take a change.

    Args:
        path: of the file.
        reason: what happened.
        is_undone: whether it is certain that nothing was changed.
    """

    def __init__(self, path: os.PathLike[str], reason: str, *, is_undone: bool) -> None:
        outcome = "Nothing was changed" if is_undone else "Whether the change is kept is not known"
        super().__init__(
            f"{path}: it cannot be written: {reason}. {outcome}: make room, or mend the disk, and say it again"
        )
        self.path = path
        self.is_undone = is_undone


class InvalidMoveError(MoveError):
    """What was to be noted names no tenant, or no epoch; nothing was changed."""


class StaleMoveError(MoveError):
    """What is said of tenants is older than what is known, or contradicts it; nothing was changed.

    Args:
        tenants: of whom.
        known: what is known of the first of them, such as "cell-2 by epoch 8".
        found: epoch of what was said of it.
    """

    def __init__(self, tenants: Sequence[str], known: str, found: int) -> None:
        others = f" (and {len(tenants) - 1} more)" if len(tenants) > 1 else ""
        super().__init__(
            f"tenant {tenants[0]}{others}: expected an epoch after what is known, {known}; found epoch {found}. "
            "An epoch never goes back: publish the change, and say it with the epoch of that"
        )
        self.tenants = tuple(tenants)


class MovesFullError(MoveError):
    """The record holds as many tenants as it may; nothing was changed.

    Args:
        path: of the record.
        most: tenants.
    """

    def __init__(self, path: os.PathLike[str], most: int) -> None:
        super().__init__(
            f"{path}: expected moves of at most {most} tenants, found more; none is forgotten while work may refer to "
            "it. Forget what is done, or raise MoveLimits.max_tenants in all processes of the cell"
        )


class MovesBusyError(MoveError):
    """Another process writes the record for longer than one waits; nothing was changed.

    Args:
        path: of the record.
        waited_seconds: how long.
    """

    def __init__(self, path: os.PathLike[str], waited_seconds: float) -> None:
        super().__init__(
            f"{path}: another process has held its lock for {waited_seconds:g} s. Nothing was changed: try again, and "
            "look for a process of this cell that hangs"
        )


class ProofKeysError(CellError):
    """The file of the keys of proofs cannot be used.

    Args:
        path: of the file.
        reason: what was expected and what was found; never a secret.
    """

    def __init__(self, path: os.PathLike[str], reason: str) -> None:
        super().__init__(f"{path}: {reason}. Give the cell the file that its routers have as --proof-keys")
        self.path = path


class MessagingError(CellError):
    """Work cannot be passed on by a queue, or not so."""


class ForeignSubjectError(MessagingError):
    """A subject or topic is another cell's, or no cell's.

    Args:
        subject: as it was given.
        cell_id: of this cell.
    """

    def __init__(self, subject: str, cell_id: str) -> None:
        super().__init__(
            f"expected a subject of this cell, such as orders.{cell_id}; found {subject[:80]!r}. Cells do not speak to "
            "each other: build the subject by CellSubjects.own(), and reach other cells' tenants through a router"
        )
        self.subject = subject


class InvalidMessageError(MessagingError):
    """A message cannot be sent as it is; the message says what to change."""


class BrokerUnavailableError(MessagingError):
    """The broker does not answer in time, or refuses; whether a message was stored is not known.

    Args:
        broker: host and port, without credentials.
        reason: what happened.
    """

    def __init__(self, broker: str, reason: str) -> None:
        super().__init__(
            f"{broker}: {reason}. The connection is made again by itself; try again, with the same message_id "
            "where a repetition would do harm"
        )
        self.broker = broker


class NotNowError(MessagingError):
    """For handlers to raise: nothing is wrong with the message, but what its work needs is away, such as a database.

    Args:
        reason: what is away, for the log.
    """


class DeliveryFailedError(MessagingError):
    """For handlers to raise: this delivery failed in a way that was foreseen, such as by a provider that takes nothing.

    It counts as a delivery, as any other error does, but is told in one line, without where it was raised.

    Args:
        reason: what happened, for the log and the dead letter.
        for_good: whether no other delivery can help, so that the message is a dead letter at once.
    """

    def __init__(self, reason: str, *, for_good: bool = False) -> None:
        super().__init__(reason)
        self.for_good = for_good


class WiringError(CellError):
    """Something of the app does not lead to what is this cell's, or nobody can tell where it leads.

    Args:
        cell_id: of this cell.
        faults: one sentence for each thing that is wrong, with its name.
    """

    def __init__(self, cell_id: str, faults: Sequence[str]) -> None:
        super().__init__(f"{cell_id} must not start, its wiring is wrong: " + "; ".join(faults))
        self.faults = tuple(faults)


class InvalidManifestError(CellError):
    """A cell's manifest does not say what is the cell's."""


class ForeignDatabaseError(CellError):
    """The database says that it is another cell's.

    Args:
        cell_id: of this cell.
        owner: the cell whose it is.
    """

    def __init__(self, cell_id: str, owner: str) -> None:
        super().__init__(
            f"expected the database of {cell_id}, found that of {owner}: the address is right, or a proxy's, and leads "
            f"to another cell. Correct the database's URL, or what the proxy makes of its name"
        )
        self.owner = owner


class DataScopeError(CellError):
    """Data is used for another tenant, or another cell, than the context says."""


class RowGuardError(CellError):
    """PostgreSQL would not keep tenants apart by its row-level security.

    Args:
        faults: one sentence for each reason, with what to do.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("row-level security does not hold here: " + "; ".join(faults))
        self.faults = tuple(faults)


class IdempotencyError(CellError):
    """An idempotency key cannot be used so."""


class KeyReuseError(IdempotencyError):
    """An idempotency key came before with another request."""


class InProgressError(IdempotencyError):
    """The first request with this key is still under way; ask again later."""


class ConfigError(CellError):
    """A document of configuration, or a class of settings, cannot be used.

    Args:
        where: in it, such as ``layers.cell.fanout_batch``; empty for all of it.
        message: what was expected, what was found.
    """

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class UnknownFlagError(CellError):
    """The app asks for a flag that it did not declare: a typo would be off for ever."""

    def __init__(self, name: str, declared: tuple[str, ...]) -> None:
        super().__init__(
            f"no flag {name[:80]!r} is declared here, but {', '.join(declared) or 'none'}. "
            "Name it in LiveConfig(flags=…), or mend the name"
        )
        self.name = name


class UnreachableAppError(CellError):
    """Nobody answers where the app should be."""
