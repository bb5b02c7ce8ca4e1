"""What a cell of a local fleet does wrong while its health check is green: a file that its app looks at."""

from dataclasses import asdict, dataclass

from cellplane.provision.local.folder import StateFolder, read_json, write_json


@dataclass(frozen=True, slots=True)
class GrayFaults:
    """The content of the file; ``notifications.faulty`` reads it.

    Attributes:
        slow_share: share of the requests that are answered late, 0 to 1.
        delay_seconds: how late.
        error_share: share of the requests that are answered with 500, 0 to 1.
    """

    slow_share: float = 0.0
    delay_seconds: float = 0.0
    error_share: float = 0.0

    def __str__(self) -> str:
        late = f"{self.slow_share * 100:g}% of its requests are answered {self.delay_seconds:g} s late"
        failed = f"{self.error_share * 100:g}% {'' if self.slow_share else 'of its requests '}with an error"
        return ", ".join([*([late] if self.slow_share else []), *([failed] if self.error_share else [])])


def read_faults(folder: StateFolder, cell_id: str) -> GrayFaults:
    """What this cell was told to do wrong."""
    return GrayFaults(**(read_json(folder.faults(cell_id)) or {}))


def write_faults(folder: StateFolder, cell_id: str, faults: GrayFaults) -> None:
    """Tell it."""
    write_json(folder.faults(cell_id), asdict(faults))


def clear_faults(folder: StateFolder, cell_id: str) -> None:
    """Let it do everything right again."""
    folder.faults(cell_id).unlink(missing_ok=True)
