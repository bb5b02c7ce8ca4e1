"""`cellplane cell rls` prints a migration."""

from click.testing import CliRunner

from cellplane.cell.row_security import rls_sql
from cellplane.cli.commands import cli


def printed(*words: str) -> str:
    result = CliRunner().invoke(cli, ["cell", "rls", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_it_prints_the_way_up_and_the_way_down() -> None:
    sql = rls_sql(["orders", "app.items"])
    assert printed("orders", "app.items") == sql.up
    assert printed("orders", "app.items", "--down") == sql.down


def test_options_are_those_of_the_function() -> None:
    options = ("--column", "owner", "--type", "uuid", "--whole-cell-role", "sweeper")
    assert printed("orders", *options) == rls_sql(["orders"], "owner", column_type="uuid", whole_cell_role="sweeper").up


def test_a_name_that_cannot_be_is_refused() -> None:
    result = CliRunner().invoke(cli, ["cell", "rls", "orders; DROP"])
    assert result.exit_code == 1
    assert "letters, digits and underscores" in result.output + result.stderr
