"""What a table says to whoever configures the proxy, beside the decision: its section EDGE, a JSON document."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cellplane.errors import TableError, ValidationError
from cellplane.model import JwtProvider
from cellplane.model.bounds import MAX_SECONDS, check_between
from cellplane.model.health import MIN_OBJECTIVE_SECONDS, USUAL_HEALTH, Health, health_of, said_of
from cellplane.model.jwt import CLOCK_SKEW_SECONDS, check_providers

MAX_EDGE_BYTES = 1024 * 1024
"""Largest document."""

_TEXTS = ("name", "issuer", "jwks_url", "jwks_file", "cookie")


@dataclass(frozen=True, slots=True)
class EdgePolicy:
    """What the proxy itself does with requests, and by what its cells are judged.

    Attributes:
        jwt: whose tokens it verifies; none: it looks at none.
        health: by what cells are judged.
        objectives: p99 objective, seconds, of cells that have one of their own, by index in CELLS.
    """

    jwt: tuple[JwtProvider, ...] = ()
    health: Health = USUAL_HEALTH
    objectives: Mapping[int, float] = field(default_factory=dict)


def encode_edge(edge: EdgePolicy) -> bytes:
    """The document's bytes; equal policies give equal ones."""
    members: dict[str, Any] = {"jwt": [asdict(provider) for provider in edge.jwt]}
    members |= {"health": said} if (said := said_of(edge.health)) else {}
    members |= {"objectives": objectives} if (objectives := _grouped(edge.objectives)) else {}
    return json.dumps(members, sort_keys=True).encode()


def decode_edge(data: bytes) -> EdgePolicy:
    """The policy of a document; members that this release does not know are skipped.

    Raises:
        TableError: it is no such document.
    """
    if len(data) > MAX_EDGE_BYTES:
        raise TableError(f"EDGE: {len(data)} bytes, expected at most {MAX_EDGE_BYTES}")
    try:
        document = _members("EDGE", json.loads(data))
        members = document.get("jwt", [])
        if not isinstance(members, list):
            raise ValidationError("jwt", f"expected a list, found {type(members).__name__}")
        providers = tuple(_provider(f"jwt[{place}]", member) for place, member in enumerate(members))
        check_providers("jwt", providers)
        health = health_of("health", _members("health", document.get("health", {})), skip_unknown=True)
        health.validate("health")
        objectives = _objectives(document.get("objectives", []))
    except (ValueError, ValidationError, RecursionError) as error:
        raise TableError(f"EDGE: {error}") from error
    return EdgePolicy(providers, health, objectives)


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


def _grouped(objectives: Mapping[int, float]) -> list[dict[str, Any]]:
    """The cells of each objective, the lowest first."""
    cells: dict[float, list[int]] = {}
    for cell in sorted(objectives):
        cells.setdefault(objectives[cell], []).append(cell)
    return [{"seconds": seconds, "cells": cells[seconds]} for seconds in sorted(cells)]


def _objectives(groups: object) -> dict[int, float]:
    if not isinstance(groups, list):
        raise ValidationError("objectives", f"expected a list, found {type(groups).__name__}")
    found: dict[int, float] = {}
    for place, member in enumerate(groups):
        field = f"objectives[{place}]"
        group = _members(field, member)
        seconds, cells = group.get("seconds"), group.get("cells")
        if not isinstance(seconds, int | float) or not isinstance(cells, list):
            raise ValidationError(field, "expected a number in seconds, and a list in cells")
        if any(type(cell) is not int for cell in cells):
            raise ValidationError(f"{field}.cells", "expected indexes of cells")
        check_between(f"{field}.seconds", seconds, MIN_OBJECTIVE_SECONDS, MAX_SECONDS)
        found |= dict.fromkeys(cells, float(seconds))
    return found


def _members(field: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValidationError(field, f"expected an object, found {type(value).__name__}")
    return value
