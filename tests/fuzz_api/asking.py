"""Schemathesis against a control plane that serves: what its OpenAPI description says, it must do."""

import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fuzz_api.hooks

UNTRIED = ("/v1/events/watch",)
"""Streams that never end: tests/unit/control/test_watch.py asks them."""

UNFIT_CHECKS = ("positive_data_acceptance",)
"""What a schema cannot say (that a pool's cells are there, that epochs are known) is refused, and rightly."""

PHASES = ("examples", "coverage", "fuzzing", "stateful")
END_SECONDS = 120
"""How long a run may take beyond its time."""

_GENERATED = re.compile(r"(\d+) generated")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run.

    Attributes:
        name: of the control plane and the caller.
        cases: requests that were made up.
        passed: whether nothing was wrong.
        output: what schemathesis says, with a command for each failure.
    """

    name: str
    cases: int
    passed: bool
    output: str

    def figures(self) -> dict[str, Any]:
        """The same without the text."""
        return {name: value for name, value in asdict(self).items() if name != "output"}


def ask(
    name: str,
    url: str,
    token: str,
    folder: Path,
    *,
    seed: int,
    examples: int,
    seconds: int | None = None,
    phases: tuple[str, ...] = PHASES,
) -> Outcome:
    """Ask all that the description at ``url`` allows, and much that it does not.

    Args:
        name: for the outcome.
        token: of the caller.
        folder: where it runs.
        seed: of what is made up.
        examples: requests for each operation and phase.
        seconds: fuzz for so long; None: as many as ``examples`` says, once.
        phases: of schemathesis.
    """
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
    command += ["--header", f"Authorization: Bearer {token}", "--seed", str(seed), "--max-examples", str(examples)]
    command += ["--phases", ",".join(phases), "--exclude-checks", ",".join(UNFIT_CHECKS)]
    command += ["--continue-on-failure", "--warnings", "off", "--no-color"]
    for path in UNTRIED:
        command += ["--exclude-path", path]
    command += ["--generation-database", "none"]
    if seconds is not None:
        command += ["--max-time", str(seconds)]
    hooks = Path(fuzz_api.hooks.__file__)
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": hooks.stem,
        "PYTHONPATH": str(hooks.parent),
        fuzz_api.hooks.OWN_TOKEN: token.split("_")[1],
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=(seconds or 0) + END_SECONDS,
        check=False,
    )
    found = _GENERATED.search(done.stdout)
    return Outcome(name, int(found[1]) if found else 0, done.returncode == 0, done.stdout + done.stderr)
