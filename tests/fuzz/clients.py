"""Several processes that attack the same routers, and what they found together."""

import multiprocessing
import time
from collections import Counter
from typing import Any

from fuzz.attack import BATCH, Attacker, Tally
from fuzz.corpus import Corpus
from fuzz.town import Town

SHARE = 2_000
"""Requests that a process is given at once."""

assert SHARE % BATCH == 0, "requests that are made up together are sent by one process"


def run(found: Town, seed: int, requests: int, clients: int) -> dict[str, Any]:
    """Send them all, and say what came of it."""
    began = time.monotonic()
    shares = [(start, min(start + SHARE, requests)) for start in range(0, requests, SHARE)]
    total = Tally()
    # Spawned: they share nothing with this process, which has threads.
    with multiprocessing.get_context("spawn").Pool(clients, _begin, (seed, found.corpus, found.ports)) as pool:
        for done, tally in enumerate(pool.imap_unordered(_send, shares), 1):
            total.join(tally)
            if done % 25 == 0 or done == len(shares):
                seconds = time.monotonic() - began
                print(f"{total.requests:>9} requests, {total.failed} failed, {seconds:.0f} s", flush=True)
    violations = found.violations()
    faults = found.faults()
    return {
        "passed": not total.failed and not violations and not faults and total.requests == requests,
        "seed": seed,
        "requests": total.requests,
        "served": total.served,
        "failed": total.failed,
        "wrong_at_cells": len(violations),
        "statuses": {str(status): count for status, count in sorted(total.statuses.items())},
        "classes": dict(sorted(_by_class(total.counts).items())),
        "tricks": dict(sorted(total.counts.items())),
        "faults": faults,
        "failures": total.failures,
        "violations": violations,
        "clients": clients,
        "seconds": round(time.monotonic() - began, 1),
    }


def _by_class(counts: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for row, count in counts.items():
        trick, _, what = row.partition(": ")
        found[f"{trick.partition('.')[0]}: {what}"] += count
    return found


_attacker: Attacker | None = None


def _begin(seed: int, corpus: Corpus, ports: dict[str, int]) -> None:
    global _attacker  # noqa: PLW0603  # a process of the pool has one
    _attacker = Attacker(seed, corpus, ports)


def _send(share: tuple[int, int]) -> Tally:
    assert _attacker is not None, "the process has begun"
    _attacker.tally = Tally()
    _attacker.run(range(*share))
    return _attacker.tally
