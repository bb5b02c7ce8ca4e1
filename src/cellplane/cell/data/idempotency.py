"""Idempotency keys per tenant: a request that comes twice is done once, and answered twice.

The key and the answer are rows of the cell's database, written in the transaction of the work itself: either all of it
is there, or nothing.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from cellplane.cell.context import current
from cellplane.cell.data.settings import IdempotencySettings
from cellplane.cell.data.steps import (
    AnyConnection,
    AsyncioConnection,
    Step,
    Steps,
    SyncConnection,
    is_autocommit,
    run,
    run_async,
    sqlstate,
)
from cellplane.cell.errors import IdempotencyError, InProgressError, KeyReuseError
from cellplane.cell.settings import is_visible

IDEMPOTENCY_TABLE = "cellplane_idempotency"

IDEMPOTENCY_SQL = """
CREATE TABLE IF NOT EXISTS cellplane_idempotency (
    tenant_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    answer text,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX IF NOT EXISTS cellplane_idempotency_expires ON cellplane_idempotency (expires_at);
"""
"""The migration that the table needs. It takes row-level security (``rls_sql``) as any other."""

_LOCK_NOT_AVAILABLE = "55P03"

_PATIENCE = "SELECT current_setting('lock_timeout'), set_config('lock_timeout', %(timeout)s, true)"
_PATIENCE_AS_BEFORE = "SELECT set_config('lock_timeout', %(timeout)s, true)"

# Waits for a transaction that has the same key. One that committed without an answer was not done: it is taken over.
_BEGIN = """
INSERT INTO cellplane_idempotency AS kept (tenant_id, key, fingerprint, expires_at)
VALUES (%(tenant_id)s, %(key)s, %(fingerprint)s, now() + make_interval(secs => %(keep_seconds)s))
ON CONFLICT (tenant_id, key) DO UPDATE
SET fingerprint = excluded.fingerprint, answer = NULL, expires_at = excluded.expires_at
WHERE kept.expires_at <= now() OR kept.answer IS NULL
RETURNING pg_current_xact_id()::text
"""

_KEPT = "SELECT fingerprint, answer FROM cellplane_idempotency WHERE tenant_id = %(tenant_id)s AND key = %(key)s"

_ANSWER = """
UPDATE cellplane_idempotency SET answer = %(answer)s
WHERE tenant_id = %(tenant_id)s AND key = %(key)s AND pg_current_xact_id()::text = %(transaction)s
RETURNING 1
"""

_FORGET = """
DELETE FROM cellplane_idempotency WHERE (tenant_id, key) IN (
    SELECT tenant_id, key FROM cellplane_idempotency
    WHERE expires_at <= now() ORDER BY expires_at LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
RETURNING 1
"""


_DEFAULT = IdempotencySettings()


class Run:
    """What comes of a key: the answer of the first request with it, or the work that is to be done now."""

    def __init__(self, answer: str | None, transaction: str = "") -> None:
        self._kept = answer
        self.transaction = transaction
        """That the work is done in, by PostgreSQL's id."""
        self._answer: str | None = None

    @property
    def is_repeat(self) -> bool:
        """Whether the request was done before. Then there is nothing to do but to answer again."""
        return self._kept is not None

    @property
    def answer(self) -> Any:
        """The answer of the first request, as ``json`` reads it.

        Raises:
            IdempotencyError: this is the first.
        """
        if self._kept is None:
            raise IdempotencyError("expected a repeated request, found the first: there is no answer before its work")
        return json.loads(self._kept)

    def keep(self, answer: Any) -> None:
        """Keep the answer of this request; without it, repeated ones are answered with None.

        Args:
            answer: what ``json`` can write.

        Raises:
            IdempotencyError: it has an answer already, or this is none that can be kept.
        """
        if self.is_repeat or self._answer is not None:
            raise IdempotencyError("expected one answer, found a second: keep() is called once, by the first request")
        try:
            self._answer = json.dumps(answer, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise IdempotencyError(f"expected an answer that JSON can hold, found: {error}") from error

    def to_keep(self) -> str:
        """The answer as JSON."""
        return "null" if self._answer is None else self._answer


@contextmanager
def idempotent(
    connection: SyncConnection, key: str, fingerprint: str, settings: IdempotencySettings = _DEFAULT
) -> Iterator[Run]:
    """Do the work of the block once for this key of the context's tenant.

    Within the caller's transaction, before its other statements; the default isolation (READ COMMITTED) is meant. What
    the block raises has to end the transaction: roll back, and the key is free again::

        with engine.begin() as connection, idempotent(connection, key, fingerprint_of(body)) as run:
            if run.is_repeat:
                return run.answer
            ...
            run.keep(answer)

    Args:
        connection: of psycopg or SQLAlchemy, or a session.
        key: what the client chose for its request.
        fingerprint: of that request, such as of ``fingerprint_of``.
        settings: bounds.

    Raises:
        KeyReuseError: the key came before with another request.
        InProgressError: the first request did not end within ``wait_seconds``.
        IdempotencyError: the key cannot be one, there is no transaction, or the answer is too long.
        NoCellContextError: there is no context.
    """
    this = _Key.of(connection, key, fingerprint, settings)
    found = run(connection, this.begin())
    yield found
    if not found.is_repeat:
        run(connection, this.end(found))


@asynccontextmanager
async def idempotent_async(
    connection: AsyncioConnection, key: str, fingerprint: str, settings: IdempotencySettings = _DEFAULT
) -> AsyncIterator[Run]:
    """As ``idempotent``, for asyncio."""
    this = _Key.of(connection, key, fingerprint, settings)
    found = await run_async(connection, this.begin())
    yield found
    if not found.is_repeat:
        await run_async(connection, this.end(found))


def forget_expired(connection: SyncConnection, settings: IdempotencySettings = _DEFAULT) -> int:
    """Delete answers that are kept no longer, ``max_forgotten`` at most; gives how many it were.

    For all tenants: inside of ``whole_cell``. Those that others delete just now are left to them.
    """
    return run(connection, _forget(settings))


async def forget_expired_async(connection: AsyncioConnection, settings: IdempotencySettings = _DEFAULT) -> int:
    """As ``forget_expired``, for asyncio."""
    return await run_async(connection, _forget(settings))


def fingerprint_of(*parts: str | bytes) -> str:
    """A fingerprint of a request, such as of its method, its path and its body."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _forget(settings: IdempotencySettings) -> Steps[int]:
    return len((yield Step(_FORGET, {"most": settings.max_forgotten})))


@dataclass(frozen=True, slots=True)
class _Key:
    """A tenant's key, and the statements about it."""

    tenant_id: str
    key: str
    fingerprint: str
    settings: IdempotencySettings

    @classmethod
    def of(cls, connection: AnyConnection, key: str, fingerprint: str, settings: IdempotencySettings) -> "_Key":
        tenant_id = current().tenant_id
        if not is_visible(key, settings.max_key_bytes):
            raise IdempotencyError(
                f"idempotency key: expected 1–{settings.max_key_bytes} visible ASCII characters, found {key[:40]!r}"
            )
        if not is_visible(fingerprint, 255):
            raise IdempotencyError("fingerprint: expected 1–255 visible ASCII characters, such as of fingerprint_of()")
        if is_autocommit(connection):
            raise IdempotencyError(
                "expected a transaction, which keeps the answer and the work together; found autocommit. Begin one"
            )
        return cls(tenant_id, key, fingerprint, settings)

    def begin(self) -> Steps[Run]:
        timeout_ms = max(1, round(self.settings.wait_seconds * 1_000))  # 0 would wait for ever
        [(before, _)] = yield Step(_PATIENCE, {"timeout": f"{timeout_ms}ms"})
        which = {"tenant_id": self.tenant_id, "key": self.key}
        try:
            is_first = yield Step(
                _BEGIN, {**which, "fingerprint": self.fingerprint, "keep_seconds": self.settings.keep_seconds}
            )
        except Exception as error:
            if sqlstate(error) != _LOCK_NOT_AVAILABLE:
                raise
            raise InProgressError(
                f"the first request with the idempotency key {self.key[:40]!r} did not end within "
                f"{self.settings.wait_seconds:g} s. Roll back, and ask again later with the same key"
            ) from error
        yield Step(_PATIENCE_AS_BEFORE, {"timeout": before})
        if is_first:
            return Run(None, is_first[0][0])
        [(fingerprint, answer)] = yield Step(_KEPT, which)
        if fingerprint != self.fingerprint:
            raise KeyReuseError(
                f"the idempotency key {self.key[:40]!r} came before with another request. A new request needs a new key"
            )
        return Run(answer)

    def end(self, found: Run) -> Steps[None]:
        answer = found.to_keep()
        if len(answer) > self.settings.max_answer_bytes:
            raise IdempotencyError(
                f"expected an answer of at most {self.settings.max_answer_bytes} bytes, found {len(answer)}. "
                "Keep what identifies it, and read the rest from its own rows"
            )
        which = {"tenant_id": self.tenant_id, "key": self.key, "transaction": found.transaction}
        kept = yield Step(_ANSWER, {**which, "answer": answer})
        if not kept:
            raise IdempotencyError(
                f"idempotency key {self.key[:40]!r}: expected one transaction from the block's beginning to its end, "
                "found another at its end. Commit or roll back after the block, not within"
            )
