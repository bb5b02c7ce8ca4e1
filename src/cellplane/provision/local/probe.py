"""Waits until a server answers."""

import socket
import time
from collections.abc import Callable

import httpx2

from cellplane.errors import ProvisionError
from cellplane.provision.local.settings import LocalSettings


def wait_until(
    answers: Callable[[], bool], what: str, settings: LocalSettings, *, while_true: Callable[[], None]
) -> None:
    """Look again and again.

    Args:
        answers: whether it is up.
        what: its name in the message.
        while_true: raises when waiting makes no sense any more, as its process has ended.

    Raises:
        ProvisionError: it was not up in time.
    """
    deadline = time.monotonic() + settings.start_timeout_seconds
    while not answers():
        while_true()
        if time.monotonic() > deadline:
            raise ProvisionError(f"{what} was not up in {settings.start_timeout_seconds:.0f} s")
        time.sleep(settings.probe_interval_seconds)


def http_ok(url: str, settings: LocalSettings) -> bool:
    """Whether a GET is answered with 200."""
    try:
        # Of plain HTTP there is nothing to verify, and authorities take longer to read than the answer.
        answer = httpx2.get(url, timeout=settings.probe_timeout_seconds, trust_env=False, verify=False)
        return answer.status_code == 200
    except httpx2.HTTPError:
        return False


def tcp_open(host: str, port: int, settings: LocalSettings) -> bool:
    """Whether something listens."""
    try:
        socket.create_connection((host, port), settings.probe_timeout_seconds).close()
    except OSError:
        return False
    return True
