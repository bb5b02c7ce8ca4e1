"""Signs publications. Each is signed once, whoever asks for it."""

import threading
from collections.abc import Callable, Sequence

import structlog

from cellplane.publishing.keys import SigningKey
from cellplane.publishing.manifest import Manifest, Signature, Statement
from cellplane.routing import RoutingTable

log = structlog.get_logger()


class Signer:
    """The keys of a publisher. Safe to share between threads.

    Args:
        keys: one for each jurisdiction, several while keys change; none: manifests are not signed.
        clock: Unix seconds.
    """

    def __init__(self, keys: Sequence[SigningKey], clock: Callable[[], float]) -> None:
        self.keys = tuple(sorted({key.id: key for key in keys}.values(), key=lambda key: key.id))
        self._clock = clock
        self._lock = threading.Lock()
        self._last: tuple[str, Manifest] | None = None
        self._said: frozenset[str] = frozenset()

    def manifest(self, table: RoutingTable) -> Manifest:
        """The manifest of a table, signed by every key that has not expired."""
        with self._lock:
            if self._last is None or self._last[0] != table.tag:
                self._last = table.tag, self._sign(table)
            return self._last[1]

    def sign(self, data: bytes, jurisdiction: str) -> tuple[Signature, ...]:
        """The signatures of these bytes by every key that has not expired.

        Args:
            jurisdiction: only by the keys of this one, and those of all; empty for all keys.
        """
        return self._signatures(data, jurisdiction, int(self._clock()))

    def _signatures(self, data: bytes, jurisdiction: str, now: int) -> tuple[Signature, ...]:
        return tuple(
            Signature(key.id, key.sign(data))
            for key in self.keys
            if key.use.signs_for(jurisdiction) and not key.use.expired_at(now)
        )

    def _sign(self, table: RoutingTable) -> Manifest:
        now = int(self._clock())
        statement = Statement.of(table, published_at=now)
        expired = frozenset(key.id for key in self.keys if key.use.expired_at(now))
        if expired - self._said:
            log.error("signing_key_expired", keys=sorted(expired), left=len(self.keys) - len(expired))
        self._said = expired
        return Manifest(statement, self._signatures(statement.encode(), "", now))
