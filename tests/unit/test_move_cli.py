"""What ``cellplane move`` makes of its options, before it does anything."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cellplane.cli.commands import cli

NUMBERS = {
    "move start acme cell-2": ("--hold", "--rate", "--shadow"),
    "move batch evacuate cell-1": ("--hold", "--rate", "--shadow"),
    "move batch rebalance": ("--over-at",),
    "move batch split cell-1 cell-2": ("--share",),
}


@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
@pytest.mark.parametrize(("words", "option"), [(words, each) for words, options in NUMBERS.items() for each in options])
def test_what_is_no_number_is_none_to_a_move(tmp_path: Path, words: str, option: str, value: str) -> None:
    done = CliRunner().invoke(cli, [*words.split(), option, value, "--state", str(tmp_path)])
    assert done.exit_code == 2, done.output
    assert f"Invalid value for '{option}'" in done.output
