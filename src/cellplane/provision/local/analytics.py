"""The part of a local fleet that is outside of all cells, and counts what they tell: a stream, and its one consumer."""

import sys
from collections.abc import Mapping
from importlib.util import find_spec

from cellplane.errors import ProvisionError
from cellplane.processes import ProcessId
from cellplane.provision.local.child import Child, stop_all
from cellplane.provision.local.folder import StateFolder
from cellplane.provision.local.parts import Command, Oversight, nats_binary
from cellplane.provision.local.probe import tcp_open, wait_until
from cellplane.provision.local.roster import STREAM_PORT
from cellplane.provision.local.settings import ANALYTICS, STREAM_ACK_SECONDS, STREAM_MAX_GIB, LocalSettings


class AnalyticsPart:
    """NATS JetStream with the stream of all cells' events, and `cellplane analytics consume`.

    Raises:
        ProvisionError: what it runs is not installed.
    """

    def __init__(
        self, settings: LocalSettings, folder: StateFolder, ports: Mapping[str, int], oversight: Oversight
    ) -> None:
        self.name = ANALYTICS
        # Cells go on without it, and what they tell waits in them: that is worth a look, as a dead cell is.
        self.restarts = False
        self._settings = settings
        self._oversight = oversight
        self._store = folder.analytics_store
        self._port = ports[STREAM_PORT]
        if find_spec("duckdb") is None:
            raise ProvisionError("DuckDB is not installed: pip install 'cellplane[demo]'")
        server: Command = [nats_binary(), "--jetstream", "--store_dir", folder.analytics, "--name", ANALYTICS]
        server += ["--addr", settings.host, "--port", str(self._port)]
        consume: Command = [sys.executable, "-m", "cellplane.cli", "analytics", "consume", "--share"]
        consume += ["--events", f"nats://{settings.host}:{self._port}", "--store", self._store, "--sum", "bytes"]
        consume += ["--stream-max-gib", str(STREAM_MAX_GIB), "--ack-seconds", str(STREAM_ACK_SECONDS)]
        self._children = {
            role: Child(
                f"the {role} of the analytics",
                command,
                log_path=folder.log(f"{ANALYTICS}-{role}"),
                record=oversight.record,
            )
            for role, command in (("nats", server), ("consumer", consume))
        }

    def start(self) -> None:
        """See Part."""
        for child in self._children.values():
            self._oversight.give_up()
            child.start()
        wait_until(self._is_up, "what counts events", self._settings, while_true=self._require_alive)

    def processes(self) -> dict[str, ProcessId | None]:
        """See Part."""
        return {role: child.process for role, child in self._children.items()}

    def stop(self) -> None:
        """See Part. The consumer first, so that it has told the stream what is counted."""
        stop_all([self._children["consumer"]], self._settings.stop_app_seconds)
        stop_all([self._children["nats"]], self._settings.stop_server_seconds)

    def _is_up(self) -> bool:
        return self._store.exists() and tcp_open(self._settings.host, self._port, self._settings)

    def _require_alive(self) -> None:
        self._oversight.give_up()
        for child in self._children.values():
            child.require_alive()
