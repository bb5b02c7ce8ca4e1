"""Answers as tests want them."""

import gzip
import json
from typing import Any

from cellplane.shadow.answer import Answer


def answer(side: Any = "cell", value: Any = None, **fields: Any) -> Answer:
    """A JSON answer of cell-1, or of its shadow cell-9; other fields as of Answer."""
    body = json.dumps(value).encode()
    known: dict[str, Any] = {
        "pair": "17",
        "side": side,
        "tenant": "acme",
        "shadow": "cell-9",
        "status": 200,
        "content_type": "application/json",
        "encoding": "",
        "body": body,
        "cell": "cell-1" if side == "cell" else "",
        "method": "GET",
        "path": "/orders",
        **fields,
    }
    content = known["body"]
    return Answer(**{"length": len(content), "digest": content.hex(), **known})


def zipped(value: Any, level: int) -> bytes:
    """A JSON value in gzip."""
    return gzip.compress(json.dumps(value).encode(), level, mtime=0)
