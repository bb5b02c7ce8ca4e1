"""Named points at which a process can be made to die, so that tests see what it leaves behind."""

import os
import signal
from collections import Counter

FAULT_VARIABLE = "CELLPLANE_FAULT"
"""Environment variable that names the one point at which the process dies, ``name``, or ``name:3`` for when it comes
there for the third time. Never set in production."""

_passed: Counter[str] = Counter()


def fault_point(name: str) -> None:
    """Die here, as by ``kill -9``, where the environment names this point."""
    wanted = os.environ.get(FAULT_VARIABLE)
    if wanted is None:
        return
    point, _, time = wanted.partition(":")
    if point == name:
        _passed[name] += 1
        if _passed[name] >= int(time or 1):
            os.kill(os.getpid(), signal.SIGKILL)
