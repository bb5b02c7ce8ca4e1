"""Whether two answers are the same: status, media type, and body, as JSON where both are, else byte for byte."""

import json
import zlib
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import islice
from typing import Any, NamedTuple

from cellplane.shadow.answer import Answer
from cellplane.shadow.redaction import kind_of, shown_name, shown_path

MAX_DIFFERENCES = 8
"""Most differences of one pair of answers that are told."""

MAX_DECODED_BYTES = 256 * 1024
"""Largest body that is compared as JSON, decompressed."""


class Outcome(Enum):
    """What a comparison came to."""

    MATCH = "match"
    MISMATCH = "mismatch"
    UNANSWERED = "unanswered"
    """One of the two gave no whole answer in time."""
    TOO_LARGE = "too-large"
    """The bodies differ, and are too large to say whether only in what is ignored."""
    SKIPPED = "skipped"
    """The agent had more to compare than it may."""

    @property
    def field(self) -> str:
        """Its name among the counts of a report."""
        return self.name.lower()


class Difference(NamedTuple):
    """Where two answers differ, without their values.

    Attributes:
        path: ``status``, ``content-type``, ``body``, or the path of a JSON value.
        cell: the kind of what the cell says there; ``nothing`` where it says nothing.
        shadow: what the shadow says there, as ``cell``.
    """

    path: str
    cell: str
    shadow: str


class Verdict(NamedTuple):
    """What a comparison came to, and up to MAX_DIFFERENCES differences."""

    outcome: Outcome
    differences: tuple[Difference, ...] = ()


def compare(cell: Answer, shadow: Answer) -> Verdict:
    """Compare the halves of a pair; the cell's says what is ignored."""
    if not cell.status or not shadow.status:
        return Verdict(Outcome.UNANSWERED)
    found = []
    if cell.status != shadow.status:
        found.append(Difference("status", str(cell.status), str(shadow.status)))
    types = _media_type(cell), _media_type(shadow)
    if types[0] != types[1]:
        found.append(Difference("content-type", *(f"text of {len(name)}" if name else "nothing" for name in types)))
    if (cell.length, cell.digest, cell.encoding) != (shadow.length, shadow.digest, shadow.encoding):
        is_json = all(name.endswith(("/json", "+json")) for name in types)
        if is_json and not found and not (cell.is_whole and shadow.is_whole):
            return Verdict(Outcome.TOO_LARGE)
        found += _of_bodies(cell, shadow, is_json=is_json)
    return Verdict(Outcome.MISMATCH if found else Outcome.MATCH, tuple(found[:MAX_DIFFERENCES]))


def _of_bodies(cell: Answer, shadow: Answer, *, is_json: bool) -> list[Difference]:
    """Where bodies differ that are not the same byte for byte."""
    one, other = (_json(cell), _json(shadow)) if is_json else (None, None)
    if one is None or other is None:
        return [Difference("body", f"{cell.length} bytes", f"{shadow.length} bytes")]
    ignored = [tuple(_names(path)) for path in cell.ignored]
    return list(islice(differences(one[0], other[0], ignored), MAX_DIFFERENCES))


def _media_type(answer: Answer) -> str:
    return answer.content_type.partition(";")[0].strip().lower()


def differences(cell: Any, shadow: Any, ignored: Sequence[tuple[str, ...]]) -> Iterator[Difference]:
    """Where two JSON values differ.

    Args:
        ignored: paths, as names of which ``*`` is any, whose values do not count, nor anything inside of them.
    """
    left: list[tuple[Any, Any, list[str], list[tuple[str, ...]]]] = [(cell, shadow, [], list(ignored))]
    while left:
        one, other, path, rest = left.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            children = [(key, one.get(key, _NOTHING), other.get(key, _NOTHING)) for key in {**one, **other}]
        elif isinstance(one, list) and isinstance(other, list):
            common = max(len(one), len(other))
            children = [(str(place), *(_at(values, place) for values in (one, other))) for place in range(common)]
        else:
            is_alike = type(one) is type(other) or {type(one), type(other)} == {int, float}
            if not is_alike or one != other:
                yield Difference(shown_path(path), _kind(one), _kind(other))
            continue
        is_list = isinstance(one, list)
        for name, mine, its in reversed(children):
            inside = [names[1:] for names in rest if names and names[0] in ("*", name)]
            if () not in inside:
                left.append((mine, its, [*path, name if is_list else shown_name(name)], inside))


class _Nothing:
    """What is not there: neither null nor anything else."""


_NOTHING = _Nothing()


def _kind(value: Any) -> str:
    return "nothing" if value is _NOTHING else kind_of(value)


def _at(values: list[Any], place: int) -> Any:
    return values[place] if place < len(values) else _NOTHING


def _names(path: str) -> list[str]:
    """The names of a JSON pointer (RFC 6901)."""
    return [name.replace("~1", "/").replace("~0", "~") for name in path.split("/")[1:]]


def _json(answer: Answer) -> tuple[Any] | None:
    """The value of a body; None where it is none, or not all of it is here."""
    if not answer.is_whole:
        return None
    try:
        body = _decoded(answer.body, answer.encoding.strip().lower())
        return None if body is None else (json.loads(body, parse_constant=str),)
    except (ValueError, RecursionError, zlib.error):
        return None


def _decoded(body: bytes, encoding: str) -> bytes | None:
    """A body without its encoding; None where that is unknown, or it is too large."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return None
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
    data = stream.decompress(body, MAX_DECODED_BYTES)
    return data if stream.eof else None
