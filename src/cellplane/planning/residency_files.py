"""Residency report as a file, line by line, and the statement about it that can be signed."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from enum import Enum

from cellplane.planning.residency import Row

COLUMNS = tuple(field.name for field in fields(Row))
"""Of a CSV file, in order; lists of cells are divided by spaces, which no cell's id has."""


class Form(Enum):
    """How a report is written; the value is what people say."""

    CSV = "csv"
    NDJSON = "ndjson"


@dataclass(frozen=True, slots=True)
class Statement:
    """What a signature of a report is put over.

    Attributes:
        fleet: its name.
        epoch: of the directory when the tenants were read; None where they come from files.
        at: when, UTC, ISO 8601.
        form: of the file.
        tenants: rows of the file.
        violations: rows that do not hold.
        sha256: of the file's bytes, hexadecimal.
    """

    fleet: str
    epoch: int | None
    at: str
    form: Form
    tenants: int
    violations: int
    sha256: str

    def to_bytes(self) -> bytes:
        """The bytes to sign: one line of JSON, its names in order, no spaces, ASCII."""
        said = {"kind": "cellplane.residency/1", **asdict(self), "form": self.form.value}
        return json.dumps(said, sort_keys=True, separators=(",", ":")).encode("ascii")


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

    @property
    def violations(self) -> int:
        """Rows so far that do not hold."""
        return self._violations

    def statement(self, fleet: str, epoch: int | None, at: str) -> Statement:
        """What can be signed (``Statement``); all lines have been read."""
        assert self._is_whole, "a statement is about all lines of the file"
        return Statement(fleet, epoch, at, self._form, self._tenants, self._violations, self._hash.hexdigest())

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
