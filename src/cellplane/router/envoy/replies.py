"""Envoy's own error answers, as the same problem documents that the module writes.

The module marks the requests that it refuses with a header, so that what it answered stays as it is.
"""

from typing import Any

from cellplane.router.envoy.names import REFUSAL_HEADER
from cellplane.router.settings import RouterSettings

_FLAGGED = (
    # flags, status, code, title, detail (https://www.envoyproxy.io/docs, access log, RESPONSE_FLAGS)
    (("UH",), 503, "cell-unavailable", "The tenant's cell has no healthy host."),
    (("UF", "URX"), 503, "cell-unreachable", "The tenant's cell does not accept connections."),
    (("UC", "UR", "LR", "UPE"), 503, "cell-failed", "The tenant's cell broke off its answer."),
    (("UO",), 503, "cell-overloaded", "The tenant's cell has too many requests under way."),
    (("UT", "SI", "DT", "UMSDR"), 504, "cell-timeout", "The tenant's cell did not answer in time."),
    (("NC", "NR"), 503, "cell-unknown", "The router has no connection to the tenant's cell yet."),
    (("OM",), 503, "router-overloaded", "The router is short of memory or connections."),
)

_BY_STATUS = (
    (400, "bad-request", "The request is not valid HTTP, or not one that this router takes."),
    (408, "request-timeout", "The request did not arrive in time."),
    (413, "body-too-large", "The request's body is too large."),
    (426, "upgrade-required", "The request needs a newer HTTP version."),
    (431, "headers-too-large", "The request's headers are too large."),
)

_TITLES = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def local_replies(settings: RouterSettings) -> dict[str, Any]:
    """Envoy's ``local_reply_config``."""
    retry_after = settings.retry_after_seconds
    flagged = [
        _mapper({"response_flag_filter": {"flags": list(flags)}}, status, code, detail, retry_after)
        for flags, status, code, detail in _FLAGGED
    ]
    by_status = [_mapper(_status_is(status), status, code, detail, retry_after) for status, code, detail in _BY_STATUS]
    return {"mappers": flagged + by_status}


def _mapper(matches: dict[str, Any], status: int, code: str, detail: str, retry_after: int) -> dict[str, Any]:
    not_refused_by_module = {"header_filter": {"header": {"name": REFUSAL_HEADER, "present_match": False}}}
    retry = {"header": {"key": "retry-after", "value": str(retry_after)}, "append_action": _OVERWRITE}
    return {
        "filter": {"and_filter": {"filters": [not_refused_by_module, matches]}},
        "status_code": status,
        "headers_to_add": [retry] if status in {503, 504} else [],
        "body_format_override": {
            "content_type": "application/problem+json",
            "json_format": {
                "type": f"urn:cellplane:problem:{code}",
                "title": _TITLES[status],
                "status": status,
                "detail": detail,
                "code": code,
            },
        },
    }


def _status_is(status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": f"cellplane.reply.{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


_OVERWRITE = "OVERWRITE_IF_EXISTS_OR_ADD"
