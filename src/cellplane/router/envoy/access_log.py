"""Renders Envoy's access log: one JSON line a request, what was decided about it, and how it ended."""

from typing import Any

from cellplane.router.settings import RouterSettings

_FIELDS = {
    "time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ)%",
    "status": "%RESPONSE_CODE%",
    "cell": "%REQ(X-CELL-ID)%",
    "pool": "%REQ(X-CELL-POOL)%",
    "tenant": "%REQ(X-TENANT-ID)%",
    "reason": "%REQ(X-CELL-REASON)%",
    "epoch": "%REQ(X-CELL-EPOCH)%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "duration_ms": "%DURATION%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
}
"""Never the query, a cookie, a token or a body: those may hold secrets."""

_FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
_MILLIONTHS = 1_000_000


def access_log(settings: RouterSettings) -> list[dict[str, Any]]:
    """Envoy's ``access_log``; none where none is wanted."""
    if settings.access_log is None:
        return []
    entry: dict[str, Any] = {
        "name": "cellplane",
        "typed_config": {
            "@type": _FILE_LOG,
            "path": str(settings.access_log.absolute()),
            "log_format": {"json_format": _FIELDS},
        },
    }
    if settings.access_log_share < 1:
        share = {"numerator": round(settings.access_log_share * _MILLIONTHS), "denominator": "MILLION"}
        sampled = {
            "runtime_filter": {
                "runtime_key": "cellplane.access_log.share",
                "percent_sampled": share,
                "use_independent_randomness": True,
            }
        }
        failed = {
            "comparison": {"op": "GE", "value": {"default_value": 400, "runtime_key": "cellplane.access_log.from"}}
        }
        entry["filter"] = {"or_filter": {"filters": [sampled, {"status_code_filter": failed}]}}
    return [entry]
