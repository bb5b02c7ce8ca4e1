"""Asks cells for their metrics that do not report by themselves."""

import asyncio
from collections.abc import Iterable

import httpx2
import structlog

from cellplane.capacity.exposition import MAX_BYTES, read_metrics
from cellplane.control.capacity_schemas import CellReport
from cellplane.control.report_book import ReportBook
from cellplane.control.settings import ControlSettings
from cellplane.errors import CellplaneError, ValidationError
from cellplane.model import Cell, CellProtocol, CellStatus
from cellplane.model.address import host_of_url

log = structlog.get_logger()

PATH = "/metrics"

_ASKED = {CellStatus.ACTIVE, CellStatus.LOCKED, CellStatus.DRAINING}


class Scraper:
    """Asks, a bounded number of cells at once, each for a bounded time and size. Runs in one event loop.

    Args:
        reports: where what they say goes; a cell that reports there by itself is not asked.
    """

    def __init__(self, reports: ReportBook[CellReport], settings: ControlSettings) -> None:
        self._reports = reports
        self._settings = settings
        self._at_once = asyncio.Semaphore(settings.scrapes_at_once)
        self._taken_at: dict[str, float] = {}
        self._failing: set[str] = set()
        # Neither proxies nor redirects: what answers is the cell, or nobody. Of plain HTTP there is nothing to verify.
        self._client = httpx2.AsyncClient(timeout=settings.scrape_timeout_seconds, trust_env=False, verify=False)

    async def close(self) -> None:
        """Give back its connections."""
        await self._client.aclose()

    async def scrape(self, cells: Iterable[Cell]) -> None:
        """Ask those of these cells that serve, speak HTTP/1.1 and do not report by themselves."""
        reported = {each.id: (each.at, age) for each, age in self._reports.all()}
        asked = [
            cell
            for cell in cells
            if cell.status in _ASKED
            and cell.protocol is CellProtocol.HTTP1
            and not self._reports_itself(cell.id, *reported.get(cell.id, (0.0, float("inf"))))
        ]
        await asyncio.gather(*(self._scrape(cell) for cell in asked))
        self._taken_at = {cell.id: at for cell in asked if (at := self._taken_at.get(cell.id)) is not None}
        self._failing &= {cell.id for cell in asked}

    def _reports_itself(self, cell_id: str, at: float, age: float) -> bool:
        return self._taken_at.get(cell_id) != at and age < self._settings.capacity.stale_seconds

    async def _scrape(self, cell: Cell) -> None:
        async with self._at_once:
            try:
                async with asyncio.timeout(self._settings.scrape_timeout_seconds):
                    text = await self._fetch(cell)
                metrics = await asyncio.to_thread(read_metrics, cell.id, text, 0.0)
                if not metrics.uses:
                    raise ValidationError("metrics", "it says nothing of capacity: see docs/capacity.md for the names")
                self._taken_at[cell.id] = self._reports.take(cell.id, CellReport.of(metrics)).at
            except (CellplaneError, httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
                if cell.id not in self._failing:
                    log.warning("scrape_failed", cell=cell.id, error=str(error) or repr(error))
                self._failing.add(cell.id)
            else:
                self._failing.discard(cell.id)

    async def _fetch(self, cell: Cell) -> str:
        async with self._client.stream("GET", f"http://{host_of_url(cell.address)}:{cell.port}{PATH}") as response:
            if response.status_code != httpx2.codes.OK:
                raise ValidationError("metrics", f"expected 200 from {PATH}, found {response.status_code}")
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_BYTES:
                    raise ValidationError("metrics", f"expected at most {MAX_BYTES:,} bytes")
        return body.decode("utf-8", "replace")
