"""How hard tests try what they make up: ``make test-long`` tries harder."""

import os

DEPTH = int(os.environ.get("CELLPLANE_TEST_DEPTH", "1"))
"""By how much more than ``make test`` does."""


def examples(usual: int) -> int:
    """How many examples of something to try, where ``make test`` tries so many."""
    return usual * DEPTH
