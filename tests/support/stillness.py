"""Whether the machine stood still: its host took the processors away, and everything on it was late at once."""

import threading
import time

STOOD_STILL_SECONDS = 0.5
"""A process that slept longer than it asked for by this was kept from running."""

LOOK_SECONDS = 0.05


class Stillness:
    """Looks all the time how late this process wakes up."""

    def __init__(self) -> None:
        self._latest = 0.0
        threading.Thread(target=self._look, name="stillness", daemon=True).start()

    def begin(self) -> None:
        """Forget what was before."""
        self._latest = 0.0

    def stood_still(self) -> bool:
        """Whether it did since the beginning."""
        return self._latest >= STOOD_STILL_SECONDS

    def _look(self) -> None:
        while True:
            due = time.monotonic() + LOOK_SECONDS
            time.sleep(LOOK_SECONDS)
            self._latest = max(self._latest, time.monotonic() - due)
