"""What nats-py raises where a server cannot be reached, or refuses; and how that is told."""

import asyncio

import nats.errors

NATS_FAILURES = (nats.errors.Error, OSError, TimeoutError, asyncio.IncompleteReadError)
"""What nats-py raises when it cannot reach the server or the server refuses."""

CLOSING_FAILURES = (*NATS_FAILURES, AttributeError, RuntimeError, AssertionError)
"""What it raises where a connection that may be broken already is closed: nothing depends on it."""


def told(error: BaseException) -> str:
    """What happened, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


async def ignored(_error: Exception) -> None:
    """For nats-py's callback: every failure also ends the connection or the call, which is where it is told."""
