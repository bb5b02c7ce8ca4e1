"""The agent: fetch → verify → store → apply → report, and a proxy that never stays down."""

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import structlog

from cellplane import __version__
from cellplane.errors import CellplaneError, ControlPlaneError, RouterError, SignatureError, TableError
from cellplane.faults import fault_point
from cellplane.router.backoff import pause_seconds
from cellplane.router.board_metrics import BoardMetrics
from cellplane.router.captures import Captures
from cellplane.router.doorbell import Doorbell
from cellplane.router.engine import Engine, TableRejectedError
from cellplane.router.fetched import Fetched
from cellplane.router.judge import Judge, JudgeSettings
from cellplane.router.jwks import JwksFetcher
from cellplane.router.local_files import LocalFolder
from cellplane.router.metrics import AgentMetrics
from cellplane.router.settings import RouterSettings
from cellplane.router.shadow_metrics import ShadowMetrics
from cellplane.router.sources import Sources
from cellplane.router.tables import StoredTable, TableFolder
from cellplane.router.trust import TrustedKeys
from cellplane.routing import RoutingTable, epoch_said

log = structlog.get_logger()


class Agent:
    """One router's agent.

    Args:
        trust: whose tables are taken.
        rng: makes the pauses between tries differ from other routers'.
    """

    def __init__(
        self,
        settings: RouterSettings,
        engine: Engine,
        sources: Sources,
        trust: TrustedKeys,
        metrics: AgentMetrics,
        *,
        rng: random.Random,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._sources = sources
        self._trust = trust
        self._metrics = metrics
        self._rng = rng
        self._folder = TableFolder(settings.state_dir / "tables", settings.kept_tables, trust.vouch)
        self._jwks = JwksFetcher(settings, LocalFolder.of(settings), self._clock)
        self._judge = Judge(JudgeSettings(), rng)
        metrics.registry.register(BoardMetrics(lambda: engine.board, self._judge.health))
        self._captures = Captures(settings.state_dir.absolute() / "envoy", settings, self._clock)
        metrics.registry.register(ShadowMetrics(self._captures.report))
        self._doorbell = Doorbell(settings.state_dir.absolute() / "envoy", settings)
        self._live: StoredTable | None = None
        self._is_noted = True
        self._rejected: dict[str, Any] | None = None
        self._refused_tag: str | None = None
        self._refused_at = 0.0
        self._wants_base = False
        self._answered_at = 0.0
        self._switching = asyncio.Lock()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled, then stop the proxy. An agent that fails leaves it running for the next agent."""
        try:
            await self._begin()
            await self._doorbell.open()
            self._captures.open()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow())
                tasks.create_task(self._watch())
                tasks.create_task(self._refresh())
                tasks.create_task(self._judge_cells())
                tasks.create_task(self._report())
        except asyncio.CancelledError:
            await self._engine.stop()
            raise
        finally:
            await self._sources.close()
            await self._jwks.close()
            await self._doorbell.close()
            self._captures.close()

    async def _begin(self) -> None:
        """Start the proxy, or take over one that runs, on the best table that there is.

        Raises:
            RouterError: the proxy comes up with none. That is for whoever started the agent to see.
        """
        failures = 0
        while self._live is None:
            try:
                await self._start_on_the_best()
            except (ControlPlaneError, TableError, OSError) as error:
                failures += 1
                if isinstance(error, TableError):
                    self._count_refusal(error)
                await self._pause(failures, error)

    async def _start_on_the_best(self) -> None:
        """Try what an earlier proxy ran, then what this router remembers, then what the control plane has."""
        failed: RouterError | None = None
        tried: set[str] = set()
        for find in (self._table_of_last_proxy, self._remembered_table, self._fetch_first):
            try:
                stored = await find()
            except ControlPlaneError:
                if failed is not None:
                    raise failed from None
                raise
            if stored is None or stored.table.tag in tried:
                continue
            tried.add(stored.table.tag)
            try:
                await self._engine.start(stored)
            except RouterError as error:
                log.error("proxy_not_started", epoch=stored.epoch, error=str(error))
                self._folder.drop(stored)
                failed = error
                continue
            self._now_live(stored)
            return
        assert failed is not None, "the control plane gives a table or raises"
        raise failed

    async def _table_of_last_proxy(self) -> StoredTable | None:
        """What the proxy has switched to, also where the agent died before it could note so."""
        version = await self._engine.last_version()
        return None if version is None else self._folder.find(version)

    async def _remembered_table(self) -> StoredTable | None:
        """The table that was live last; where it is damaged, a newer one if there is any, or the one before."""
        stored = self._folder.last_good()
        live = self._folder.live_epoch()
        if stored is None or live is None or stored.epoch >= live:
            return stored
        try:
            return await self._fetch_first(wait_seconds=0)
        except (ControlPlaneError, TableError):
            log.error("older_table_taken", epoch=stored.epoch, was_live=live)
            return stored

    async def _fetch_first(self, wait_seconds: float | None = None) -> StoredTable:
        wait = self._settings.poll_wait_seconds if wait_seconds is None else wait_seconds
        fetched = await self._sources.fetch_table(None, None, 0, wait)
        if fetched is None:
            raise ControlPlaneError("the control plane answered 'not modified' to a request without a checksum")
        table = await asyncio.to_thread(self._open, fetched, None)
        return self._store(table, fetched, None)

    def _open(self, fetched: Fetched, live: StoredTable | None) -> RoutingTable:
        """The table that was fetched, checked; its signature first."""
        manifest = self._trust.read(fetched.manifest)
        table = self._folder.open(fetched.data, live)
        self._trust.check(manifest, table)
        return table

    def _store(self, table: RoutingTable, fetched: Fetched, live: StoredTable | None) -> StoredTable:
        self._metrics.tables_fetched.labels(source=fetched.source).inc()
        try:
            return self._folder.store(table, fetched.data, live, fetched.manifest)
        except OSError as error:
            if self._live is not None:
                self._note_rejection(table.epoch, f"this router's disk does not take it: {error}")
            raise

    async def _follow(self) -> None:
        """Apply each published table."""
        failures = 0
        while True:
            asked = self._clock()
            try:
                news = await self._take_next()
                failures = 0
            except (CellplaneError, OSError) as error:
                failures += 1
                await self._pause(failures, error)
                continue
            if not news:
                # Whoever answers without waiting, such as a cache between, is not asked in a loop.
                await asyncio.sleep(max(0.0, self._settings.poll_interval_seconds - (self._clock() - asked)))

    async def _take_next(self) -> bool:
        """Wait for the next table and switch to it; False where there is none."""
        assert self._live is not None
        self._is_noted = self._is_noted or self._folder.mark_live(self._live)
        if self._clock() - self._refused_at > self._settings.refused_retry_seconds:
            self._refused_tag = None
        live = self._live
        known = self._refused_tag or live.table.tag
        base_sha256 = None if self._wants_base else live.table.sha256
        data = b""
        try:
            wait = self._settings.poll_wait_seconds
            fetched = await self._sources.fetch_table(known, base_sha256, live.epoch, wait)
            if fetched is None:
                if known == live.table.tag:
                    self._note_agreement()
                return False
            data = fetched.data
            table = await asyncio.to_thread(self._open, fetched, live)
            self._check_newer(table)
        except TableError as error:
            self._count_refusal(error)
            self._note_rejection(epoch_said(data), str(error))
            raise
        if table.tag == live.table.tag:
            self._note_agreement()
            return False
        stored = self._store(table, fetched, live)
        fault_point("router.table.stored")
        async with self._switching:
            try:
                await self._engine.apply(stored)
            except TableRejectedError as rejection:
                self._metrics.tables_rejected.labels(by="proxy").inc()
                self._folder.drop(stored)
                if stored.path == live.path and not self._wants_base:
                    # It may be the base's file that cannot be opened any more: ask once more, for all of it.
                    self._wants_base = True
                else:
                    self._wants_base = False
                    self._refused_tag = stored.table.tag
                    self._refused_at = self._clock()
                self._note_rejection(stored.epoch, str(rejection))
                return True
            fault_point("router.proxy.switched")
            self._now_live(stored)
            return True

    def _check_newer(self, table: RoutingTable) -> None:
        """Refuse a table that would take the router back: an epoch fences what came before it."""
        assert self._live is not None
        if table.epoch < self._live.epoch or (table.epoch == self._live.epoch and table.tag != self._live.table.tag):
            raise TableError(f"epoch {table.epoch} is not newer than {self._live.epoch}, which is live")

    def _count_refusal(self, error: TableError) -> None:
        by = "signature" if isinstance(error, SignatureError) else "agent"
        self._metrics.tables_rejected.labels(by=by).inc()

    def _note_rejection(self, epoch: int, reason: str) -> None:
        assert self._live is not None
        self._rejected = {"epoch": epoch, "reason": reason[: self._settings.max_reason_chars]}
        self._news.set()
        log.error("table_rejected", **self._rejected, live=self._live.epoch)

    def _note_agreement(self) -> None:
        """The control plane publishes what is live: whatever it published in between is over."""
        self._refused_tag = None
        if self._rejected is not None:
            self._rejected = None
            self._news.set()

    def _now_live(self, stored: StoredTable) -> None:
        self._is_noted = self._folder.mark_live(stored)
        self._live = stored
        self._rejected = None
        self._refused_tag = None
        self._wants_base = False
        self._answered_at = self._clock()
        self._doorbell.announce(stored.epoch)
        self._metrics.applied_epoch.set(stored.epoch)
        self._metrics.tables_applied.inc()
        self._news.set()
        log.info("table_live", epoch=stored.epoch, sha256=stored.table.tag)

    async def _watch(self) -> None:
        """Start the proxy again whenever it died, or hangs."""
        while True:
            await asyncio.sleep(self._settings.watch_interval_seconds)
            if self._engine.alive():
                silent_seconds = self._clock() - self._answered_at
                if silent_seconds < self._settings.hung_seconds:
                    continue
                log.error("proxy_hung", silent_seconds=round(silent_seconds, 1))
                await self._engine.kill()
            async with self._switching:
                assert self._live is not None
                log.error("proxy_died", epoch=self._live.epoch)
                self._metrics.proxy_restarts.inc()
                try:
                    await self._engine.start(self._live)
                    self._answered_at = self._clock()
                    log.info("proxy_restarted", epoch=self._live.epoch)
                except (RouterError, OSError) as error:
                    log.error("proxy_restart_failed", error=str(error))
                    self._restore_files()
            await asyncio.sleep(self._settings.restart_pause_seconds)

    async def _refresh(self) -> None:
        """Follow the keys that verify tokens and cookies: files on this router's disk, and what issuers publish."""
        said = ""
        while True:
            await asyncio.sleep(self._settings.local_files_seconds)
            assert self._live is not None
            self._metrics.key_failures.inc(await self._jwks.refresh(self._live.table))
            async with self._switching:
                try:
                    if await self._engine.refresh():
                        log.info("keys_live")
                    await self._engine.rotate_logs()
                    said = ""
                except (TableRejectedError, RouterError, OSError) as error:
                    self._metrics.key_failures.inc()
                    if str(error) != said:
                        log.error("keys_not_taken", error=str(error))
                    said = str(error)

    async def _judge_cells(self) -> None:
        """Judge the cells by what the proxy counts of them."""
        while True:
            await asyncio.sleep(self._settings.judge_interval_seconds)
            board, live = self._engine.board, self._live
            # While a table is switched to, the board is already the next one's.
            if board is None or live is None or board.base_sha256 != live.table.sha256:
                continue
            if self._judge.tick(board, live.table, self._clock()):
                self._news.set()

    def _restore_files(self) -> None:
        """The next start must not fail since a table's file was lost meanwhile."""
        assert self._live is not None
        try:
            self._folder.write_again(self._live)
        except OSError as error:
            log.error("table_not_written", error=str(error))

    async def _report(self) -> None:
        """Tell the control plane what really runs, at once when it changes. Nobody waits for it."""
        reachable = True
        while True:
            self._news.clear()
            try:
                # By the clock as it is when this is sent: what the proxy says may take seconds.
                await self._sources.report({**await self._describe(), "at": time.time()})
                if not reachable:
                    log.info("control_plane_back")
                reachable = True
            except ControlPlaneError as error:
                if reachable:
                    log.warning("report_failed", error=str(error))
                reachable = False
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.report_interval_seconds):
                    await self._news.wait()

    async def _describe(self) -> dict[str, Any]:
        assert self._live is not None
        report: dict[str, Any] = {
            "epoch": self._live.epoch,
            "sha256": self._live.table.tag,
            "version": __version__,
            "proxy": "unknown",
            "ready": False,
            "rejected": self._rejected,
            "cells": {},
            "suspects": [],
        }
        shadows = self._captures.to_json()
        report["waiting_seconds"] = round(self._captures.waiting_seconds, 3)
        if shadows:
            report["shadows"] = shadows
        try:
            state = await self._engine.state()
        except RouterError:
            return report
        self._answered_at = self._clock()
        cells = {cell_id: asdict(hosts) for cell_id, hosts in state.cells.items()}
        for cell_id, health in self._judge.health().items():
            if cell_id in cells:
                cells[cell_id] |= {"score": health.score, "breaker": health.breaker, "gray": health.is_gray}
        suspects = [
            {**asdict(found), "harm": found.harm.value, "epoch": epoch}
            for found, epoch in self._judge.suspects()[: self._settings.max_suspects]
        ]
        return {**report, "proxy": state.proxy, "ready": state.ready, "cells": cells, "suspects": suspects}

    def _clock(self) -> float:
        return asyncio.get_running_loop().time()

    async def _pause(self, failures: int, error: Exception) -> None:
        self._metrics.table_failures.inc()
        seconds = pause_seconds(
            failures,
            base_seconds=self._settings.retry_base_seconds,
            cap_seconds=self._settings.retry_cap_seconds,
            rng=self._rng,
        )
        log.warning("table_not_taken", error=str(error), failures=failures, next_try_seconds=round(seconds, 3))
        await asyncio.sleep(seconds)
