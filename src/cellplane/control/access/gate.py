"""The gate: tells who calls, counts how often, and keeps refused calls for the record."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import structlog
from starlette.requests import Request

from cellplane.control.access.buckets import Buckets
from cellplane.control.access.callers import Caller
from cellplane.control.access.oidc import Oidc
from cellplane.control.access.roles import CHANGING, Permission
from cellplane.control.access.settings import MAX_TOKEN_CHARS, AccessSettings
from cellplane.control.access.tokens import PREFIX, Token
from cellplane.control.access.verifier import TokenVerifier
from cellplane.control.metrics import Metrics
from cellplane.control.peers import PEER_NAMES
from cellplane.directory.access import AccessBook
from cellplane.directory.audit import AuditEntry
from cellplane.errors import AccessError, DirectoryError, ForbiddenError, RateLimitedError, UnauthenticatedError

log = structlog.get_logger()

HOW = "send `Authorization: Bearer cp_…`"
REASON_CHARS = 300
PATH_CHARS = 300


class Gate:
    """What every request passes before anything of it but its head is read.

    Args:
        book: the directory's tokens and audit.
        clock: seconds that only grow.
        now: the time, UTC.
    """

    def __init__(
        self,
        book: AccessBook,
        settings: AccessSettings,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.tokens = TokenVerifier(book, settings, clock, now)
        self._oidc = None if settings.oidc is None else Oidc(settings.oidc, clock, now)
        self._book = book
        self._metrics = metrics
        self._now = now
        burst = settings.burst_seconds
        self._reads = Buckets(settings.reads_rps, settings.reads_rps * burst, settings.max_callers, clock)
        self._writes = Buckets(settings.writes_rps, settings.writes_rps * burst, settings.max_callers, clock)
        self._failures = Buckets(settings.failures_rps, settings.failures_burst, settings.max_callers, clock)
        self._recorded = Buckets(settings.refusals_rps, settings.refusals_burst, 1, clock)
        self._refused: list[AuditEntry] = []

    async def identify(self, request: Request) -> Caller:
        """Who calls.

        Raises:
            UnauthenticatedError: they do not say, or not so that it can be believed.
            ForbiddenError: their identity provider gives them no role.
            RateLimitedError: their address was wrong too often.
            DirectoryError: the directory cannot be asked, and they were not here before.
        """
        credential = _bearer(request)
        source = source_of(request)
        try:
            if credential is None:
                raise UnauthenticatedError(f"the control plane has to know who asks: {HOW}")
            caller = await self._identify(credential, source)
            _require_own_certificate(caller, getattr(request.state, PEER_NAMES, None))
            return caller
        except UnauthenticatedError as error:
            self._failures.take(source)
            self._metrics.refused_callers.labels(reason="unauthenticated").inc()
            self.record(request, None, 401, str(error))
            raise
        except ForbiddenError as error:
            self._metrics.refused_callers.labels(reason="forbidden").inc()
            self.record(request, None, 403, str(error))
            raise

    async def _identify(self, credential: str, source: str) -> Caller:
        token = Token.parse(credential)
        if token is None and self._oidc is not None and not credential.startswith(PREFIX):
            if self._oidc.needs_look(credential):
                await asyncio.to_thread(self._oidc.look, credential)
            return self._oidc.verify(credential)
        if token is None:
            raise UnauthenticatedError(f"the token is none of this control plane's: {HOW}")
        record = self.tokens.find(token)
        if record is None:
            wait_seconds = self._failures.look(source)
            if wait_seconds and not self.tokens.was_known(token):
                self._metrics.refused_callers.labels(reason="rate-limited").inc()
                raise RateLimitedError(
                    f"{source} named wrong tokens too often: wait, and mend the token", math.ceil(wait_seconds)
                )
            record = await asyncio.to_thread(self.tokens.look_up, token)
        return Caller.of_token(record)

    def admit(self, request: Request, caller: Caller, permission: Permission, subject: str | None) -> None:
        """Raise where a caller may not do something, or not so often.

        Raises:
            ForbiddenError: they may not.
            RateLimitedError: not so often.
        """
        try:
            caller.require(permission, subject)
        except AccessError as error:
            self._metrics.refused_callers.labels(reason="forbidden").inc()
            self.record(request, caller, 403, str(error))
            raise
        kind, buckets = ("write", self._writes) if permission in CHANGING else ("read", self._reads)
        wait_seconds = buckets.take(caller.key)
        if wait_seconds:
            self._metrics.refused_callers.labels(reason="rate-limited").inc()
            raise RateLimitedError(
                f"{caller.name!r} sends too many requests of the kind {kind!r}: send fewer", math.ceil(wait_seconds)
            )

    def record(self, request: Request, caller: Caller | None, status: int, reason: str) -> None:
        """Keep a refused call for the audit, within bounds."""
        if self._recorded.take(""):
            self._metrics.audit_dropped.inc()
            return
        self._refused.append(entry_of(request, caller, status, reason, self._now()))

    async def run(self) -> None:
        """Write down refused calls and last uses, and forget old ones, until cancelled."""
        forget_at = 0.0
        while True:
            await asyncio.sleep(self.settings.note_seconds)
            try:
                await asyncio.to_thread(self.write)
                if time.monotonic() >= forget_at:
                    forget_at = time.monotonic() + self.settings.forget_seconds
                    await asyncio.to_thread(self._forget)
            except DirectoryError as error:
                log.warning("audit_not_written", error=str(error), waiting=len(self._refused))

    def write(self) -> None:
        """Write down what waits. Blocks.

        Raises:
            DirectoryError: the directory cannot be written; what waits goes on waiting, within bounds.
        """
        entries, uses = self._refused, self.tokens.take_uses()
        if not entries and not uses:
            return
        self._refused = []
        try:
            self._book.note(entries, uses)
        except DirectoryError:
            waiting = [*entries, *self._refused]
            self._refused = waiting[: self.settings.refusals_burst]
            self._metrics.audit_dropped.inc(len(waiting) - len(self._refused))
            raise

    def _forget(self) -> None:
        self._book.forget(
            audit_days=self.settings.audit_days,
            audit_rows=self.settings.max_audit_rows,
            dead_token_days=self.settings.dead_token_days,
        )


def entry_of(
    request: Request, caller: Caller | None, status: int, reason: str, at: datetime | None = None
) -> AuditEntry:
    """A call for the audit; without a time for one that its transaction stamps."""
    entry = AuditEntry(
        caller="" if caller is None else caller.name,
        role="" if caller is None else caller.role.value,
        source=source_of(request),
        method=_printable(request.method)[:16],
        path=_printable(request.scope["path"])[:PATH_CHARS],
        status=status,
        reason=reason[:REASON_CHARS],
    )
    return entry if at is None else replace(entry, at=at)


def _require_own_certificate(caller: Caller, names: frozenset[str] | None) -> None:
    """Raise UnauthenticatedError where a cell or router comes with the certificate of somebody else."""
    if caller.subject is not None and names is not None and caller.subject not in names:
        shown = ", ".join(sorted(names)) or "nobody"
        raise UnauthenticatedError(
            f"the token is that of {caller.subject!r}, and the certificate that of {shown}: each cell and router needs "
            "a certificate with its own name"
        )


def source_of(request: Request) -> str:
    """The address that a request came from; headers of proxies are not believed."""
    return request.client.host if request.client is not None else "unknown"


def _bearer(request: Request) -> str | None:
    values = request.headers.getlist("authorization")
    if not values:
        return None
    scheme, _, credential = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not 0 < len(credential) <= MAX_TOKEN_CHARS:
        raise UnauthenticatedError(f"the Authorization header is none that the control plane takes: {HOW}")
    return credential


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
