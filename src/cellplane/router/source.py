"""Where tables come from: the control plane, over HTTP."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx2

from cellplane.control_tls import ControlTls
from cellplane.credentials import TokenFile
from cellplane.errors import ControlPlaneError, UnreachableError
from cellplane.publishing.manifest import from_header
from cellplane.router.fetched import ACCEPTED_ENCODINGS, Fetched, read_bounded
from cellplane.router.settings import RouterSettings


class ControlPlane:
    """A router's view of the control plane.

    Raises:
        ControlPlaneError: a file of its TLS cannot be used.
    """

    def __init__(self, settings: RouterSettings) -> None:
        self._settings = settings
        self._token_file = None if settings.token_file is None else TokenFile(settings.token_file)
        tls = ControlTls(settings.control_ca, settings.control_cert, settings.control_key)
        self._client = httpx2.AsyncClient(
            base_url=settings.control_url,
            timeout=settings.fetch_timeout_seconds,
            trust_env=False,
            # Of plain HTTP there is nothing to verify.
            verify=tls.context() if settings.control_url.startswith("https:") else False,
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
        headers = {"Accept-Encoding": ACCEPTED_ENCODINGS, **self._credentials()}
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
                self._require_known(response)
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
        url, headers = f"/v1/routers/{self._settings.router_id}/report", self._credentials()
        try:
            async with asyncio.timeout(self._settings.report_timeout_seconds):
                response = await self._client.post(url, json=dict(report), headers=headers)
        except (httpx2.HTTPError, OSError) as error:
            raise UnreachableError(f"the control plane cannot be reached: {error!r}") from error
        self._require_known(response)
        if response.status_code != HTTPStatus.OK:
            raise ControlPlaneError(
                f"the control plane refused our report: {response.status_code} {response.text[:200]}"
            )

    def _credentials(self) -> dict[str, str]:
        """The header that says who asks.

        Raises:
            ControlPlaneError: the token's file cannot be read.
        """
        return {} if self._token_file is None else {"Authorization": f"Bearer {self._token_file.read()}"}

    def _require_known(self, response: httpx2.Response) -> None:
        if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            has = "it was given none" if self._token_file is None else "that of its --token-file is not taken"
            raise ControlPlaneError(
                f"the control plane does not let this router in ({response.status_code}): it needs a token of the "
                f"role router for {self._settings.router_id!r}, and {has}. Make one with `cellplane token create`; a "
                "renewed file is read without a restart"
            )
