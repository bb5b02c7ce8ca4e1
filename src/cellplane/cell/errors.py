"""What the SDK raises; the project's tree is drawn in ``cellplane.errors``.

CellError
├── NoCellContextError     the code asked for its cell outside of a request
├── InvalidContextError    a message or a job says no context that can be one
├── MissingSettingsError   environment variables that a cell needs are not set
├── InvalidSettingError    one is set, to a value that cannot be used
├── WiringError            an engine, a repository or a message client does not lead to what is this cell's
├── InvalidManifestError   a cell's manifest does not say what is the cell's
├── ForeignDatabaseError   the database says that it is another cell's
├── DataScopeError         data is used for another tenant, or another cell, than the context says
├── RowGuardError          PostgreSQL would not keep tenants apart by its row-level security
├── IdempotencyError       an idempotency key cannot be used so
│   ├── KeyReuseError      it came before with another request
│   └── InProgressError    the first request with it is still under way
└── MappingError           the record of where tenants went cannot be used
"""

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


class MappingError(CellError):
    """The record of where tenants went cannot be used."""
