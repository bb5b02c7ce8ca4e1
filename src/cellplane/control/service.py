"""What the routes of the API share."""

import asyncio
from dataclasses import dataclass

from cellplane.control.access.gate import Gate
from cellplane.control.capacity.looking import Lookout
from cellplane.control.capacity_schemas import CellReport
from cellplane.control.distribution import Distribution
from cellplane.control.feed import ChangeFeed
from cellplane.control.metrics import Metrics
from cellplane.control.move_schemas import MoveReport
from cellplane.control.outbox import Outbox
from cellplane.control.publisher import Publisher
from cellplane.control.registry import RouterRegistry
from cellplane.control.report_book import ReportBook
from cellplane.control.settings import ControlSettings
from cellplane.control.warden import Warden
from cellplane.directory import Directory, Leadership


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of a running control plane; ``loop`` is where the publisher runs."""

    settings: ControlSettings
    directory: Directory
    leadership: Leadership
    publisher: Publisher
    routers: RouterRegistry
    warden: Warden
    cells: ReportBook[CellReport]
    moves: ReportBook[MoveReport]
    lookout: Lookout
    metrics: Metrics
    distribution: Distribution
    gate: Gate
    feed: ChangeFeed
    outbox: Outbox
    loop: asyncio.AbstractEventLoop

    def changed(self, *, is_quiet: bool = False) -> None:
        """Tell of a committed change, from any thread: the publisher later, where more follows at once."""
        self.loop.call_soon_threadsafe(self.publisher.notify_later if is_quiet else self.publisher.notify)
        self.loop.call_soon_threadsafe(self.feed.notify)

    def quarantine_changed(self) -> None:
        """Wake the warden, which tells of quarantines, from any thread."""
        self.loop.call_soon_threadsafe(self.warden.look)

    def page_size(self, limit: int | None) -> int:
        """How many items are on a page for which a caller asks."""
        return min(limit or self.settings.page_size, self.settings.max_page_size)
