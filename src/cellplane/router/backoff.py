"""Pauses between tries: exponential, capped, with full jitter.

Source: Marc Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015.
"""

import random

_MAX_DOUBLINGS = 32


def pause_seconds(failures: int, *, base_seconds: float, cap_seconds: float, rng: random.Random) -> float:
    """How long to wait after so many failures in a row.

    Args:
        failures: ≥ 1.
        base_seconds: upper bound after the first failure; it doubles with each further one.
        cap_seconds: upper bound of every pause.

    Returns:
        A time between 0 and the bound, so that routers that failed together do not come back together.
    """
    bound = min(cap_seconds, base_seconds * 2 ** min(failures - 1, _MAX_DOUBLINGS))
    return rng.uniform(0, bound)
