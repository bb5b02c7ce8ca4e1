"""Whatever a file says, it is read, judged and written without an exception."""

import random
from pathlib import Path

import pytest

from cellplane.manifest.dump import dump
from cellplane.manifest.files import check_whole, read
from cellplane.manifest.lint import lint
from support.plan import plan_change

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
WORDS = [
    "a",
    "*x",
    "&x",
    "[]",
    "{}",
    "[a, a]",
    "0",
    "-1",
    "1e400",
    ".nan",
    "true",
    "~",
    "!!int 3",
    "\t",
    "\x00",
    "---",
    "é",
    "explicit",
    "shuffle",
    "modulo",
    "[zone, release]",
    "default-cell",
    "source-hash",
    "cell-1",
    "us-shared",
    "eu",
    "2",
    "8",
]


def broken(text: str, draw: random.Random) -> str:
    """The text with a few values, lines or characters changed."""
    lines = text.splitlines()
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(lines))
        what = draw.randrange(5)
        if what == 0:
            del lines[at]
        elif what == 1:
            lines.insert(at, lines[draw.randrange(len(lines))])
        elif what == 2 and lines[at]:
            cut = draw.randrange(len(lines[at]))
            lines[at] = lines[at][:cut] + draw.choice(WORDS) + lines[at][cut + 1 :]
        else:
            name, colon, _ = lines[at].partition(":")
            lines[at] = f"{name}{colon} {draw.choice(WORDS)}"
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(20))
def test_a_broken_file_is_said_to_be_so(seed: int) -> None:
    draw = random.Random(seed)
    sound = {path: path.read_text() for path in EXAMPLES.glob("*.yaml")}
    for _ in range(10):
        manifest = read([("fleet.yaml", broken(draw.choice(sorted(sound.values())), draw))])
        if manifest.problems or check_whole(manifest):
            continue
        topology = manifest.topology()
        for finding in lint(topology):
            assert str(manifest.problem_at(finding.path, finding.message)).startswith("fleet.yaml:")
        assert read([("dumped", dump(topology))]).problems == ()
        assert plan_change(topology, manifest.resources, prune=True).changes == ()
