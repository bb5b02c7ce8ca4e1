"""What is said of a request and of values, without saying them."""

import re
from typing import Any

MAX_PATH_CHARS = 200
"""Most characters of a path."""

MAX_METHOD_CHARS = 16
"""Most characters of a method."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z_-]{0,31}|v[0-9]{1,2}")
"""What a programmer has named, as far as can be seen: no digits, nothing but letters."""


def kind_of(value: Any) -> str:
    """The kind of a JSON value, with its length where it has one."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return f"text of {len(value)}"
        case list():
            return f"list of {len(value)}"
        case _:
            return f"object of {len(value)}"


def shown_name(name: str) -> str:
    """A name in a path; ``*`` where it may be a value, such as an id or an address."""
    return name if _NAME.fullmatch(name) else "*"


def shown_path(names: list[str]) -> str:
    """A path of names, cut where it is too long."""
    path = "".join(f"/{name}" for name in names) or "/"
    return path if len(path) <= MAX_PATH_CHARS else f"{path[: MAX_PATH_CHARS - 1]}…"


def shown_method(method: str) -> str:
    """A request's method; ``*`` for one that is nobody's usual one."""
    return method if method.isalpha() and len(method) <= MAX_METHOD_CHARS else "*"


def shown_url(path: str) -> str:
    """A request's path with ``*`` for what may be a value."""
    return shown_path([shown_name(name) for name in path.split("/")[1:]])
