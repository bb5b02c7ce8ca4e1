"""Shows a fleet come up, a line a part; on a terminal the lines move, elsewhere they are printed once."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

_LABELS = {
    "analytics": "analytics (NATS, consumer)",
    "control": "control plane",
    "router": "router (Envoy and agent)",
}


def _label(part: str) -> str:
    return _LABELS.get(part, f"{part} (PostgreSQL, NATS, API, worker)")


_STDOUT, _STDERR = 1, 2


@contextmanager
def _output_to(descriptor: int) -> Iterator[None]:
    """Where nobody can be told anything any more, go on untold: a closed terminal must not cut a fleet's stop short.

    What follows goes to nowhere, also what the interpreter still holds when it ends.
    """
    try:
        yield
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


class FleetProgress:
    """An observer of a local fleet's supervisor. Safe to call from several threads.

    Nothing here fails when the terminal or the pipe that it writes to is gone.
    """

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
            with _output_to(_STDOUT):
                self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def finish(self) -> None:
        """Leave the lines as they are; what follows is printed below."""
        with self._lock, _output_to(_STDOUT):
            bars, self._bars = self._bars, None
            if bars is not None:
                bars.stop()

    def say(self, text: str, *, error: bool = False) -> None:
        """Print lines."""
        with _output_to(_STDERR if error else _STDOUT):
            click.echo(text, err=error)

    def starting(self, part: str) -> None:
        """See Observer."""
        with self._lock, _output_to(_STDOUT):
            if self._bars is not None:
                self._tasks[part] = self._bars.add_task(_label(part), total=1)

    def up(self, part: str, seconds: float) -> None:
        """See Observer."""
        with self._lock:
            if self._bars is None:
                self.say(f"{_label(part)}: up after {seconds:.1f} s")
            elif part in self._tasks:
                with _output_to(_STDOUT):
                    self._bars.update(self._tasks[part], completed=1)

    def died(self, part: str, roles: Sequence[str], *, restarts: bool) -> None:
        """See Observer."""
        follow = "starting it again" if restarts else f"`cellplane chaos restore {part}` starts it again"
        self.say(f"{part}: {', '.join(roles)} died; {follow}")

    def ended(self, part: str, how: str) -> None:
        """See Observer."""
        self.say(f"{part}: {how}")

    def failed(self, part: str, error: str) -> None:
        """See Observer."""
        self.say(f"{part}: {error}", error=True)
