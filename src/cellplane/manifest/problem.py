"""A problem: what is wrong in a manifest, and where."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a text.

    Attributes:
        line: 1 for the first.
        column: 1 for the first character of the line.
    """

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        message: what was expected, what was found, what to do.
        path: the field, such as ``spec.port``; empty where it is no single one.
        resource: whose, such as ``Cell/cell-2``; empty where nobody can say.
        file: name of the file; empty where there is none.
        mark: where in the file, as far as it is known.
    """

    message: str
    path: str = ""
    resource: str = ""
    file: str = ""
    mark: Mark | None = None

    @property
    def place(self) -> str:
        """File, line and column as compilers and editors write them; empty where there is no file."""
        if self.mark is None:
            return self.file
        return f"{self.file}:{self.mark.line}:{self.mark.column}"

    def __str__(self) -> str:
        what = " ".join(part for part in (self.resource, self.path) if part)
        return ": ".join(part for part in (self.place, what, self.message) if part)
