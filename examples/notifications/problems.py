"""Every refusal of the API as a problem document; see ``cellplane.cell.Problem``."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from cellplane.cell import Problem
from cellplane.cell.errors import InProgressError, KeyReuseError
from notifications.errors import DatabaseUnavailableError, OutboxUnavailableError
from notifications.settings import Limits

_CODES = {404: "not-found", 405: "method-not-allowed", 413: "body-too-large"}


def respond(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Make a problem an answer."""
    return Response(
        problem.encode(),
        status_code=problem.status,
        headers=dict(headers or {}),
        media_type=problem.content_type,
    )


def not_found(detail: str) -> Response:
    """Answer for what this tenant does not have, whether or not another one has it."""
    return respond(Problem("not-found", 404, "There is no such resource", detail))


def body_too_large() -> Problem:
    """Describe a body over the limit."""
    return Problem(
        "body-too-large",
        413,
        "The request's body is too large",
        f"Expected at most {Limits.request_body_max_bytes} bytes.",
    )


def install(app: FastAPI, retry_after_seconds: int) -> None:
    """Make an app answer every error with a problem document.

    Args:
        app: the app, before it serves.
        retry_after_seconds: of every 503.
    """

    async def database_unavailable(_request: Request, _error: Exception) -> Response:
        problem = Problem(
            "database-unavailable",
            503,
            "The cell's database is unavailable",
            "Nothing is known to be stored. Try again; the cell recovers by itself when its database is back.",
        )
        return respond(problem, {"retry-after": str(retry_after_seconds)})

    async def outbox_unavailable(_request: Request, _error: Exception) -> Response:
        problem = Problem(
            "outbox-full",
            503,
            "The cell cannot tell of more now",
            "Nothing is stored: as many events wait to leave this cell as may. Try again once some of them have left.",
        )
        return respond(problem, {"retry-after": str(retry_after_seconds)})

    async def key_in_use(_request: Request, _error: Exception) -> Response:
        detail = "The first request with it is still under way. Ask again with the same key."
        problem = Problem("idempotency-key-in-use", 409, "The Idempotency-Key is in use", detail)
        return respond(problem, {"retry-after": str(retry_after_seconds)})

    app.add_exception_handler(InProgressError, key_in_use)
    app.add_exception_handler(KeyReuseError, _key_reused)
    app.add_exception_handler(DatabaseUnavailableError, database_unavailable)
    app.add_exception_handler(OutboxUnavailableError, outbox_unavailable)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _internal_error)


async def _invalid_request(_request: Request, error: Exception) -> Response:
    errors = cast(RequestValidationError, error).errors()
    return respond(_invalid([_describe(one) for one in errors[: Limits.problem_max_errors]]))


async def _http_error(_request: Request, error: Exception) -> Response:
    error = cast(HTTPException, error)
    if error.status_code == 400:  # FastAPI's answer to a body whose bytes are no text, or too deep
        return respond(_invalid([{"field": "body", "message": "expected JSON in UTF-8"}]))
    if error.status_code == 413:
        return respond(body_too_large(), error.headers)
    title = HTTPStatus(error.status_code).phrase
    code = _CODES.get(error.status_code, f"http-{error.status_code}")
    return respond(Problem(code, error.status_code, title, f"{title}: see /openapi.json."), error.headers)


async def _key_reused(_request: Request, _error: Exception) -> Response:
    detail = "It came before with another notification: a new one needs a new key."
    return respond(Problem("idempotency-key-reused", 422, "The Idempotency-Key is another request's", detail))


async def _internal_error(_request: Request, _error: Exception) -> Response:
    return respond(Problem("internal-error", 500, "The app has a bug", "The log of this cell has the details."))


def _invalid(errors: Sequence[Mapping[str, str]]) -> Problem:
    fields = ", ".join(error["field"] for error in errors)
    return Problem("invalid-request", 422, "The request is invalid", f"Wrong: {fields}.", {"errors": errors})


def _describe(error: Mapping[str, Any]) -> dict[str, str]:
    """Name the field and the rule, but never repeat the value, nor the text around a place in it."""
    path = [str(part) for part in error["loc"]]
    message = str(error["msg"])
    if error["type"] == "json_invalid":
        path, message = path[:1], f"expected JSON, found an error at character {error['loc'][-1]}"
    return {"field": ".".join(path)[: Limits.field_path_max_chars], "message": message}
