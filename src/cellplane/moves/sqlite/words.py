"""Puts SQLite's statements together out of names of its catalogs."""

import re

from cellplane.moves.tables import Table

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def statement(*parts: str) -> str:
    """One statement. Names in it are quoted; values are parameters, or literals."""
    return " ".join(parts)


def quoted(name: str) -> str:
    """A name, as part of a statement."""
    return '"' + name.replace('"', '""') + '"'


def table_name(name: str) -> str:
    """A table's name as people read it, and as part of a statement: quoted where it must be."""
    return name if _PLAIN.fullmatch(name) else quoted(name)


def literal(text: str) -> str:
    """A text, where there can be no parameter: in a trigger."""
    return "'" + text.replace("'", "''") + "'"


def listed(names: tuple[str, ...], before: str = "") -> str:
    """Columns, each behind ``before``, with commas between."""
    return ", ".join(before + quoted(name) for name in names)


def places(count: int) -> str:
    """So many parameters."""
    return ", ".join("?" * count)


def of_key(table: Table) -> str:
    """The condition that picks a row by its key: a parameter for each of its columns."""
    return " AND ".join(f"{quoted(name)} = ?" for name in table.key)
