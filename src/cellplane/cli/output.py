"""How answers are shown: a table for people, JSON for scripts."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

ROW_COLUMNS = 500
"""Width of tables, in characters: more than any row has. A terminal folds long rows itself; a pipe needs them whole."""


def print_json(value: Any) -> None:
    """Print an answer as JSON."""
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under headings, or a sentence where there are none."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row))
    if table.row_count == 0:
        click.echo(empty)
        return
    Console(soft_wrap=True, width=ROW_COLUMNS).print(table)
