"""What the agent needs of a proxy. The agent knows no engine; Envoy is the one behind this today."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from cellplane.router.board import Board
from cellplane.router.tables import StoredTable


@dataclass(frozen=True, slots=True)
class CellHosts:
    """Hosts of a cell, and how many of them the proxy finds healthy."""

    hosts: int
    healthy_hosts: int


@dataclass(frozen=True, slots=True)
class EngineState:
    """What the proxy says of itself.

    Attributes:
        proxy: its name and version.
        ready: whether it serves.
        cells: health of each cell, by id.
    """

    proxy: str
    ready: bool
    cells: Mapping[str, CellHosts]


class TableRejectedError(Exception):
    """The proxy refused a table and goes on with the one before; the message is its reason."""


class Engine(Protocol):
    """A proxy that routes by a table."""

    @property
    def board(self) -> Board | None:
        """What it shares with the agent while it runs; None before the first table."""

    async def last_version(self) -> str | None:
        """Version of the table that a proxy of an earlier agent runs, or that its configuration names; or None."""

    async def start(self, stored: StoredTable) -> None:
        """Serve by this table: take over a proxy that already runs, or start one.

        Raises:
            RouterError: it does not come up. One that this call started is stopped again; one that was taken over
                goes on with what it has.
        """

    async def apply(self, stored: StoredTable) -> None:
        """Switch to this table without a lost request, and return when it is what really runs.

        Raises:
            TableRejectedError: the proxy refused it.
            RouterError: the proxy does not answer.
        """

    async def refresh(self) -> bool:
        """Take the router's own files of keys anew where they have changed; False where they have not.

        Raises:
            TableRejectedError: the proxy refused them, and goes on with those before.
            RouterError: the proxy does not answer, or a file cannot be used and never could.
        """

    async def rotate_logs(self) -> bool:
        """Move an access log aside that has become too large; False where none has.

        Raises:
            RouterError: the proxy does not answer.
        """

    def alive(self) -> bool:
        """Whether the proxy's process is there."""

    async def kill(self) -> None:
        """End a proxy that answers nobody."""

    async def metrics(self) -> bytes:
        """The proxy's own metrics, in Prometheus' text format.

        Raises:
            RouterError: it does not answer.
        """

    async def state(self) -> EngineState:
        """What the proxy says of itself now.

        Raises:
            RouterError: it does not answer.
        """

    async def stop(self) -> None:
        """Stop the proxy, with a moment for open requests."""
