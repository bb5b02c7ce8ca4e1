"""Envoy's own error answers, as the same problem documents that the module writes.

The module marks the requests that it refuses in their dynamic metadata, which no client can write, so that what it
answered stays as it is. To a gRPC client Envoy says the same as a gRPC status.
"""

from http import HTTPStatus
from typing import Any

from cellplane.router.envoy.names import CELL_HEADER, METADATA, METADATA_REFUSED
from cellplane.router.settings import RouterSettings

_FLAGGED = (
    # flags, status, code, title, detail (https://www.envoyproxy.io/docs, access log, RESPONSE_FLAGS)
    (("UH",), 503, "cell-unavailable", "The tenant's cell has no healthy host."),
    (("UF", "URX"), 503, "cell-unreachable", "The tenant's cell does not accept connections."),
    (("UC", "UR", "LR", "UPE"), 503, "cell-failed", "The tenant's cell broke off its answer."),
    (("UT", "SI", "DT", "UMSDR"), 504, "cell-timeout", "The tenant's cell did not answer in time."),
    (("NC", "NR"), 503, "cell-unknown", "The router has no connection to the tenant's cell yet."),
    (("OM",), 503, "router-overloaded", "The router is short of memory or connections."),
)

_OVERLOADED = ("cell-overloaded", "The tenant's cell has too many requests under way.")
"""What Envoy's own limit of requests under way answers (UO)."""

_CEL_FILTER = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
_DENIED = "response.code_details.startsWith('jwt_authn_access_denied')"
_BY_TOKEN = (
    # condition, status, code, detail; the filter for tokens itself answers 401 or 403 to all of them
    (
        f"{_DENIED} && response.code_details.contains('fetch')",
        503,
        "token-keys-unavailable",
        "The keys of the token's issuer cannot be fetched now.",
    ),
    (_DENIED, 401, "invalid-token", "The token is not valid for this service, or is no longer."),
)

_BY_STATUS = (
    (400, "bad-request", "The request is not valid HTTP, or not one that this router takes."),
    (403, "upgrade-refused", "The router passes on no upgrade to another protocol."),
    (404, "no-route", "This router takes no such request: it routes by path and tenant."),
    (408, "request-timeout", "The request did not arrive in time."),
    (413, "body-too-large", "The request's body is too large."),
    (426, "upgrade-required", "The request needs a newer HTTP version."),
    (431, "headers-too-large", "The request's headers are too large."),
)

_NO_CODING = "The request's body is in a transfer coding that this router does not take."

_OTHER = "request-refused"
"""Code of whatever else Envoy refuses."""

_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    413: "Content Too Large",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def local_replies(settings: RouterSettings) -> dict[str, Any]:
    """Envoy's ``local_reply_config``."""
    retry_after = {"key": "retry-after", "value": str(settings.retry_after_seconds)}
    later = [{"header": retry_after, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]
    flagged = [
        {
            **_mapper({"response_flag_filter": {"flags": list(flags)}}, code, _TITLES[status], detail, status),
            "status_code": status,
            "headers_to_add": later,
        }
        for flags, status, code, detail in _FLAGGED
    ]
    code, detail = _OVERLOADED
    shed = {"header": {"key": "x-cell-shed", "value": f"%REQ({CELL_HEADER})%"}}
    overloaded = {
        **_mapper({"response_flag_filter": {"flags": ["UO"]}}, code, _TITLES[503], detail, 503),
        "status_code": 503,
        "headers_to_add": [*later, {**shed, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    }
    by_token = [
        {
            **_mapper(_details(condition), code, _TITLES[status], detail, status),
            "status_code": status,
            **({"headers_to_add": later} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}),
        }
        for condition, status, code, detail in _BY_TOKEN
    ]
    by_status = [
        _mapper(_status("EQ", status), code, _TITLES[status], detail, status) for status, code, detail in _BY_STATUS
    ]
    # A transfer coding that nobody knows. Envoy says 501 to it (RFC 9112, 6.1); but whoever counts by 5xx what routers
    # fail at would count what a client sends.
    coding = {**_mapper(_status("EQ", 501), "bad-request", _TITLES[400], _NO_CODING, 400), "status_code": 400}
    detail = "The router does not take this request."
    other = _mapper(_status("GE", 400), _OTHER, "Request refused", detail, "%RESPONSE_CODE%")
    return {"mappers": [*flagged, overloaded, *by_token, *by_status, coding, other]}


def _mapper(matches: dict[str, Any], code: str, title: str, detail: str, status: int | str) -> dict[str, Any]:
    return {
        "filter": {"and_filter": {"filters": [_NOT_REFUSED_BY_MODULE, matches]}},
        "body_format_override": {
            "content_type": "application/problem+json",
            "json_format": {
                "type": f"urn:cellplane:problem:{code}",
                "title": title,
                "status": status,
                "detail": detail,
                "code": code,
            },
        },
    }


def _status(operator: str, status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": f"cellplane.reply.{operator.lower()}_{status}"}
    return {"status_code_filter": {"comparison": {"op": operator, "value": value}}}


def _details(expression: str) -> dict[str, Any]:
    """A condition on Envoy's response code details, in CEL."""
    typed = {"@type": _CEL_FILTER, "expression": expression}
    return {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": typed}}


# True where the module said nothing: what it says is never "not refused".
_NOT_REFUSED_BY_MODULE = {
    "metadata_filter": {
        "matcher": {"filter": METADATA, "path": [{"key": METADATA_REFUSED}], "value": {"bool_match": False}},
        "match_if_key_not_found": True,
    }
}
