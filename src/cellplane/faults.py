"""Named points at which a process can be made to die, so that tests see what it leaves behind."""

import os
import signal

FAULT_VARIABLE = "CELLPLANE_FAULT"
"""Environment variable that names the one point at which the process dies. Never set in production."""


def fault_point(name: str) -> None:
    """Die here, as by ``kill -9``, where the environment names this point."""
    if os.environ.get(FAULT_VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
