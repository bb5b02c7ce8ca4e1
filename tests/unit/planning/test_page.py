"""What ``docs/planning.md`` shows is what the commands print."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cellplane.cli.commands import cli

PAGE = Path(__file__).resolve().parents[3] / "docs" / "planning.md"
BLOCK = re.compile(r"^```console\n\$ cellplane ((?:[^\n]*\\\n)*[^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [(command.replace("\\\n", " "), shown) for command, shown in BLOCK.findall(PAGE.read_text())]


@pytest.mark.parametrize(("command", "shown"), BLOCKS, ids=[command for command, _ in BLOCKS])
def test_the_page_shows_what_is_printed(command: str, shown: str) -> None:
    result = CliRunner().invoke(cli, shlex.split(command))
    assert result.exit_code == 0, result.output
    assert [line.rstrip() for line in result.output.splitlines()] == shown.splitlines()


def test_the_page_shows_every_command() -> None:
    shown = {command.split()[1] for command, _ in BLOCKS}
    assert shown == {"fit", "size", "overlap", "blast-radius", "cost", "rebalance", "evacuate"}


@pytest.mark.parametrize(("command", "_shown"), BLOCKS, ids=[command for command, _ in BLOCKS])
def test_the_page_lists_the_keys_of_the_json(command: str, _shown: str) -> None:
    result = CliRunner().invoke(cli, [*shlex.split(command), "--json"])
    row = re.search(rf"^\| `{command.split()[1]}` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert row is not None
    assert ", ".join(f"`{key}`" for key in json.loads(result.output)) == row[1]
