"""What the routes of the API share."""

import asyncio
from dataclasses import dataclass

from cellplane.control.distribution import Distribution
from cellplane.control.metrics import Metrics
from cellplane.control.publisher import Publisher
from cellplane.control.registry import RouterRegistry
from cellplane.control.schemas import Changed
from cellplane.control.settings import ControlSettings
from cellplane.control.warden import Warden
from cellplane.directory import Directory


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of a running control plane; ``loop`` is where the publisher runs."""

    settings: ControlSettings
    directory: Directory
    publisher: Publisher
    routers: RouterRegistry
    warden: Warden
    metrics: Metrics
    distribution: Distribution
    loop: asyncio.AbstractEventLoop

    def changed(self, epoch: int) -> Changed:
        """Wake the publisher for a committed change, from any thread."""
        self.loop.call_soon_threadsafe(self.publisher.notify)
        return Changed(epoch=epoch)

    def quarantine_changed(self, epoch: int) -> Changed:
        """The same for a quarantine, of which the warden tells."""
        self.loop.call_soon_threadsafe(self.warden.look)
        return self.changed(epoch)
