"""What a table says to whoever configures the proxy, beside the decision: its section EDGE, a JSON document."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from cellplane.errors import TableError, ValidationError
from cellplane.model import Fleet, JwtProvider

MAX_EDGE_BYTES = 1024 * 1024
"""Largest document."""


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
        document: dict[str, Any] = json.loads(data)
        providers = tuple(_provider(member) for member in document.get("jwt", []))
        for place, provider in enumerate(providers):
            provider.validate(f"jwt[{place}]")
    except (ValueError, TypeError, AttributeError, ValidationError, RecursionError) as error:
        raise TableError(f"EDGE: {error}") from error
    return EdgePolicy(providers)


def _provider(member: dict[str, Any]) -> JwtProvider:
    known = {field.name for field in fields(JwtProvider)}
    values = {name: value for name, value in member.items() if name in known}
    return JwtProvider(**{**values, "audiences": tuple(values.get("audiences", ()))})
