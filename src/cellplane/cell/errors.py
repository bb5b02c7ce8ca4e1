"""What the SDK raises; the project's tree is drawn in ``cellplane.errors``.

CellError
├── NoCellContextError     the code asked for its cell outside of a request
├── InvalidContextError    a message or a job says no context that can be one
├── MissingSettingsError   environment variables that a cell needs are not set
└── InvalidSettingError    one is set, to a value that cannot be used
"""

from collections.abc import Sequence

from cellplane.errors import CellplaneError


class CellError(CellplaneError):
    """An app inside a cell used the SDK wrongly, or runs outside a cell."""


class NoCellContextError(CellError):
    """The code asked for its cell outside of a request that ``CellMiddleware`` passed."""

    def __init__(self) -> None:
        super().__init__(
            "there is no cell context here: expected to run inside a request that CellMiddleware passed. "
            "Wrap the app in CellMiddleware, take the context into threads by carried() and into background work by "
            "entered(), or use current_or_none() where both are possible"
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
