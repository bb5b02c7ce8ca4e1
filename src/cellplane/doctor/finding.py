"""What a check is, and what it finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from cellplane.doctor.facts import Facts
from cellplane.doctor.settings import DoctorSettings


class Severity(Enum):
    """How bad it is; the value is for people and JSON."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that a check has to say.

    Attributes:
        severity: see Severity.
        about: what it is about, such as ``cell-1`` or a file; empty where that is the whole installation.
        found: what was found.
        remedy: what to do about just this; empty for what the check says.
    """

    severity: Severity
    about: str
    found: str
    remedy: str = ""


Judge = Callable[[Facts, DoctorSettings], Iterator[Hit]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        code: what it is called, for good.
        title: in some words.
        meaning: what it looks at, and when that is wrong.
        remedy: what to do then.
        judge: what it finds in the facts; nothing is as good as that all is well. May raise MissingFactError.
    """

    code: str
    title: str
    meaning: str
    remedy: str
    judge: Judge


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; attributes as of Check and Hit. ``remedy`` is empty where nothing is to be done."""

    code: str
    title: str
    severity: Severity
    about: str
    found: str
    remedy: str


def ok(found: str) -> Hit:
    """All is well."""
    return Hit(Severity.OK, "", found)


def skipped(reason: str) -> Hit:
    """The check could not be made, or there is nothing to check."""
    return Hit(Severity.SKIPPED, "", reason)


def warning(about: str, found: str, remedy: str = "") -> Hit:
    """Something that will hurt, or may be meant."""
    return Hit(Severity.WARNING, about, found, remedy)


def error(about: str, found: str, remedy: str = "") -> Hit:
    """Something that hurts now."""
    return Hit(Severity.ERROR, about, found, remedy)
