"""Envoy behind the agent's Engine protocol: files renamed into place, and what Envoy says it made of them."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cellplane.durable import write_durably
from cellplane.errors import RouterError
from cellplane.router.board import Board
from cellplane.router.engine import EngineState, TableRejectedError
from cellplane.router.envoy import resources
from cellplane.router.envoy.admin import Admin, Running, rejection_reason
from cellplane.router.envoy.bootstrap import bootstrap
from cellplane.router.envoy.identity import Identity
from cellplane.router.envoy.names import CERTIFICATE_FILE, CLUSTERS_FILE, LISTENERS_FILE, ROUTES_FILE, TOKENS_FILE
from cellplane.router.envoy.process import EnvoyProcess
from cellplane.router.local_files import LocalFiles, LocalFolder
from cellplane.router.settings import RouterSettings
from cellplane.router.tables import StoredTable

_LOG_TAIL_BYTES = 2000


class EnvoyEngine:
    """One Envoy that routes by a table."""

    def __init__(self, settings: RouterSettings) -> None:
        self._settings = settings
        self._folder = settings.state_dir.absolute() / "envoy"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._process = EnvoyProcess(settings, self._folder)
        self._local = LocalFolder.of(settings)
        self._files = LocalFiles()
        self._boards = settings.state_dir.absolute() / "boards"
        self._board: Board | None = None
        self._admin_client: Admin | None = None
        self._live: StoredTable | None = None
        self._has_clusters_of_live = False

    @property
    def _admin(self) -> Admin:
        if self._admin_client is None:
            raise RouterError("Envoy does not run")
        return self._admin_client

    @property
    def board(self) -> Board | None:
        """See Engine."""
        return self._board

    async def last_version(self) -> str | None:
        """See Engine. What a running Envoy says counts; without one, its files do."""
        if await self._adopt():
            try:
                return resources.table_version((await self._admin.running()).routes_version) or None
            except RouterError:
                # It may be about to end; its files say what it was given last.
                pass
        try:
            return resources.table_version(json.loads((self._folder / ROUTES_FILE).read_bytes())["version_info"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    async def start(self, stored: StoredTable) -> None:
        """See Engine. The files are written before Envoy is looked for: one that runs takes them as a change."""
        adopted = await self._adopt()
        files = self._local.read(stored.table)
        clusters = resources.clusters(stored.table, self._settings)
        listeners = resources.listeners(self._settings)
        tokens = resources.tokens(Identity.of(stored.table, files), self._settings)
        self._write(CERTIFICATE_FILE, resources.secrets(self._settings))
        self._write(LISTENERS_FILE, listeners)
        self._write_table(stored, files)
        if not adopted:
            await self._process.end_strangers()
            self._board_of(stored).begin_run()
            self._process.start(self._bootstrap())
            await self._connect()
        try:
            await self._wait_until_live(
                {
                    "clusters_version": clusters["version_info"],
                    "listeners_version": listeners["version_info"],
                    "tokens_version": tokens["version_info"],
                    "routes_version": resources.routes_version(stored.table, files),
                }
            )
        except RouterError:
            if not adopted:
                await self._process.stop()
            raise
        self._now_live(stored, files)
        self._has_clusters_of_live = True

    async def refresh(self) -> bool:
        """See Engine."""
        assert self._live is not None
        if self._local.read(self._live.table) == self._files:
            return False
        await self.apply(self._live)
        return True

    async def apply(self, stored: StoredTable) -> None:
        """See Engine. Cells and claims come before the routes that name them, and go after."""
        assert self._live is not None
        try:
            files = self._local.read(stored.table)
        except RouterError as error:
            raise TableRejectedError(str(error)) from error
        before, after = Identity.of(self._live.table, self._files), Identity.of(stored.table, files)
        same_cells = self._has_clusters_of_live and stored.table.cells == self._live.table.cells
        if not same_cells:
            # Whatever goes wrong from here on, the next table begins with its clusters.
            self._has_clusters_of_live = False
            await self._give_clusters(resources.clusters(stored.table, self._settings, leaving=self._live.table))
        if after != before:
            await self._give_tokens(after.joined(before))
        await self._give_routes(self._routes(stored, files))
        self._now_live(stored, files)
        if after != before:
            await self._give_tokens(after)
        if not same_cells:
            await self._give_clusters(resources.clusters(stored.table, self._settings))
            self._has_clusters_of_live = True

    def alive(self) -> bool:
        """See Engine."""
        return self._process.alive()

    async def kill(self) -> None:
        """See Engine."""
        self._process.kill()

    async def metrics(self) -> bytes:
        """See Engine."""
        return await self._admin.prometheus()

    async def state(self) -> EngineState:
        """See Engine."""
        info = await self._admin.server_info()
        cells = await self._admin.cell_hosts()
        return EngineState(proxy=_proxy(info), ready=info.get("state") == "LIVE", cells=cells)

    async def rotate_logs(self) -> bool:
        """See Engine."""
        path = self._settings.access_log
        if path is None or not path.exists() or path.stat().st_size < self._settings.max_access_log_bytes:
            return False
        path.replace(path.with_name(f"{path.name}.1"))
        await self._admin.reopen_logs()
        return True

    async def stop(self) -> None:
        """See Engine. Whoever finds this Envoy after a stop that was cut short must not take it for a sound one."""
        if self._process.alive():
            self._process.note_stopping()
            try:
                await self._admin.drain()
                async with asyncio.timeout(self._settings.drain_seconds):
                    while await self._admin.client_connections():  # noqa: ASYNC110  # no event says it
                        await asyncio.sleep(self._settings.admin_poll_seconds)
            except TimeoutError:
                # Clients that keep connections without using them are not waited for.
                pass
            except RouterError:
                # It does not answer; then there is nothing to drain.
                pass
        await self._process.stop()
        await self._disconnect()

    def _bootstrap(self) -> bytes:
        return _json(bootstrap(self._settings, self._folder))

    async def _adopt(self) -> bool:
        """Whether there is an Envoy to go on with; then its admin interface is connected."""
        adopted = await self._process.take_over(self._bootstrap())
        if adopted and self._admin_client is None:
            await self._connect()
        return adopted

    async def _connect(self) -> None:
        await self._disconnect()
        self._admin_client = Admin(self._process.admin_socket(), self._settings)

    async def _disconnect(self) -> None:
        if self._admin_client is not None:
            await self._admin_client.close()
        self._admin_client = None

    async def _give_clusters(self, clusters: dict[str, Any]) -> None:
        before = await self._admin.running()
        log_start = self._log_size()
        self._write(CLUSTERS_FILE, clusters)
        await self._settle(
            log_start,
            taken=lambda running: (
                running.clusters_version == clusters["version_info"] and running.warming_clusters == 0
            ),
            refused=lambda running: running.clusters_rejected > before.clusters_rejected,
        )

    async def _give_tokens(self, identity: Identity) -> None:
        tokens = resources.tokens(identity, self._settings)
        before = await self._admin.running()
        if before.tokens_version == tokens["version_info"]:
            return
        log_start = self._log_size()
        self._write(TOKENS_FILE, tokens)
        await self._settle(
            log_start,
            taken=lambda running: running.tokens_version == tokens["version_info"],
            refused=lambda running: running.tokens_rejected > before.tokens_rejected,
        )

    async def _give_routes(self, routes: dict[str, Any]) -> None:
        before = await self._admin.running()
        log_start = self._log_size()
        self._write(ROUTES_FILE, routes)
        await self._settle(
            log_start,
            taken=lambda running: running.routes_version == routes["version_info"],
            refused=lambda running: running.routes_rejected > before.routes_rejected,
        )

    def _now_live(self, stored: StoredTable, files: LocalFiles) -> None:
        self._live = stored
        self._files = files
        self._local.forget_others(files)
        board = self._board_of(stored)
        if self._board is None or self._board.path != board.path:
            self._board = board
            board.forget_others()

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
        self._write_table(self._live, self._files)

    async def _wait_until_live(self, wanted: Mapping[str, str]) -> None:
        """Wait until Envoy runs these versions, named as in Running."""
        problem = "it did not answer"
        try:
            async with asyncio.timeout(self._settings.start_timeout_seconds):
                while True:
                    if not self._process.alive():
                        raise RouterError(f"Envoy ended while it started: {self._log_tail()}")
                    try:
                        info = await self._admin.server_info()
                        running = await self._admin.running()
                        runs_all = all(getattr(running, name) == version for name, version in wanted.items())
                        if info.get("state") == "LIVE" and runs_all and running.listeners_active:
                            return
                        problem = f"it is {info.get('state')} with {running}"
                    except RouterError as error:
                        problem = str(error)
                    await asyncio.sleep(self._settings.admin_poll_seconds)
        except TimeoutError:
            limit = self._settings.start_timeout_seconds
            raise RouterError(f"Envoy was not live in {limit} s ({problem}): see {self._process.log_path}") from None

    def _write_table(self, stored: StoredTable, files: LocalFiles) -> None:
        self._write(CLUSTERS_FILE, resources.clusters(stored.table, self._settings))
        self._write(TOKENS_FILE, resources.tokens(Identity.of(stored.table, files), self._settings))
        self._write(ROUTES_FILE, self._routes(stored, files))

    def _routes(self, stored: StoredTable, files: LocalFiles) -> dict[str, Any]:
        board = self._board_of(stored)
        return resources.routes(stored, self._settings, files=files, board=board.path)

    def _board_of(self, stored: StoredTable) -> Board:
        """The board of its base. Breakers that are open stay so: a new base says nothing about the health of cells."""
        board = Board.of_table(self._boards, stored.table, self._settings.workers)
        known = self._board
        if known is not None and known.path != board.path:
            for cell in set(board.cells).intersection(known.cells):
                board.set_breaker(cell, *known.breaker(cell))
        return board

    def _write(self, name: str, value: dict[str, Any]) -> None:
        data = _json(value)
        path = self._folder / name
        if not path.exists() or path.read_bytes() != data:
            write_durably(path, data)

    def _log_size(self) -> int:
        path = self._process.log_path
        return path.stat().st_size if path.exists() else 0

    def _log_tail(self) -> str:
        return self._log_since(max(0, self._log_size() - _LOG_TAIL_BYTES))

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
