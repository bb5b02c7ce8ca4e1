"""Reports of how full a cell is, sent to the control plane.

A module of its own, since an HTTP client is more to import than all the rest of the SDK::

    from cellplane.cell.reporting import CapacityReporter

    CapacityReporter("https://control:9000", settings.cell_id, Path("/run/secrets/cell-token"), use).start()

A cell whose reports do not arrive goes on as before.
"""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from cellplane.cell.asking import Asking
from cellplane.cell.capacity import CellUse

REPORT_SECONDS = 10.0
"""Time between two reports, in seconds: a control plane takes twelve that are missing for one that says nothing."""

MAX_ANSWER_BYTES = 500
"""Most that is read of an answer: what it says is for a log."""

REPORT_TIMEOUT_SECONDS = 3.0
"""Longest that one takes, in seconds."""


class CapacityReporter(Asking):
    """Reports to a control plane, in a thread of its own, for as long as the process runs or until it is stopped.

    Args:
        control_url: of the control plane's API.
        cell_id: of this cell.
        token_file: holds a token of the role ``cell`` for this cell; read for each report, so that it can be renewed.
        use: asks; called in the thread, so it may wait.
        every_seconds: between two reports.
        tls: for https; None takes the system's authorities.
    """

    thread_name = "capacity-reporter"
    failures = (Exception,)  # a cell serves on, whatever becomes of its reports
    complaint = "no capacity report"

    def __init__(
        self,
        control_url: str,
        cell_id: str,
        token_file: Path,
        use: Callable[[], CellUse],
        *,
        every_seconds: float = REPORT_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(control_url, cell_id, "report", token_file, every_seconds=every_seconds, tls=tls)
        self._use = use

    def report(self) -> None:
        """Report once.

        Raises:
            OSError: it did not arrive, or was refused; the token's file cannot be read.
        """
        body = json.dumps(self._use().to_report()).encode()
        headers = {"content-type": "application/json", **self._authorization()}
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310 - the fleet's own
        try:
            with self._opener.open(request, timeout=REPORT_TIMEOUT_SECONDS) as answer:
                answer.read(MAX_ANSWER_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(MAX_ANSWER_BYTES).decode("utf-8", "replace")
            raise OSError(f"{error.code} {error.reason}: {said}") from error

    def _ask(self) -> None:
        self.report()
