"""What configuration raises.

CellError
├── ConfigError        a document, or a class of settings, cannot be used
└── UnknownFlagError   the app asks for a flag that it did not declare
"""

from cellplane.cell.errors import CellError


class ConfigError(CellError):
    """A document, or a class of settings, cannot be used.

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


def not_for(cell_id: str, found: str) -> ConfigError:
    """A document is another cell's."""
    return ConfigError("cell", f"expected a document for {cell_id!r}, found one for {found[:80]!r}")
