"""Named points where a test can make this process die as if by kill -9."""

import os
import signal

AFTER_INSERT = "after-insert"
"""The database has a notification and its key, neither the queue nor the caller knows it yet."""

AFTER_PROVIDER = "after-provider"
"""The provider has the notification, the database does not know it yet."""


def fault_point(name: str, active: str) -> None:
    """Die here, when ``active``, from ``Settings.fault``, names this point."""
    if name == active:
        os.kill(os.getpid(), signal.SIGKILL)
