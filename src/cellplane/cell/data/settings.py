"""Bounds of what a cell keeps for its tenants' requests."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdempotencySettings:
    """Bounds of idempotency keys."""

    keep_seconds: float = 86_400.0
    """How long an answer is kept, in seconds; a day, longer than any client tries again."""

    wait_seconds: float = 5.0
    """Longest wait for the first request with the same key, in seconds; 5, then the client is told to ask again."""

    max_key_bytes: int = 255
    """Bytes of a key; 255, far over a UUID."""

    max_answer_bytes: int = 65_536
    """Bytes of an answer as JSON; 64 KiB: what is larger is better kept as rows of its own."""

    max_forgotten: int = 1_000
    """Keys that one ``forget_expired`` deletes; 1,000, some milliseconds."""
