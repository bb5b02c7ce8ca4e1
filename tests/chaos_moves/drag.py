"""Holds up what replication applies: a follower that is always there within a hundredth of a second proves little."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psycopg

LOCK_SECONDS = (0.2, 0.6)
LONG_SECONDS = (0.8, 2.0)
FREE_SECONDS = (0.03, 0.1)
LOOK_SECONDS = 0.02
CONNECT_SECONDS = 2


class Drag:
    """Lets no rows be written in a database for moments, while they can be read.

    Args:
        follower: gives the URL of the one that follows now; None where none does.
        rng: for how long.
    """

    def __init__(self, follower: Callable[[], str | None], rng: random.Random) -> None:
        self._follower = follower
        self._rng = rng
        self._stop = threading.Event()
        self._now = threading.Lock()

    @contextmanager
    def pulling(self) -> Iterator[None]:
        """Do so now and then, until the block ends."""
        thread = threading.Thread(target=self._pull)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def pull_now(self) -> None:
        """Do so from now on, for a moment, which goes on when this returns."""
        pulled = threading.Event()
        threading.Thread(target=self._once, args=(pulled, LONG_SECONDS)).start()
        pulled.wait(CONNECT_SECONDS)

    def _pull(self) -> None:
        while not self._stop.is_set():
            self._once(threading.Event(), LOCK_SECONDS)
            self._stop.wait(self._rng.uniform(*FREE_SECONDS))

    def _once(self, pulled: threading.Event, seconds: tuple[float, float]) -> None:
        url = self._follower()
        with ExitStack() as stack:
            stack.callback(pulled.set)
            # One at a time: two together would be a moment without an end.
            stack.enter_context(self._now)
            if url is None:
                self._stop.wait(LOOK_SECONDS)
                return
            try:
                connection = stack.enter_context(psycopg.connect(url, connect_timeout=CONNECT_SECONDS))
                connection.execute("LOCK TABLE entries, log IN SHARE MODE")
                pulled.set()
                self._stop.wait(self._rng.uniform(*seconds))
                connection.rollback()
            except psycopg.OperationalError:
                # It is killed, or somebody wants these locks for good.
                self._stop.wait(LOOK_SECONDS)
