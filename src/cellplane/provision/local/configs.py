"""Brings the cells of a local fleet what their apps are told: from the control plane to a file of each, as a sidecar.

The fleet does so itself, with its admin's token: a cell needs none, and one that was just made has its file at once.
While the control plane is dead, or this fleet's supervisor, cells go on with the file that they have.
"""

import logging
import threading
from collections.abc import Callable, Collection

from cellplane.cell.config import ConfigFetcher, ConfigLimits
from cellplane.credentials import ADMIN_TOKEN
from cellplane.provision.local.folder import StateFolder
from cellplane.provision.local.settings import LocalSettings

_log = logging.getLogger(__name__)


class CellConfigs:
    """Asks for all cells now and then, in one thread.

    Args:
        control_url: of the fleet's control plane.
        cells: the ids of the cells that the fleet has now.
    """

    def __init__(
        self, settings: LocalSettings, folder: StateFolder, control_url: str, cells: Callable[[], Collection[str]]
    ) -> None:
        self._folder = folder
        self._control_url = control_url
        self._cells = cells
        self._every_seconds = settings.config_interval_seconds
        self._limits = ConfigLimits(fetch_timeout_seconds=settings.config_timeout_seconds)
        self._fetchers: dict[str, ConfigFetcher] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="cell-configs", daemon=True).start()

    def stop(self) -> None:
        """End after the question that is under way."""
        self._stopped.set()

    def bring(self) -> None:
        """Ask once for each cell. What fails is asked again, and no cell waits for it."""
        self._fetchers = {cell_id: self._fetchers.get(cell_id) or self._make(cell_id) for cell_id in self._cells()}
        for cell_id, fetcher in self._fetchers.items():
            if self._stopped.is_set():
                return
            try:
                fetcher.fetch()
            # The control plane is away, does not know the cell yet, or the cell's folder is gone with it. Whoever
            # watches the fleet is told of a part that dies; this would tell the same again for each cell.
            except ConfigFetcher.failures as error:
                _log.debug("no configuration for %s: %s", cell_id, str(error) or repr(error))

    def _make(self, cell_id: str) -> ConfigFetcher:
        token, path = self._folder.root / ADMIN_TOKEN, self._folder.config(cell_id)
        return ConfigFetcher(self._control_url, cell_id, token, path, limits=self._limits)

    def _run(self) -> None:
        while True:
            self.bring()
            if self._stopped.wait(self._every_seconds):
                return
