"""Where tables come from: the control plane, over HTTP."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx2

from cellplane.errors import ControlPlaneError, UnreachableError
from cellplane.publishing.manifest import from_header
from cellplane.router.fetched import ACCEPTED_ENCODINGS, Fetched, read_bounded
from cellplane.router.settings import RouterSettings


class ControlPlane:
    """A router's view of the control plane."""

    def __init__(self, settings: RouterSettings) -> None:
        self._settings = settings
        self._client = httpx2.AsyncClient(
            base_url=settings.control_url, timeout=settings.fetch_timeout_seconds, trust_env=False
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def fetch_table(self, tag: str | None, base_sha256: str | None, wait_seconds: float) -> Fetched | None:
        """The publication, with its manifest where it is signed, or None when it still has this tag after waiting.

        Args:
            tag: of the table that is known.
            base_sha256: of the base that is here: where the publication stands on it, its overlay is enough.

        Raises:
            UnreachableError: it cannot be reached.
            ControlPlaneError: it has no table.
            TableError: it sends one beyond the limit, or something else.

        The time-outs of the client bound each pause; the one around it bounds an answer that trickles for ever.
        """
        headers = {"Accept-Encoding": ACCEPTED_ENCODINGS}
        if tag is not None:
            headers["If-None-Match"] = f'"{tag}"'
        asked: dict[str, str | float] = {"wait": wait_seconds}
        if base_sha256 is not None:
            asked["base"] = base_sha256
        timeout = httpx2.Timeout(
            self._settings.fetch_timeout_seconds, read=wait_seconds + self._settings.fetch_timeout_seconds
        )
        try:
            async with (
                asyncio.timeout(wait_seconds + self._settings.transfer_timeout_seconds),
                self._client.stream("GET", "/v1/table", params=asked, headers=headers, timeout=timeout) as response,
            ):
                if response.status_code == HTTPStatus.NOT_MODIFIED:
                    return None
                if response.status_code != HTTPStatus.OK:
                    raise ControlPlaneError(f"the control plane has no table for us: {response.status_code}")
                limit = self._settings.max_table_bytes
                encoding = response.headers.get("content-encoding")
                said = response.headers.get("x-cellplane-manifest")
                manifest = None if said is None else from_header(said)
                return Fetched(await read_bounded(response.aiter_raw(), encoding, limit), manifest, "control")
        except (httpx2.HTTPError, OSError) as error:
            raise UnreachableError(f"the control plane cannot be reached: {error!r}") from error

    async def report(self, report: Mapping[str, Any]) -> None:
        """Say what this router runs.

        Raises:
            UnreachableError: it cannot be reached.
            ControlPlaneError: it does not take the report.
        """
        try:
            async with asyncio.timeout(self._settings.report_timeout_seconds):
                response = await self._client.post(f"/v1/routers/{self._settings.router_id}/report", json=dict(report))
        except (httpx2.HTTPError, OSError) as error:
            raise UnreachableError(f"the control plane cannot be reached: {error!r}") from error
        if response.status_code != HTTPStatus.OK:
            raise ControlPlaneError(
                f"the control plane refused our report: {response.status_code} {response.text[:200]}"
            )
