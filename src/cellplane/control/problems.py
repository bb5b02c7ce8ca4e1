"""Every error of the API as a problem document (RFC 9457)."""

import json
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from cellplane.control.access.needs import caller_of
from cellplane.control.api.asking import service_of
from cellplane.control.feed import TooManyWatchersError
from cellplane.control.publisher import NotPublishedError
from cellplane.control.settings import ControlSettings
from cellplane.errors import (
    AccessError,
    BusyError,
    CellplaneError,
    ConflictError,
    DirectoryError,
    DiskError,
    FencedError,
    ForbiddenError,
    ForeignLawConflictError,
    ForeignLawError,
    KeyReusedError,
    NoCellError,
    NotFoundError,
    PreconditionError,
    RateLimitedError,
    UnknownOutcomeError,
    ValidationError,
)

log = structlog.get_logger()

_CODES = {
    HTTPStatus.NOT_FOUND: "no-such-route",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
}


def problem(
    status: HTTPStatus,
    code: str,
    detail: str,
    *,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, object] | None = None,
) -> JSONResponse:
    """A problem document as a response; ``members`` are those of this code alone."""
    document: dict[str, object] = {
        "type": f"urn:cellplane:problem:{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
    }
    if field is not None:
        document["field"] = field
    document.update(members or {})
    return _ProblemResponse(document, status, dict(headers or {}), media_type="application/problem+json")


class _ProblemResponse(JSONResponse):
    """JSON that may tell of text which UTF-8 cannot: a lone surrogate stands there as JSON escapes it."""

    def render(self, content: object) -> bytes:
        """The body."""
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def known_problem(error: CellplaneError, retry_after_seconds: int) -> JSONResponse:
    """What an error of ours is answered with."""
    retry_after = {"Retry-After": str(retry_after_seconds)}
    if isinstance(error, AccessError):
        return _refusal(error)
    if isinstance(error, ForeignLawError | ForeignLawConflictError):
        return _foreign_law(error)
    if isinstance(error, ValidationError):
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-resource", error.message, field=error.field)
    if isinstance(error, NotFoundError):
        return problem(HTTPStatus.NOT_FOUND, "not-found", str(error))
    if isinstance(error, NoCellError):
        cells = [{"cell": cell, "reason": reason} for cell, reason in error.cells]
        return problem(HTTPStatus.CONFLICT, "no-cell", str(error), members={"cells": cells})
    if isinstance(error, KeyReusedError):
        return problem(HTTPStatus.CONFLICT, "idempotency-key-reused", str(error))
    if isinstance(error, ConflictError):
        return problem(HTTPStatus.CONFLICT, "conflict", str(error))
    if isinstance(error, PreconditionError):
        return problem(HTTPStatus.PRECONDITION_FAILED, "precondition-failed", str(error))
    if isinstance(error, DirectoryError):
        return _directory_problem(error, retry_after)
    if isinstance(error, TooManyWatchersError):
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "too-many-watchers", str(error), headers=retry_after)
    if isinstance(error, NotPublishedError):
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "no-table", str(error), headers=retry_after)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", str(error))


def _foreign_law(error: ForeignLawError | ForeignLawConflictError) -> JSONResponse:
    if isinstance(error, ForeignLawError):
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "foreign-law", error.message, field=error.field)
    return problem(HTTPStatus.CONFLICT, "foreign-law", str(error))


def _directory_problem(error: DirectoryError, retry_after: dict[str, str]) -> JSONResponse:
    """The directory cannot be changed, or asked, now."""
    if isinstance(error, FencedError):
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "not-the-leader", str(error), headers=retry_after)
    if isinstance(error, BusyError):
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "directory-busy", str(error), headers=retry_after)
    if isinstance(error, UnknownOutcomeError):
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "outcome-unknown", str(error), headers=retry_after)
    if isinstance(error, DiskError):
        log.error("directory_not_writable", error=str(error))
        if error.is_full:
            return problem(HTTPStatus.INSUFFICIENT_STORAGE, "disk-full", str(error), headers=retry_after)
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "disk-failing", str(error), headers=retry_after)
    log.error("directory_failed", error=str(error))
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "directory-unavailable", str(error), headers=retry_after)


def _refusal(error: AccessError) -> JSONResponse:
    if isinstance(error, RateLimitedError):
        headers = {"Retry-After": str(error.retry_after_seconds)}
        return problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", str(error), headers=headers)
    if isinstance(error, ForbiddenError):
        return problem(HTTPStatus.FORBIDDEN, "forbidden", str(error))
    # RFC 6750, 3.
    headers = {"WWW-Authenticate": 'Bearer realm="cellplane"'}
    return problem(HTTPStatus.UNAUTHORIZED, "unauthenticated", str(error), headers=headers)


def install(app: FastAPI, settings: ControlSettings, methods_of: Callable[[Scope], Collection[str]]) -> None:
    """Answer every error of this app with a problem document.

    Args:
        methods_of: what may be asked of a request's path.
    """

    @app.exception_handler(CellplaneError)
    async def known(request: Request, error: CellplaneError) -> JSONResponse:
        answer = known_problem(error, settings.retry_after_seconds)
        if isinstance(error, ForeignLawError | ForeignLawConflictError):
            service = await service_of(request)
            service.metrics.foreign_laws.inc()
            service.gate.record(request, caller_of(request), answer.status_code, str(error))
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"{field}: {first['msg']}", field=field)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        headers = dict(error.headers or {})
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(sorted(methods_of(request.scope)))
        return problem(status, _CODES.get(status, "bad-request"), str(error.detail), headers=headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("request_failed", method=request.method, path=request.url.path, error=repr(error))
        detail = "the control plane failed; see its log"
        # The server closes the connection behind such an answer: whoever asks on, on it, would find it reset.
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", detail, headers={"Connection": "close"})
