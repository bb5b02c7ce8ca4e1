"""Verifies tokens: a look at the directory every few seconds, and at what was known where the directory is gone."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cellplane.control.access.settings import AccessSettings
from cellplane.control.access.tokens import Token
from cellplane.directory.access import AccessBook
from cellplane.directory.tokens import TokenRecord
from cellplane.errors import DirectoryError, UnauthenticatedError

REFUSED = "the token is not known, or was revoked, or has expired"


@dataclass(frozen=True, slots=True)
class _Known:
    record: TokenRecord
    at: float


class TokenVerifier:
    """Says whose a token is. Safe to share between threads.

    Args:
        book: has the tokens.
        clock: seconds that only grow.
        now: the time, UTC.
    """

    def __init__(
        self, book: AccessBook, settings: AccessSettings, clock: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        self._book = book
        self._settings = settings
        self._clock = clock
        self._now = now
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._uses: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def find(self, token: Token) -> TokenRecord | None:
        """Whose it is, where that was asked a moment ago; None where ``look_up`` has to.

        Raises:
            UnauthenticatedError: it is known, and does not count any more.
        """
        known = self._remembered(token)
        if known is None or self._clock() - known.at > self._settings.token_cache_seconds:
            return None
        return self._live(known.record)

    def was_known(self, token: Token) -> bool:
        """Whether this very token was good when it was last seen."""
        return self._remembered(token) is not None

    def look_up(self, token: Token) -> TokenRecord:
        """Whose it is, by the directory, or, where that cannot be asked, as it was. Blocks.

        Raises:
            UnauthenticatedError: it is nobody's, was revoked, or has expired.
            DirectoryError: the directory cannot be asked, and the token is not remembered.
        """
        asked_at = self._clock()
        try:
            record = self._book.token(token.id)
        except DirectoryError:
            known = self._remembered(token)
            if known is None or asked_at - known.at > self._settings.token_offline_seconds:
                raise
            return self._live(known.record)
        if not token.is_of(record):
            raise UnauthenticatedError(REFUSED)
        assert record is not None, "a token is of no record that is not there"
        with self._lock:
            self._known[token.id] = _Known(record, asked_at)
            self._known.move_to_end(token.id)
            while len(self._known) > self._settings.max_cached_tokens:
                self._known.popitem(last=False)
        return self._live(record)

    def forget(self, token_id: str) -> None:
        """Ask the directory again, the next time."""
        with self._lock:
            self._known.pop(token_id, None)

    def take_uses(self) -> dict[str, datetime]:
        """When tokens were last used, of those where that is news."""
        with self._lock:
            uses, self._uses = self._uses, {}
        return uses

    def _remembered(self, token: Token) -> _Known | None:
        with self._lock:
            known = self._known.get(token.id)
        return known if token.is_of(None if known is None else known.record) else None

    def _live(self, record: TokenRecord) -> TokenRecord:
        now = self._now()
        if not record.is_live(now):
            raise UnauthenticatedError(REFUSED)
        coarse = timedelta(seconds=self._settings.last_used_seconds)
        if record.last_used_at is None or now - record.last_used_at >= coarse:
            with self._lock:
                self._uses.setdefault(record.id, now)
        return record
