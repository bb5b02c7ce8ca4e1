"""A proxy that only remembers what it was told, and fails when it is told to."""

from collections.abc import Iterator
from contextlib import contextmanager

from cellplane.errors import RouterError
from cellplane.router.board import Board
from cellplane.router.engine import CellHosts, EngineState, TableRejectedError
from cellplane.router.tables import StoredTable
from cellplane.routing import RoutingTable


class FakeEngine:
    """Implements the Engine protocol.

    Attributes:
        started: epochs it was started with.
        applied: epochs it switched to.
        tried: epochs it was asked to switch to.
        rejects: epochs that it refuses, and why.
        silent: how many more switches fail because it does not answer.
        start_failures: how many more starts fail.
        cannot_start_with: epochs with which no start succeeds.
        keys: what comes of the next looks at the files of keys.
        refreshes: how many looks there were.
        left_behind: version of the table that a proxy of an earlier agent runs.
        board: what it counts on.
    """

    def __init__(self) -> None:
        self.started: list[int] = []
        self.applied: list[int] = []
        self.tried: list[int] = []
        self.rejects: dict[int, str] = {}
        self.silent = 0
        self.start_failures = 0
        self.cannot_start_with: set[int] = set()
        self.starts_tried = 0
        self.state_fails = False
        self.stops = 0
        self.kills = 0
        self.left_behind: str | None = None
        self.keys: list[bool | Exception] = []
        self.refreshes = 0
        self.epoch = 0
        self.board: Board | None = None
        self._running = False
        self._switching = False

    async def last_version(self) -> str | None:
        return self.left_behind

    async def start(self, stored: StoredTable) -> None:
        with self._alone():
            self.starts_tried += 1
            self._check(stored)
            if stored.epoch in self.cannot_start_with:
                raise RouterError("the proxy does not come up")
            if self.start_failures:
                self.start_failures -= 1
                raise RouterError("the proxy does not come up")
            self.started.append(stored.epoch)
            self.epoch = stored.epoch
            self._running = True

    async def apply(self, stored: StoredTable) -> None:
        with self._alone():
            assert self._running
            self.tried.append(stored.epoch)
            self._check(stored)
            if self.silent:
                self.silent -= 1
                raise RouterError("the proxy does not answer")
            if stored.epoch in self.rejects:
                raise TableRejectedError(self.rejects[stored.epoch])
            self.applied.append(stored.epoch)
            self.epoch = stored.epoch

    async def refresh(self) -> bool:
        with self._alone():
            self.refreshes += 1
            if self.keys:
                outcome = self.keys.pop(0)
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome
            return False

    async def rotate_logs(self) -> bool:
        return False

    def alive(self) -> bool:
        return self._running

    async def state(self) -> EngineState:
        if self.state_fails:
            raise RouterError("the proxy does not answer")
        return EngineState("fake 1.0", ready=self._running, cells={"cell-1": CellHosts(1, 1)})

    async def kill(self) -> None:
        self.kills += 1
        self._running = False

    async def metrics(self) -> bytes:
        return b""

    async def stop(self) -> None:
        self.stops += 1
        self._running = False

    def die(self) -> None:
        self._running = False

    @contextmanager
    def _alone(self) -> Iterator[None]:
        assert not self._switching, "the agent starts or switches the proxy twice at once"
        self._switching = True
        try:
            yield
        finally:
            self._switching = False

    def _check(self, stored: StoredTable) -> None:
        """The file that a proxy is told of is there, whole and of that epoch."""
        assert stored.path.is_absolute()
        overlay = None if stored.overlay_path is None else stored.overlay_path.read_bytes()
        assert RoutingTable(stored.path.read_bytes(), overlay).epoch == stored.epoch == stored.table.epoch
