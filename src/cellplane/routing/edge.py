"""What a table says to whoever configures the proxy, beside the decision: its section EDGE, a JSON document."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from cellplane.errors import TableError, ValidationError
from cellplane.model import Fleet, JwtProvider
from cellplane.model.jwt import CLOCK_SKEW_SECONDS, check_providers

MAX_EDGE_BYTES = 1024 * 1024
"""Largest document."""

_TEXTS = ("name", "issuer", "jwks_url", "jwks_file", "cookie")


@dataclass(frozen=True, slots=True)
class EdgePolicy:
    """What the proxy itself does with requests.

    Attributes:
        jwt: whose tokens it verifies; none: it looks at none.
    """

    jwt: tuple[JwtProvider, ...] = ()

    @classmethod
    def of(cls, fleet: Fleet) -> Self:
        """A fleet's."""
        return cls(fleet.jwt)


def encode_edge(edge: EdgePolicy) -> bytes:
    """The document's bytes; equal policies give equal ones."""
    return json.dumps({"jwt": [asdict(provider) for provider in edge.jwt]}, sort_keys=True).encode()


def decode_edge(data: bytes) -> EdgePolicy:
    """The policy of a document; members that this release does not know are skipped.

    Raises:
        TableError: it is no such document.
    """
    if len(data) > MAX_EDGE_BYTES:
        raise TableError(f"EDGE: {len(data)} bytes, expected at most {MAX_EDGE_BYTES}")
    try:
        members = _members("EDGE", json.loads(data)).get("jwt", [])
        if not isinstance(members, list):
            raise ValidationError("jwt", f"expected a list, found {type(members).__name__}")
        providers = tuple(_provider(f"jwt[{place}]", member) for place, member in enumerate(members))
        check_providers("jwt", providers)
    except (ValueError, ValidationError, RecursionError) as error:
        raise TableError(f"EDGE: {error}") from error
    return EdgePolicy(providers)


def _provider(field: str, member: object) -> JwtProvider:
    known = _members(field, member)
    texts = {name: known.get(name, "") for name in _TEXTS}
    audiences = known.get("audiences", [])
    skew = known.get("clock_skew_seconds", CLOCK_SKEW_SECONDS)
    if not isinstance(audiences, list) or not all(isinstance(text, str) for text in (*texts.values(), *audiences)):
        raise ValidationError(field, f"expected texts in {', '.join(_TEXTS)}, and a list of them in audiences")
    if type(skew) is not int:
        raise ValidationError(f"{field}.clock_skew_seconds", f"expected a whole number, found {skew!r}")
    return JwtProvider(**texts, audiences=tuple(audiences), clock_skew_seconds=skew)


def _members(field: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValidationError(field, f"expected an object, found {type(value).__name__}")
    return value
