"""The documentation names what exists, and ``docs/reference.md`` all of it."""

import ast
import re
import runpy
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest

from cellplane.cli.commands import cli
from cellplane.routing.decide import RefusalCode

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *(page for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md") if (page := ROOT / name).exists()),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/*/README.md"),
    ]
)
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

FENCE = re.compile(r"^ *(```+|~~~+).*?\n(.*?)^ *\1", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?[^)]*\)")
REPOSITORY_PATH = re.compile(r"(?:\.ci|bench|docs|examples|native|requirements|scripts|src|tests)/[\w./-]*")
ENVIRONMENT_VARIABLE = re.compile(r"(?<![A-Za-z])_?CELLPLANE_[A-Z][A-Z_]+")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "reference.py"))


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", page.read_text())


def spans(page: Path) -> list[str]:
    """What stands between backticks."""
    return [" ".join(found[2].split()) for found in SPAN.finditer(prose(page))]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number, anchor = 0, slug
        while anchor in found:
            number += 1
            anchor = f"{slug}-{number}"
        found.add(anchor)
    return found


def command_lines(page: Path) -> Iterator[list[str]]:
    """The words of every command in a page's code, without the variables set before it."""
    blocks = [found[2].replace("\\\n", " ") for found in FENCE.finditer(page.read_text())]
    for line in [*spans(page), *(line for block in blocks for line in block.splitlines())]:
        for part in re.split(r"&&|\|\||[;&|]|\$\(", line.split(" #")[0]):
            try:
                words = shlex.split(part)
            except ValueError:  # cut inside of a quotation
                words = [word.strip("\"'()`") for word in part.split()]
            while words and (words[0] in {"$", "exec", "sudo"} or re.fullmatch(r"[A-Z_]+=.*", words[0])):
                words.pop(0)
            if words:
                yield words


def wrong_command(words: list[str]) -> str | None:
    """What is wrong with a command line of ours, if anything."""
    command: click.Command = cli
    path = ["cellplane"]
    for word in words[1:]:
        if word in {"…", "..."} or word.startswith(("<", "[")):
            return None
        if word.startswith("-"):
            known = {"-h", "--help"} | {
                name for param in command.params for name in [*param.opts, *param.secondary_opts]
            }
            if word.split("=")[0] not in known:
                return f"{' '.join(path)} has no option {word}"
        elif isinstance(command, click.Group):
            below = command.get_command(click.Context(command), word)
            if below is None and not re.fullmatch(r"[a-z-]+", word):
                # A group may know what to do with what is no command's name: `cellplane move TENANT`.
                with suppress(click.UsageError):
                    _, below, _ = command.resolve_command(click.Context(command), [word])
            if below is None:
                return f"{' '.join(path)} has no command {word}"
            command = below
            path.append(word)
    return None


@pytest.fixture(scope="module")
def reference(script: dict[str, Any]) -> str:
    text: str = script["reference"]()
    return text


def test_the_reference_is_what_the_code_says(reference: str) -> None:
    target = ROOT / "docs" / "reference.md"
    assert target.exists(), "docs/reference.md is missing: run make reference"
    # Compared outside of the assertion: pytest would spend minutes on the difference of two pages.
    same = target.read_text() == reference
    assert same, "docs/reference.md is not what the code says: run make reference"


def test_the_reference_names_no_place_of_this_machine(reference: str) -> None:
    assert str(ROOT) not in reference
    assert str(Path.home()) + "/" not in reference


def test_an_option_without_help_stops_the_reference(script: dict[str, Any]) -> None:
    @click.command(help="Does something.")
    @click.option("--mystery")
    def command(mystery: str) -> None: ...

    with pytest.raises(SystemExit, match="cellplane x --mystery is not documented"):
        list(script["command_section"]("cellplane x", command))


def test_a_setting_without_a_docstring_has_none_of_its_neighbour(script: dict[str, Any]) -> None:
    source = 'class Settings:\n    bare: int = 64 * 1024\n    told: str\n    """What it is."""\n'
    (node,) = ast.parse(source).body
    assert list(script["attributes"](node, source)) == [
        ("bare", "int", "`64 * 1024`", None),
        ("told", "str", "required", "What it is."),
    ]


def test_every_environment_variable_is_documented(script: dict[str, Any]) -> None:
    named = {
        variable
        for folder in ("src", "native/envoy-module/src", "tests", "bench", "scripts", "examples")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".rs", ".sh", ""} and path.is_file()
        for variable in ENVIRONMENT_VARIABLE.findall(path.read_text(errors="replace"))
    }
    assert named == script["described_variables"]().keys(), "mend OTHER_VARIABLES in scripts/reference.py"


def test_the_module_and_the_reference_decision_refuse_alike(script: dict[str, Any]) -> None:
    module = {(name, int(status)) for name, status, _detail in script["module_problems"]()}
    assert {(refusal.code, int(refusal.status)) for refusal in RefusalCode} <= module


def test_nothing_writes_problem_documents_that_the_reference_does_not_read() -> None:
    writers = {
        str(path.relative_to(ROOT))
        for folder in ("src", "native/envoy-module/src")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".rs"} and re.search(r'"urn:cellplane:problem:[{%]', path.read_text())
    }
    assert writers == {
        "native/envoy-module/src/problem.rs",
        "src/cellplane/cell/problem.py",
        "src/cellplane/control/problems.py",
        "src/cellplane/router/envoy/replies.py",
    }


def test_every_refusal_of_the_table_format_is_documented(script: dict[str, Any]) -> None:
    documented = {row[0] for who in ("module", "envoy", "control", "cell") for row in script[f"{who}_problems"]()}
    page = (ROOT / "docs" / "table-format.md").read_text()
    assert set(re.findall(r"\b[45]\d\d `([a-z-]+)`", page)) <= documented


@EACH_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for target in LINK.findall(SPAN.sub("", prose(page))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            wrong.append(target)
    assert not wrong, f"{page.relative_to(ROOT)} links to what is not there"


@EACH_PAGE
def test_named_paths_exist(page: Path) -> None:
    # A span with a placeholder does not match as a whole, and names no one path.
    named = [re.sub(r"(::\w+|:\d+(-\d+)?)$", "", span) for span in spans(page)]
    wrong = [path for path in named if REPOSITORY_PATH.fullmatch(path) and not (ROOT / path).exists()]
    assert not wrong, f"{page.relative_to(ROOT)} names paths that are not there"


@EACH_PAGE
def test_named_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        word
        for words in command_lines(page)
        if words[0] == "make"
        for word in words[1:]
        if re.fullmatch(r"[a-z][a-z-]*", word)
    }
    missing = sorted(named - targets)
    assert not missing, f"{page.relative_to(ROOT)} names make targets that are not there"


@EACH_PAGE
def test_named_commands_and_their_options_exist(page: Path) -> None:
    ours = [words for words in command_lines(page) if words[0].rsplit("/", 1)[-1] == "cellplane"]
    wrong = [found for words in ours if (found := wrong_command(words)) is not None]
    assert not wrong, f"{page.relative_to(ROOT)} names commands that are not there"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("cellplane chaos kill cell-1 --state x", None),
        ("cellplane chaos …", None),
        ("cellplane --version", None),
        ("cellplane chaos stop", "cellplane chaos has no command stop"),
        ("cellplane assign a b --force", "cellplane assign has no option --force"),
    ],
)
def test_a_wrong_command_is_found(line: str, found: str | None) -> None:
    assert wrong_command(line.split()) == found
