"""Tables from where publishers put them: a folder, or a base URL that a bucket or a CDN serves. Nobody there waits."""

import asyncio
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

import httpx2

from cellplane.errors import ControlPlaneError, TableError, UnreachableError
from cellplane.publishing.manifest import MANIFEST, Part, Statement
from cellplane.publishing.settings import MAX_MANIFEST_BYTES
from cellplane.router.fetched import ACCEPTED_ENCODINGS, Fetched, read_bounded
from cellplane.router.settings import RouterSettings
from cellplane.router.trust import TrustedKeys


class Shelf(Protocol):
    """Where files of publications are, by name."""

    kind: str
    where: str

    async def manifest(self) -> bytes:
        """The manifest as it is now.

        Raises:
            UnreachableError, ControlPlaneError, TableError: as ``file``.
        """

    async def file(self, name: str, max_bytes: int) -> bytes:
        """A file.

        Raises:
            UnreachableError: it cannot be reached.
            ControlPlaneError: it is not there.
            TableError: it is larger.
        """

    async def close(self) -> None:
        """Close connections."""


class StaticSource:
    """Publications on a shelf: the manifest is verified first, then the files that it names are fetched."""

    def __init__(self, shelf: Shelf, trust: TrustedKeys, settings: RouterSettings) -> None:
        self.where = shelf.where
        self._shelf = shelf
        self._trust = trust
        self._settings = settings

    async def fetch_table(self, tag: str | None, base_sha256: str | None, epoch: int) -> Fetched | None:
        """The publication that is there, or None where it is known.

        Args:
            tag: of the table that is known.
            base_sha256: of the base that is here, and need not be fetched.
            epoch: of the table that is live; an older one is none.

        Raises:
            UnreachableError: it cannot be reached.
            ControlPlaneError: nothing is there.
            TableError: it is not what the router trusts, or too large.
        """
        data = await self._shelf.manifest()
        manifest = self._trust.read(data)
        assert manifest is not None, "what is read is there"
        statement = manifest.statement
        if statement.tag == tag or statement.epoch <= epoch:
            return None
        self._check_size(statement)
        files = [await self._part(part) for part in statement.parts if part.sha256 != base_sha256]
        return Fetched(b"".join(files), data, self._shelf.kind)

    async def close(self) -> None:
        """Close its connections."""
        await self._shelf.close()

    def _check_size(self, statement: Statement) -> None:
        size, limit = sum(part.size_bytes for part in statement.parts), self._settings.max_table_bytes
        if size > limit:
            raise TableError(f"the table is larger than {limit} bytes: its manifest says {size}")

    async def _part(self, part: Part) -> bytes:
        data = await self._shelf.file(part.file_name, part.size_bytes)
        if len(data) != part.size_bytes:
            raise TableError(f"{part.file_name} has {len(data)} bytes, its manifest says {part.size_bytes}")
        return data


class FolderShelf:
    """A folder."""

    kind = "folder"

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        self._folder = folder

    async def manifest(self) -> bytes:
        """See Shelf."""
        return await self.file(MANIFEST, MAX_MANIFEST_BYTES)

    async def file(self, name: str, max_bytes: int) -> bytes:
        """See Shelf."""
        try:
            return await asyncio.to_thread(_read, self._folder / name, max_bytes)
        except FileNotFoundError as error:
            raise ControlPlaneError(f"{self.where} has no {name}") from error
        except OSError as error:
            raise UnreachableError(f"{self.where} cannot be read: {error}") from error

    async def close(self) -> None:
        """Nothing is open."""


class UrlShelf:
    """A base URL; the manifest is asked for with its last entity tag."""

    kind = "url"

    def __init__(self, url: str, settings: RouterSettings) -> None:
        self.where = url
        self._settings = settings
        self._etag: str | None = None
        self._manifest = b""
        self._client = httpx2.AsyncClient(
            base_url=url.rstrip("/") + "/", timeout=settings.fetch_timeout_seconds, trust_env=False
        )

    async def manifest(self) -> bytes:
        """See Shelf."""
        headers = {} if self._etag is None else {"If-None-Match": self._etag}
        found, etag = await self._get(MANIFEST, MAX_MANIFEST_BYTES, headers)
        if found is not None:
            self._manifest, self._etag = found, etag
        return self._manifest

    async def file(self, name: str, max_bytes: int) -> bytes:
        """See Shelf."""
        found, _ = await self._get(name, max_bytes, {})
        assert found is not None, "without a tag nothing is unchanged"
        return found

    async def close(self) -> None:
        """See Shelf."""
        await self._client.aclose()

    async def _get(self, name: str, max_bytes: int, headers: dict[str, str]) -> tuple[bytes | None, str | None]:
        """A body and its entity tag; None for one that is as it was."""
        headers = {**headers, "Accept-Encoding": ACCEPTED_ENCODINGS}
        try:
            async with (
                asyncio.timeout(self._settings.transfer_timeout_seconds),
                self._client.stream("GET", name, headers=headers) as response,
            ):
                if response.status_code == HTTPStatus.NOT_MODIFIED and "If-None-Match" in headers:
                    return None, None
                if response.status_code != HTTPStatus.OK:
                    raise ControlPlaneError(f"{self.where} has no {name} for us: {response.status_code}")
                encoding = response.headers.get("content-encoding")
                return await read_bounded(response.aiter_raw(), encoding, max_bytes), response.headers.get("etag")
        except (httpx2.HTTPError, OSError) as error:
            raise UnreachableError(f"{self.where} cannot be reached: {error!r}") from error


def shelf_of(text: str, settings: RouterSettings) -> Shelf:
    """The shelf of a command line: a base URL or the path of a folder."""
    return UrlShelf(text, settings) if text.startswith(("http://", "https://")) else FolderShelf(Path(text).absolute())


def _read(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise TableError(f"{path} is larger than {max_bytes} bytes")
    return data
