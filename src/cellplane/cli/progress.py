"""Shows a fleet come up, a line a part; on a terminal the lines move, elsewhere they are printed once."""

import threading
from collections.abc import Sequence
from types import TracebackType

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

_LABELS = {"control": "control plane", "router": "router (Envoy and agent)"}


def _label(part: str) -> str:
    return _LABELS.get(part, f"{part} (PostgreSQL, NATS, API, worker)")


class FleetProgress:
    """An observer of a local fleet's supervisor. Safe to call from several threads."""

    def __init__(self) -> None:
        self._console = Console()
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}
        self._bars: Progress | None = None
        if self._console.is_terminal:
            self._bars = Progress(
                SpinnerColumn(finished_text="[green]✓"),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=self._console,
            )

    def __enter__(self) -> "FleetProgress":
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def finish(self) -> None:
        """Leave the lines as they are; what follows is printed below."""
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
                self._bars = None

    def starting(self, part: str) -> None:
        """See Observer."""
        with self._lock:
            if self._bars is not None:
                self._tasks[part] = self._bars.add_task(_label(part), total=1)

    def up(self, part: str, seconds: float) -> None:
        """See Observer."""
        with self._lock:
            if self._bars is not None:
                self._bars.update(self._tasks[part], completed=1)
            else:
                click.echo(f"{_label(part)}: up after {seconds:.1f} s")

    def died(self, part: str, roles: Sequence[str], *, restarts: bool) -> None:
        """See Observer."""
        follow = "starting it again" if restarts else f"`cellplane chaos restore {part}` starts it again"
        click.echo(f"{part}: {', '.join(roles)} died; {follow}")

    def failed(self, part: str, error: str) -> None:
        """See Observer."""
        click.echo(f"{part}: {error}", err=True)
