"""What schemathesis is told of this API beside its description (``SCHEMATHESIS_HOOKS``)."""

import json
import os
from typing import Any

import schemathesis

OWN_TOKEN = "FUZZ_API_OWN_TOKEN_ID"
"""Environment variable with the id of the token that asks: a run that revokes it has no more to say."""


@schemathesis.serializer("application/x-ndjson")
def lines(_context: Any, value: object) -> bytes:
    """A body of lines: text as it is, anything else as one line of JSON."""
    return value.encode(errors="replace") if isinstance(value, str) else json.dumps(value).encode()


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: dict[str, Any]) -> None:
    """Wait for no table, and revoke another token than one's own."""
    if isinstance(case.query, dict) and "wait" in case.query:
        seconds = case.query["wait"]
        case.query["wait"] = min(seconds, 0.01) if isinstance(seconds, int | float) else seconds
    if (case.path_parameters or {}).get("token_id") == os.environ.get(OWN_TOKEN):
        case.path_parameters["token_id"] = "0" * 16
