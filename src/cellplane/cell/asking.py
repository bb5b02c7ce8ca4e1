"""How a cell asks the control plane: by the standard library's client, past proxies, and following no redirect."""

import logging
import ssl
import threading
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from cellplane.cell.settings import check_cell_id

_log = logging.getLogger("cellplane.cell")


def opener(tls: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """A client whose token goes to the control plane, or nowhere.

    Args:
        tls: for https; None takes the system's authorities.
    """
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls), _NoRedirect()
    )


class Asking(ABC):
    """Asks the control plane something of a cell now and then, in a thread of its own. That it fails is said once,
    until it does not.

    Args:
        control_url: of the control plane's API.
        cell_id: of this cell.
        what: the end of the path behind the cell's.
        token_file: holds a token of the role ``cell`` for this cell; read each time, so that it can be renewed.
        every_seconds: from the end of one to the next.
        tls: for https; None takes the system's authorities.
    """

    thread_name: ClassVar[str]
    failures: ClassVar[tuple[type[Exception], ...]]
    """What is said, and survived."""
    complaint: ClassVar[str]
    """What is said of one."""

    def __init__(
        self,
        control_url: str,
        cell_id: str,
        what: str,
        token_file: Path,
        *,
        every_seconds: float,
        tls: ssl.SSLContext | None,
    ) -> None:
        check_cell_id("cell_id", cell_id)
        self._url = f"{control_url.rstrip('/')}/v1/cells/{cell_id}/{what}"
        self._cell_id = cell_id
        self._token_file = token_file
        self._every_seconds = every_seconds
        self._opener = opener(tls)
        self._failing = False
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin; a second time begins a second thread."""
        threading.Thread(target=self._run, name=self.thread_name, daemon=True).start()

    def stop(self) -> None:
        """End after the question that is under way."""
        self._stopped.set()

    @abstractmethod
    def _ask(self) -> None:
        """Ask once."""

    def _authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._token_file.read_text().strip()}"}

    def _run(self) -> None:
        while True:
            try:
                self._ask()
            except self.failures as error:
                if not self._failing:
                    _log.warning("%s: %s", self.complaint, str(error) or repr(error))
                self._failing = True
            else:
                self._failing = False
            if self._stopped.wait(self._every_seconds):
                return


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none."""
