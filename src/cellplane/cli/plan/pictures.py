"""Pictures: matplotlib is loaded when one is asked for, and not before."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cellplane.errors import CellplaneError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Command = TypeVar("Command", bound=Callable[..., Any])

BLUE, ORANGE, GREEN, GREY = "#2f6db3", "#d9822b", "#3d8b5f", "#8a8f98"
PNG_DOTS_PER_INCH = 150


@dataclass(frozen=True, slots=True)
class Wanted:
    """Files that a picture is written to; None where it is not."""

    svg: Path | None
    png: Path | None

    def draw(self, size_inches: tuple[float, float], paint: Callable[["Figure"], None]) -> None:
        """Paint a figure and write it to the files, if there is one. Equal figures give equal SVG files.

        Args:
            size_inches: width and height.
            paint: what draws on the empty figure.

        Raises:
            CellplaneError: matplotlib is missing, or a file cannot be written.
        """
        targets = [(path, kind) for path, kind in ((self.svg, "svg"), (self.png, "png")) if path is not None]
        if not targets:
            return
        try:
            from matplotlib import rc_context  # noqa: PLC0415  # heavy, and of an extra of its own
            from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
            from matplotlib.figure import Figure  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise CellplaneError(f"pictures need {error.name}: pip install 'cellplane[plan]'") from error
        style: dict[Any, Any] = {
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": "medium",
            "font.size": 9.0,
            "grid.alpha": 0.3,
            "legend.frameon": False,
            "svg.hashsalt": "cellplane",
        }
        with rc_context(style):
            figure = Figure(figsize=size_inches, layout="constrained")
            FigureCanvasAgg(figure)
            paint(figure)
            for path, kind in targets:
                # No date in the file: a picture changes when what it shows does.
                metadata = {"Date": None} if kind == "svg" else {}
                try:
                    figure.savefig(path, format=kind, dpi=PNG_DOTS_PER_INCH, metadata=metadata)
                except OSError as error:
                    raise CellplaneError(f"cannot write {path}: {error.strerror}") from error


def picture_options(command: Command) -> Command:
    """Add ``--svg`` and ``--png``."""
    for kind in ("png", "svg"):
        command = click.option(
            f"--{kind}",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            default=None,
            help=f"Write the picture as {kind.upper()} too.",
        )(command)
    return command
