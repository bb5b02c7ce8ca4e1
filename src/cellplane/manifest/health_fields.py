"""The thresholds by which cells are judged, as a Fleet has them: what the model declares, in the file's spelling."""

from dataclasses import fields
from typing import Any

from cellplane.manifest.shapes import Amended, Field, Number, Shape, Whole
from cellplane.model.bounds import MAX_SECONDS
from cellplane.model.health import MIN_OBJECTIVE_SECONDS, USUAL_HEALTH


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _group(usual: Any) -> Amended:
    found = []
    for each in fields(usual):
        low, high, about = (each.metadata[name] for name in ("low", "high", "about"))
        shape: Shape = Whole(low, high) if each.type is int else Number(low, high)
        found.append(Field(_camel(each.name), each.name, shape, about))
    return Amended(usual, tuple(found))


HEALTH = Amended(
    USUAL_HEALTH,
    (
        Field("score", "score", _group(USUAL_HEALTH.score), "What costs a cell points, of 100."),
        Field("breaker", "breaker", _group(USUAL_HEALTH.breaker), "When its circuit breaker opens, and closes again."),
        Field("peers", "peers", _group(USUAL_HEALTH.peers), "When it is worse than the others of its pool."),
    ),
)
P99_OBJECTIVE = Number(MIN_OBJECTIVE_SECONDS, MAX_SECONDS)
