"""All that one move carries beside rows, as its steps ask for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cellplane.faults import fault_point
from cellplane.moves.carriers.carrier import Carrier, Load, Way
from cellplane.moves.errors import NotInTimeError
from cellplane.moves.settings import CarrierSettings


@dataclass(frozen=True, slots=True)
class Cargo:
    """The carriers of a move, one after the other.

    Args:
        carriers: in the order in which they are asked.
        settings: when what is left counts as little.
        monotonic: seconds.
    """

    carriers: tuple[Carrier, ...] = ()
    settings: CarrierSettings = field(default_factory=CarrierSettings)
    monotonic: Callable[[], float] = time.monotonic

    def estimate(self) -> dict[str, Load]:
        """How much there is of each."""
        return {carrier.name: carrier.estimate() for carrier in self.carriers}

    def prepare(self) -> None:
        """Find out whether all can be carried, and mark what will be changed."""
        for carrier in self.carriers:
            carrier.prepare()
            fault_point("move.cargo.prepared")

    def copy(self, told: Callable[[int], None]) -> int:
        """Copy in bulk; returns bytes, of which ``told`` hears."""
        total = 0
        for carrier in self.carriers:
            before = total
            load = carrier.copy(Way.THERE, lambda count, before=before: told(before + count))  # type: ignore[misc]
            total += load.bytes or 0
            fault_point("move.cargo.copied")
        return total

    def compare(self) -> None:
        """Compare what was copied."""
        for carrier in self.carriers:
            carrier.compare()

    def catch_up(self, way: Way) -> None:
        """Right before writes are held: bring what was changed, until that is soon done, or as often as is allowed."""
        for carrier in self.carriers:
            for _ in range(self.settings.catch_up_rounds):
                began = self.monotonic()
                carrier.copy(way, lambda _: None)
                fault_point("move.cargo.caught.up")
                if self.monotonic() - began <= self.settings.catch_up_seconds:
                    break

    def finish(self, way: Way, within_seconds: float) -> None:
        """While writes are held: bring the rest.

        Raises:
            NotInTimeError: it takes longer.
        """
        until = self.monotonic() + within_seconds
        for carrier in self.carriers:
            left = until - self.monotonic()
            if left <= 0:
                raise NotInTimeError(f"there was no time left for {carrier.name} while writes are held")
            carrier.finish(way, left)
            fault_point("move.cargo.finished")

    def hand_over(self, way: Way, epoch: int) -> None:
        """Behind the flip: give the other end what may be at one end alone."""
        for carrier in self.carriers:
            carrier.hand_over(way, epoch)
            fault_point("move.cargo.handed.over")

    def clean(self, way: Way, epoch: int) -> None:
        """Remove what the tenant has at the end that the way began at."""
        for carrier in self.carriers:
            carrier.clean(way, epoch)
            fault_point("move.cargo.cleaned")
