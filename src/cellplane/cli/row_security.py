"""`cellplane cell rls`: the migration that puts a cell's tables under row-level security."""

import click

from cellplane.cell.row_security import COLUMN_TYPES, ColumnType, rls_sql


@click.command()
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...")
@click.option("--column", default="tenant_id", show_default=True, help="Of each table, that holds the tenant's id.")
@click.option("--type", "column_type", type=click.Choice(COLUMN_TYPES), default="text", help="Of that column.")
@click.option("--whole-cell-role", default=None, help="A role that sees all rows, for work on the whole cell.")
@click.option("--down", is_flag=True, help="What takes it away again.")
def rls(
    tables: tuple[str, ...], column: str, column_type: ColumnType, whole_cell_role: str | None, *, down: bool
) -> None:
    """Print the SQL that puts each TABLE of a cell's PostgreSQL under row-level security, also for its owner.

    A transaction then sees, changes and adds the rows of the tenant that it is told (`cellplane.cell.data`), and none
    where it is told none.
    """
    sql = rls_sql(tables, column, column_type=column_type, whole_cell_role=whole_cell_role)
    click.echo(sql.down if down else sql.up, nl=False)
