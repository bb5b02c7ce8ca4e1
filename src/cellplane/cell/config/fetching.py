"""Brings a cell's configuration from the control plane to its file; what happens without one is the file's affair.

One process of a cell, or a sidecar, is enough: all others look at the file.
"""

import http.client
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from cellplane.cell.asking import Asking
from cellplane.cell.config.document import Document
from cellplane.cell.config.settings import ConfigLimits
from cellplane.cell.errors import ConfigError
from cellplane.durable import write_durably


class ConfigFetcher(Asking):
    """Asks the control plane now and then, in a thread of its own, and writes what is new.

    Args:
        control_url: of the control plane's API.
        cell_id: of this cell.
        token_file: holds a token of the role ``cell`` for this cell; read each time, so that it can be renewed.
        path: of the document; written whole or not at all.
        tls: for https; None takes the system's authorities.
    """

    thread_name = "cell-config-fetcher"
    failures = (OSError, ConfigError, http.client.HTTPException)
    complaint = "no configuration from the control plane, the last one counts"

    def __init__(
        self,
        control_url: str,
        cell_id: str,
        token_file: Path,
        path: Path,
        *,
        limits: ConfigLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        limits = limits or ConfigLimits()
        super().__init__(control_url, cell_id, "config", token_file, every_seconds=limits.fetch_seconds, tls=tls)
        self._path = path
        self._limits = limits
        self._tag = ""

    def fetch(self) -> bool:
        """Ask once; returns whether the file was written.

        Raises:
            OSError: nobody answers, the token's file cannot be read, or the document cannot be written.
            ConfigError: what came is no document of this cell.
        """
        headers = self._authorization()
        if self._tag and self._path.exists():
            headers["if-none-match"] = self._tag
        request = urllib.request.Request(self._url, headers=headers)  # noqa: S310  # the fleet's own
        try:
            with self._opener.open(request, timeout=self._limits.fetch_timeout_seconds) as answer:
                data, tag = answer.read(self._limits.max_bytes + 1), answer.headers.get("etag", "")
        except urllib.error.HTTPError as error:
            with error:
                if error.code == http.HTTPStatus.NOT_MODIFIED:
                    return False
            raise OSError(f"{error.code} {error.reason}") from error
        if len(data) > self._limits.max_bytes:
            raise ConfigError("", f"expected at most {self._limits.max_bytes:,} bytes")
        Document.parse(data).check_cell(self._cell_id)
        write_durably(self._path, data)
        self._tag = tag
        return True

    def _ask(self) -> None:
        self.fetch()
