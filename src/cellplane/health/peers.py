"""Peers: gray failure, a cell that answers its health check and is worse than its peers, window after window."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cellplane.errors import ValidationError
from cellplane.health.outliers import Outlier, PeerMeasure, compare
from cellplane.health.rates import Rates
from cellplane.model.health import PeerSettings


@dataclass(frozen=True, slots=True)
class CellHistory:
    """What the last comparisons said of a cell.

    Attributes:
        windows: outliers of up to n comparisons, the newest last; none of a window in which it was not compared.
        is_gray: whether it counts as gray.
    """

    windows: tuple[tuple[Outlier, ...], ...] = ()
    is_gray: bool = False


@dataclass(frozen=True, slots=True)
class PeerState:
    """A pool's cells, as compared so far.

    Attributes:
        cells: history of each cell, by id.
        compared_at: monotonic seconds of the last comparison; None before the first.
    """

    cells: Mapping[str, CellHistory] = field(default_factory=dict)
    compared_at: float | None = None

    @property
    def gray(self) -> tuple[str, ...]:
        """Ids of the cells that count as gray, sorted."""
        return tuple(sorted(cell for cell, history in self.cells.items() if history.is_gray))


@dataclass(frozen=True, slots=True)
class GrayEvent:
    """A cell was found gray, or is no longer.

    Attributes:
        cell: its id.
        is_gray: whether it was found gray; otherwise it was cleared.
        at: monotonic seconds.
        outliers: the last one of each measure that was wrong in m windows; none where it was cleared.
    """

    cell: str
    is_gray: bool
    at: float
    outliers: tuple[Outlier, ...]


def compare_due(state: PeerState, now: float, settings: PeerSettings) -> bool:
    """Whether ``step`` would compare now: the rates need not be worked out before."""
    return state.compared_at is None or now - state.compared_at >= settings.step_seconds


def step(
    state: PeerState, rates: Mapping[str, Rates], now: float, settings: PeerSettings
) -> tuple[PeerState, tuple[GrayEvent, ...]]:
    """Compare the cells of a pool, if it is time, and say who was found gray or cleared.

    A cell is found gray when one measure is wrong in m of its last n windows, and cleared when no more than
    ``clear_windows`` of them are wrong in any. A window in which it had too few requests to be compared is not wrong.
    A cell that is not in the rates has left the pool, and is forgotten.

    Args:
        state: as the last step returned it.
        rates: over the last ``window_seconds``, of every cell of the pool, by id.
        now: monotonic seconds, not before the last comparison's.
        settings: valid.

    Returns:
        The next state, and events in the order of the cells' ids.

    Raises:
        ValidationError: time went back.
    """
    if state.compared_at is not None and not now >= state.compared_at:
        raise ValidationError("now", f"expected {state.compared_at} or later, found {now}")
    if not compare_due(state, now, settings):
        return state, ()
    found = compare(rates, settings)
    cells, events = {}, []
    for cell in sorted(rates):
        before = state.cells.get(cell, CellHistory())
        windows = (*before.windows, found.get(cell, ()))[-settings.windows :]
        wrong = _persistent(windows, settings.wrong_windows)
        if wrong and not before.is_gray:
            events.append(GrayEvent(cell, is_gray=True, at=now, outliers=wrong))
        is_gray = bool(wrong) or (before.is_gray and bool(_persistent(windows, settings.clear_windows + 1)))
        if before.is_gray and not is_gray:
            events.append(GrayEvent(cell, is_gray=False, at=now, outliers=()))
        cells[cell] = CellHistory(windows, is_gray)
    return PeerState(cells, now), tuple(events)


def _persistent(windows: Sequence[tuple[Outlier, ...]], times: int) -> tuple[Outlier, ...]:
    """The last outlier of each measure that is wrong in at least so many windows, in the order of ``PeerMeasure``."""
    last = {outlier.measure: outlier for outliers in windows for outlier in outliers}
    counted = Counter(outlier.measure for outliers in windows for outlier in outliers)
    return tuple(last[measure] for measure in PeerMeasure if counted[measure] >= times)
