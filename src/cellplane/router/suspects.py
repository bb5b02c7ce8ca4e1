"""Suspects: the tenants that make a cell ill for all others, by what the board counts of them. The judge asks once a
second; ``cellplane.health`` decides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cellplane.health import poison
from cellplane.health.concentration import Concentration, Harm, PoisonSettings, TenantUse
from cellplane.health.poison import Suspicion
from cellplane.health.use import UseWindow
from cellplane.health.window import Window
from cellplane.model import TenantState
from cellplane.router.board import Board
from cellplane.routing import RoutingTable


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectsSettings:
    """How a router looks at the tenants of its cells."""

    poison: PoisonSettings = field(default_factory=PoisonSettings)
    """When a tenant is suspected."""

    use_seconds: float = 10.0
    """Span over which the tenants of a cell are looked at, seconds."""


class Suspects:
    """Looks at the largest tenants of each cell: always, so that a breaker is not quicker than the finding."""

    def __init__(self, settings: SuspectsSettings) -> None:
        self._settings = settings
        self._uses: dict[str, UseWindow] = {}
        self._suspicions: dict[str, Suspicion] = {}
        self._spared_until: dict[str, float] = {}

    def forget_counts(self) -> None:
        """The board is another: what is counted begins anew, and with it what counts against anybody."""
        self._uses.clear()
        self._suspicions.clear()

    def ripe(self) -> tuple[tuple[Concentration, int], ...]:
        """The tenants that were found often enough, one a cell at most, the largest share first; each with the epoch of
        the table that was live when what counts against it began.
        """
        ripe = [
            (suspicion.found, self._uses[cell].epoch)
            for cell, suspicion in self._suspicions.items()
            if poison.is_ripe(suspicion, self._settings.poison)
        ]
        return tuple(sorted(ripe, key=lambda each: (-each[0].share, each[0].cell)))

    def spares(self, cell: str, now: float) -> bool:
        """Whether all but one tenant of a cell are served well, or just were: then refusing everybody helps nobody."""
        return now < self._spared_until.get(cell, now)

    def tick(
        self, board: Board, table: RoutingTable, windows: Mapping[str, Window], now: float
    ) -> Iterable[Concentration]:
        """Look once, and return whom this look makes a suspect.

        Args:
            board: of the table's base.
            windows: what was counted of each cell of the board, this look included.
            now: monotonic seconds, later than the last look.
        """
        concurrency = {cell.id: cell.concurrency or None for cell in table.cells}
        found = []
        for cell in board.cells:
            before = self._suspicions.pop(cell, None)
            window = self._uses.get(cell, UseWindow(self._settings.use_seconds))
            self._uses[cell] = window = window.observe(*_used(board, windows[cell], cell), now, table.epoch)
            after = poison.suspect(before, cell, window.use(concurrency.get(cell)), self._settings.poison)
            if after is None:
                continue
            if after.found.harm is Harm.ERRORS:
                self._spared_until[cell] = now + self._settings.use_seconds
            # What a tenant did before it was sent away is still in the window.
            if _is_away(table, after.found.tenant):
                continue
            self._suspicions[cell] = after
            was_ripe = before is not None and poison.is_ripe(before, self._settings.poison)
            if poison.is_ripe(after, self._settings.poison) and not was_ripe:
                found.append(after.found)
        return found


def _used(board: Board, window: Window, cell: str) -> tuple[TenantUse, dict[str, TenantUse]]:
    """What a cell was used for since counting began, in all and by its largest tenants."""
    last = window.last
    assert last is not None, "a cell was counted before its tenants are looked at"
    total = TenantUse("", last.requests, last.errors, last.latency_seconds)
    tenants = {
        each.tenant: TenantUse(each.tenant, each.requests, each.errors, each.busy_seconds)
        for each in board.tenants(cell)
    }
    return total, tenants


def _is_away(table: RoutingTable, tenant: str) -> bool:
    row = table.find(tenant.encode())
    return row is not None and row.state is TenantState.QUARANTINED
