"""Rate limits: a bucket for each caller, of a bounded number of callers."""

import threading
from collections import OrderedDict
from collections.abc import Callable


class Buckets:
    """Token buckets by key: each fills at a rate up to a burst, and each request takes one.

    Safe to share between threads. A key that was silent for longest is forgotten first; it begins anew with a full
    bucket.

    Args:
        rps: requests per second.
        burst: requests at once.
        max_keys: most keys that are remembered.
        clock: seconds that only grow.
    """

    def __init__(self, rps: float, burst: float, max_keys: int, clock: Callable[[], float]) -> None:
        assert rps > 0
        assert burst >= 1
        self._rps = rps
        self._burst = burst
        self._max_keys = max_keys
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str) -> float:
        """Take one; 0 where there was one, else the seconds until there is."""
        return self._try(key, 1.0)

    def look(self, key: str) -> float:
        """What ``take`` would say, without taking."""
        return self._try(key, 0.0)

    def _try(self, key: str, amount: float) -> float:
        with self._lock:
            now = self._clock()
            level, at = self._levels.get(key, (self._burst, now))
            level = min(self._burst, level + (now - at) * self._rps)
            if level < 1:
                return (1 - level) / self._rps
            if amount:
                self._levels[key] = (level - amount, now)
                self._levels.move_to_end(key)
                if len(self._levels) > self._max_keys:
                    self._levels.popitem(last=False)
            return 0.0
