"""Control planes that share a directory tell each other what routers, cells and movers report to each."""

import asyncio

import structlog

from cellplane.control.capacity_schemas import CellReport
from cellplane.control.move_schemas import MoveReport
from cellplane.control.registry import RouterRegistry
from cellplane.control.report_book import ReportBook
from cellplane.control.schemas import RouterReport
from cellplane.control.settings import ControlSettings
from cellplane.control.warden import Warden
from cellplane.directory import Directory
from cellplane.directory.reports import Reporter
from cellplane.errors import CellplaneError

log = structlog.get_logger()


async def exchange(
    directory: Directory,
    routers: RouterRegistry,
    cells: ReportBook[CellReport],
    moves: ReportBook[MoveReport],
    warden: Warden,
    *,
    settings: ControlSettings,
) -> None:
    """Give and get, until cancelled. A failure is said, and what was to be given is given by the next report."""
    while True:
        await asyncio.sleep(settings.exchange_seconds)
        try:
            reports = await asyncio.to_thread(_exchange, directory, routers, cells, moves, settings)
        except CellplaneError as error:
            log.warning("exchange_failed", error=str(error))
            await asyncio.sleep(settings.retry_seconds)
            continue
        for report in reports:
            warden.suspect(report.suspects)


def _exchange(
    directory: Directory,
    routers: RouterRegistry,
    cells: ReportBook[CellReport],
    moves: ReportBook[MoveReport],
    settings: ControlSettings,
) -> list[RouterReport]:
    """One round; the routers' reports that are news here. Blocking."""
    holder = settings.holder
    cells.absorb(directory.exchange_reports(Reporter.CELL, holder, cells.own(), settings.cell_forget_seconds))
    moves.absorb(directory.exchange_reports(Reporter.MOVE, holder, moves.own(), settings.move_forget_seconds))
    return routers.reports.absorb(
        directory.exchange_reports(Reporter.ROUTER, holder, routers.reports.own(), settings.router_forget_seconds)
    )
