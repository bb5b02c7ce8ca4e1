"""All sources of a router's tables: the control plane, and where it cannot be reached, what publishers left."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any, Self

import structlog

from cellplane.errors import ControlPlaneError, TableError, UnreachableError
from cellplane.router.fetched import Fetched
from cellplane.router.settings import RouterSettings
from cellplane.router.source import ControlPlane
from cellplane.router.static import StaticSource, shelf_of
from cellplane.router.trust import TrustedKeys

log = structlog.get_logger()


class Sources:
    """In the order in which they are asked.

    Args:
        control: the control plane; None where there is none.
        statics: the others.
        rng: makes the times of looks differ from other routers'.
    """

    def __init__(
        self,
        control: ControlPlane | None,
        statics: tuple[StaticSource, ...],
        settings: RouterSettings,
        rng: random.Random,
    ) -> None:
        assert control is not None or statics, "tables come from somewhere"
        self._control = control
        self._statics = statics
        self._settings = settings
        self._rng = rng

    @classmethod
    def of(cls, settings: RouterSettings, trust: TrustedKeys, rng: random.Random) -> Self:
        """The router's."""
        statics = tuple(StaticSource(shelf_of(text, settings), trust, settings) for text in settings.sources)
        return cls(ControlPlane(settings) if settings.control_url else None, statics, settings, rng)

    async def close(self) -> None:
        """Close their connections."""
        if self._control is not None:
            await self._control.close()
        for static in self._statics:
            await static.close()

    async def fetch_table(
        self, tag: str | None, base_sha256: str | None, epoch: int, wait_seconds: float
    ) -> Fetched | None:
        """The next publication, or None when there is none after waiting.

        Args:
            tag: of the table that is known; None: there is none.
            base_sha256: of the base that is here.
            epoch: of the table that is live, 0 where none is: what is older elsewhere is not looked at.
            wait_seconds: how long the control plane may wait for one.

        Raises:
            ControlPlaneError: no source can be reached, or none has a table.
            TableError: what a source has cannot be taken.
        """
        failure: ControlPlaneError | TableError | None = None
        if self._control is not None:
            try:
                return await self._control.fetch_table(tag, base_sha256, wait_seconds)
            except ControlPlaneError as error:
                failure = error
        for static in self._statics:
            try:
                found = await static.fetch_table(tag, base_sha256, epoch)
            except (ControlPlaneError, TableError) as error:
                log.warning("source_failed", source=static.where, error=str(error))
                # That somebody offers what must not be taken is worse than that nobody answers.
                failure = error if failure is None or isinstance(error, TableError) else failure
                continue
            if found is not None:
                return found
        if failure is not None:
            raise failure
        if tag is None:
            raise UnreachableError("no source has a table")
        await asyncio.sleep(self._settings.source_interval_seconds * self._rng.uniform(0.5, 1.5))
        return None

    async def report(self, report: Mapping[str, Any]) -> None:
        """Tell the control plane what this router runs, where there is one.

        Raises:
            ControlPlaneError: it cannot be reached, or does not take the report.
        """
        if self._control is not None:
            await self._control.report(report)
