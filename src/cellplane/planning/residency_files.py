"""Residency report as a file, line by line, and the statement about it that can be signed."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Self

from cellplane.errors import ValidationError
from cellplane.model import is_name
from cellplane.planning.residency import Row

COLUMNS = tuple(field.name for field in fields(Row))
"""Of a CSV file, in order; lists of cells are divided by spaces, which no cell's id has."""


KIND = "cellplane.residency/1"
"""What a statement says that it is."""


_MAX_COUNT = 2**63 - 1


class Form(Enum):
    """How a report is written; the value is what people say."""

    CSV = "csv"
    NDJSON = "ndjson"


@dataclass(frozen=True, slots=True)
class Statement:
    """What a signature of a report is put over.

    Attributes:
        fleet: its name.
        jurisdiction: whose tenants it is about; empty for all.
        epoch: of the directory when the tenants were read; None where they come from files.
        at: when, UTC, ISO 8601.
        form: of the file.
        tenants: rows of the file.
        violations: rows that do not hold.
        sha256: of the file's bytes, hexadecimal.
    """

    fleet: str
    jurisdiction: str
    epoch: int | None
    at: str
    form: Form
    tenants: int
    violations: int
    sha256: str

    def to_bytes(self) -> bytes:
        """The bytes to sign: one line of JSON, its names in order, no spaces, ASCII."""
        said = {"kind": KIND, **asdict(self), "form": self.form.value}
        return json.dumps(said, sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def parse(cls, said: object) -> Self:
        """What JSON says of a report.

        Raises:
            ValidationError: it is no statement.
        """
        if not isinstance(said, dict) or said.get("kind") != KIND:
            raise ValidationError("statement", f"expected a statement of kind {KIND}")
        known = {name: value for name, value in said.items() if name != "kind"}
        if known.keys() != _IS_RIGHT.keys():
            raise ValidationError("statement", f"expected the fields of {KIND}, found {sorted(known)!r:.200}")
        for name, is_right in _IS_RIGHT.items():
            if not is_right(known[name]):
                raise ValidationError(f"statement.{name}", f"expected as in {KIND}, found {known[name]!r:.80}")
        return cls(**{**known, "form": Form(known["form"])})


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MAX_COUNT


def _is_text(pattern: str) -> Callable[[object], bool]:
    wanted = re.compile(pattern)
    return lambda value: isinstance(value, str) and wanted.fullmatch(value) is not None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and is_name(value)


_IS_RIGHT: Mapping[str, Callable[[object], bool]] = {
    "fleet": _is_name,
    "jurisdiction": lambda value: value == "" or _is_name(value),
    "epoch": lambda value: value is None or _is_count(value),
    "at": _is_text(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"),
    "form": lambda value: value in [form.value for form in Form],
    "tenants": _is_count,
    "violations": _is_count,
    "sha256": _is_text(r"[0-9a-f]{64}"),
}
assert set(_IS_RIGHT) == {field.name for field in fields(Statement)}


class ResidencyFile:
    """A report being written. After the last line, it has what a statement needs.

    Args:
        rows: of the report; read once.
        form: of the file.
    """

    def __init__(self, rows: Iterable[Row], form: Form) -> None:
        self._rows = rows
        self._form = form
        self._hash = hashlib.sha256()
        self._tenants = self._violations = 0
        self._is_whole = False

    def lines(self) -> Iterator[bytes]:
        """The file's lines, UTF-8, each with its end."""
        if self._form is Form.CSV:
            yield self._counted(_csv_line(COLUMNS))
        for row in self._rows:
            self._tenants += 1
            self._violations += not row.holds
            yield self._counted(_csv_line(_cells_of(row)) if self._form is Form.CSV else _json_line(row))
        self._is_whole = True

    def statement(self, fleet: str, epoch: int | None, at: str, jurisdiction: str = "") -> Statement:
        """What can be signed (``Statement``); all lines have been read."""
        assert self._is_whole, "a statement is about all lines of the file"
        digest = self._hash.hexdigest()
        return Statement(fleet, jurisdiction, epoch, at, self._form, self._tenants, self._violations, digest)

    def _counted(self, line: bytes) -> bytes:
        self._hash.update(line)
        return line


def _cells_of(row: Row) -> list[str]:
    found = []
    for name in COLUMNS:
        value = getattr(row, name)
        if isinstance(value, tuple):
            value = " ".join(value)
        found.append(str(value).lower() if isinstance(value, bool) else value)
    return found


def _csv_line(values: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def _json_line(row: Row) -> bytes:
    return json.dumps({name: getattr(row, name) for name in COLUMNS}, ensure_ascii=False).encode() + b"\n"
