"""Envoy behind the agent's Engine protocol: files renamed into place, and what Envoy says it made of them."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cellplane.errors import RouterError
from cellplane.router.durable import write_durably
from cellplane.router.engine import EngineState, TableRejectedError
from cellplane.router.envoy import resources
from cellplane.router.envoy.admin import Admin, Running, rejection_reason
from cellplane.router.envoy.bootstrap import bootstrap
from cellplane.router.envoy.process import EnvoyProcess
from cellplane.router.settings import RouterSettings
from cellplane.router.tables import StoredTable


class EnvoyEngine:
    """One Envoy that routes by a table."""

    def __init__(self, settings: RouterSettings) -> None:
        self._settings = settings
        self._folder = settings.state_dir.absolute() / "envoy"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._process = EnvoyProcess(settings, self._folder)
        self._admin = Admin(settings)
        self._live: StoredTable | None = None

    async def start(self, stored: StoredTable) -> None:
        """See Engine. The files are written before Envoy is looked for: one that runs takes them as a change."""
        first = _json(bootstrap(self._settings, self._folder))
        adopted = await self._process.take_over(first)
        self._write("lds.json", resources.listeners(self._settings))
        self._write_table(stored)
        if not adopted:
            self._process.start(first)
        try:
            await self._wait_until_live(resources.version_of(stored.table))
        except RouterError:
            if not adopted:
                await self._process.stop()
            raise
        self._live = stored

    async def apply(self, stored: StoredTable) -> None:
        """See Engine. Clusters first, so that the new table never names a cell that Envoy does not know."""
        assert self._live is not None
        version = resources.version_of(stored.table)
        before = await self._admin.running()
        log_start = self._log_size()
        self._write("cds.json", resources.clusters(stored.table, self._settings))
        await self._settle(
            log_start,
            taken=lambda running: running.clusters_version == version and running.warming_clusters == 0,
            refused=lambda running: running.clusters_rejected > before.clusters_rejected,
        )
        self._write("rds.json", resources.routes(stored.table, stored.path, self._settings))
        await self._settle(
            log_start,
            taken=lambda running: running.routes_version == version,
            refused=lambda running: running.routes_rejected > before.routes_rejected,
        )
        self._live = stored

    def alive(self) -> bool:
        """See Engine."""
        return self._process.alive()

    async def state(self) -> EngineState:
        """See Engine."""
        info = await self._admin.server_info()
        cells = await self._admin.cell_hosts()
        return EngineState(proxy=_proxy(info), ready=info.get("state") == "LIVE", cells=cells)

    async def stop(self) -> None:
        """See Engine."""
        if self._process.alive():
            try:
                await self._admin.drain()
                await asyncio.sleep(self._settings.drain_seconds)
            except RouterError:
                # It does not answer; then there is nothing to drain.
                pass
        await self._process.stop()
        await self._admin.close()

    async def _settle(
        self, log_start: int, *, taken: Callable[[Running], bool], refused: Callable[[Running], bool]
    ) -> None:
        """Wait until Envoy took what was written; where it refused, put back what it runs."""
        try:
            async with asyncio.timeout(self._settings.apply_timeout_seconds):
                while True:
                    running = await self._admin.running()
                    if taken(running):
                        return
                    if refused(running):
                        break
                    await asyncio.sleep(self._settings.admin_poll_seconds)
        except TimeoutError:
            self._restore()
            raise RouterError(f"Envoy did not take the table in {self._settings.apply_timeout_seconds} s") from None
        self._restore()
        raise TableRejectedError(rejection_reason(self._log_since(log_start)))

    def _restore(self) -> None:
        """Make the files say what Envoy runs, so that its restart does not read what it refused."""
        assert self._live is not None
        self._write_table(self._live)

    async def _wait_until_live(self, version: str) -> None:
        problem = "it did not answer"
        try:
            async with asyncio.timeout(self._settings.start_timeout_seconds):
                while True:
                    if not self._process.alive():
                        raise RouterError(f"Envoy ended while it started: {self._log_since(0)[-2000:]}")
                    try:
                        info = await self._admin.server_info()
                        running = await self._admin.running()
                        if info.get("state") == "LIVE" and running.routes_version == version:
                            return
                        problem = f"it is {info.get('state')} with routes {running.routes_version!r}"
                    except RouterError as error:
                        problem = str(error)
                    await asyncio.sleep(self._settings.admin_poll_seconds)
        except TimeoutError:
            limit = self._settings.start_timeout_seconds
            raise RouterError(f"Envoy was not live in {limit} s ({problem}): see {self._process.log_path}") from None

    def _write_table(self, stored: StoredTable) -> None:
        self._write("cds.json", resources.clusters(stored.table, self._settings))
        self._write("rds.json", resources.routes(stored.table, stored.path, self._settings))

    def _write(self, name: str, value: dict[str, Any]) -> None:
        data = _json(value)
        path = self._folder / name
        if not path.exists() or path.read_bytes() != data:
            write_durably(path, data)

    def _log_size(self) -> int:
        path = self._process.log_path
        return path.stat().st_size if path.exists() else 0

    def _log_since(self, start: int) -> str:
        path: Path = self._process.log_path
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode()


def _proxy(info: dict[str, Any]) -> str:
    # hash/version/state/type/ssl
    parts = str(info.get("version", "")).split("/")
    return f"envoy {parts[1]}" if len(parts) > 1 else "envoy"
