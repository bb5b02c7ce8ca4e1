"""Fetches the keys of token issuers, so that the proxy never does.

What is fetched is checked and kept on disk (``local_files``): an issuer whose server is down, or that answers nonsense,
changes nothing, also over a restart. A proxy that fetched by itself would go on believing tokens that it had verified
before their key was withdrawn.
"""

import asyncio
import ssl
from collections.abc import Callable

import httpx2
import structlog

from cellplane.errors import ValidationError
from cellplane.router.local_files import MAX_LOCAL_FILE_BYTES, LocalFolder
from cellplane.router.settings import RouterSettings
from cellplane.routing import RoutingTable

log = structlog.get_logger()


class JwksFetcher:
    """Keeps the keys of a table's issuers fresh.

    Args:
        folder: where they are kept.
        clock: seconds, monotonic.
    """

    def __init__(self, settings: RouterSettings, folder: LocalFolder, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._folder = folder
        self._clock = clock
        self._due: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self._client: httpx2.AsyncClient | None = None

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()

    async def refresh(self, table: RoutingTable) -> int:
        """Fetch those that are due, and return how many could not be fetched."""
        urls = {provider.jwks_url for provider in table.edge.jwt if provider.jwks_url}
        self._due = {url: self._due.get(url, 0.0) for url in urls}
        due = [url for url, at in self._due.items() if self._clock() >= at]
        return sum(await asyncio.gather(*map(self._fetch, due)))

    async def _fetch(self, url: str) -> bool:
        """Whether it failed."""
        try:
            async with asyncio.timeout(self._settings.jwks_timeout_seconds):
                self._folder.keep_jwks(url, await self._text(url))
        except (httpx2.HTTPError, OSError, ValidationError, UnicodeDecodeError) as error:
            # asyncio's own time-out is an OSError without words.
            reason = str(error) or f"no answer in {self._settings.jwks_timeout_seconds} s"
            if self._said.get(url) != reason:
                log.error("jwks_not_fetched", url=url, error=reason, known_keys_go_on=self._folder.has_jwks(url))
            self._said[url] = reason
            self._due[url] = self._clock() + self._settings.jwks_retry_seconds
            return True
        if self._said.pop(url, None) is not None:
            log.info("jwks_fetched", url=url)
        self._due[url] = self._clock() + self._settings.jwks_refresh_seconds
        return False

    async def _text(self, url: str) -> str:
        if self._client is None:
            # Whoever can pretend to be this server signs for every tenant: no proxy, no redirect, no other authority.
            authorities = ssl.create_default_context(cafile=self._settings.ca_file)
            self._client = httpx2.AsyncClient(verify=authorities, trust_env=False, follow_redirects=False)
        async with self._client.stream("GET", url, headers={"Accept": "application/json"}) as response:
            response.raise_for_status()
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_LOCAL_FILE_BYTES:
                    raise ValidationError(url, f"expected at most {MAX_LOCAL_FILE_BYTES} bytes")
            return data.decode()
