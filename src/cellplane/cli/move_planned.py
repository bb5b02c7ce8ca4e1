"""What `cellplane move` says of a move before it begins, and what it refuses then."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from cellplane.cli.moves_elsewhere import duration
from cellplane.moves.carriers.carrier import Load
from cellplane.moves.config import MovesConfig
from cellplane.moves.errors import MoveError
from cellplane.moves.expecting import Carried, Expected, is_too_large
from cellplane.moves.move import Move
from cellplane.moves.mover import Estimate

TOO_LARGE = "too-large"
"""What the JSON of a refusal says that ``--force`` overrides."""


class TooLargeError(MoveError):
    """The tenant is larger than is moved without looking."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A move that can be made.

    Attributes:
        move: as it begins.
        configured: by which file.
        estimate: of its rows.
        loads: of what moves beside them, by the carrier's name.
        expected: about how long it takes.
    """

    move: Move
    configured: MovesConfig
    estimate: Estimate
    loads: Mapping[str, Load]
    expected: Expected

    @property
    def beginning(self) -> Move:
        """The move with what is expected of it."""
        return replace(self.move, rows_expected=self.estimate.rows, bytes_expected=self.estimate.bytes)

    @property
    def too_large(self) -> str:
        """Why it has to be forced; empty where it need not."""
        limits = self.configured.limits
        if not is_too_large(Carried(self.estimate.rows, self.estimate.bytes), limits):
            return ""
        return (
            f"{self.move.tenant_id} has some {self.estimate.rows:,} rows ({size(self.estimate.bytes)}), and more than "
            f"{limits.rows:,} rows or {size(limits.bytes)} are not moved without looking: it takes about "
            f"{duration(self.expected.seconds)} until the flip, in which the source's server keeps its log, and the "
            "target needs the room. See that both have it, choose --hours and --rate, then use --force; or raise "
            "limits in moves.yaml"
        )

    def refusal(self) -> dict[str, Any]:
        """``too_large`` for scripts."""
        return {"refused": TOO_LARGE, "reason": self.too_large, **self._how_much, "expected": self._expected}

    def __str__(self) -> str:
        move, left_out = self.move, self.configured.tables.left_out
        said = f"{move.tenant_id}: {move.source} → {move.target}, some {self.estimate.rows:,} rows "
        said += f"({size(self.estimate.bytes)}) in {', '.join(self.estimate.tables)}"
        said += f", without {', '.join(left_out)}" if left_out else ""
        said += "".join(f", {load.things:,} of {name}" for name, load in self.loads.items())
        return f"{said}; {self._times}"

    @property
    def _times(self) -> str:
        """How long it takes and its writes wait, for people."""
        found = self.expected
        parts = f"copy {duration(found.copy_seconds)}, comparison {duration(found.compare_seconds)}"
        parts += f", shadow {duration(self.move.shadow_seconds)}" if self.move.shadow_seconds else ""
        hours = f" within {self.move.hours} UTC" if self.move.hours else ""
        beside = ", and what is copied beside rows" if self.loads else ""
        pauses = f"{1000 * found.pause_seconds:.0f} ms, rarely more than {1000 * found.pause_rare_seconds:.0f}"
        return (
            f"about {duration(found.seconds)}{hours} until the flip ({parts}{beside}), with writes waiting some "
            f"{pauses}, and at most {found.pause_bound_seconds:g} s before it"
        )

    def view(self) -> dict[str, Any]:
        """The same for scripts."""
        return {
            "tenant": self.move.tenant_id,
            "source": self.move.source,
            "target": self.move.target,
            **self._how_much,
            "tables": list(self.estimate.tables),
            "left_out": list(self.configured.tables.left_out),
            "carriers": {name: {"things": load.things, "bytes": load.bytes} for name, load in self.loads.items()},
            "expected": self._expected,
            "hold_seconds": self.move.hold_seconds,
        }

    @property
    def _how_much(self) -> dict[str, Any]:
        return {"rows": self.estimate.rows, "bytes": self.estimate.bytes}

    @property
    def _expected(self) -> dict[str, float]:
        found = {"seconds": self.expected.seconds, **asdict(self.expected)}
        return {name: round(value, 3) for name, value in found.items()}


def size(count: int) -> str:
    """Bytes, for people."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
