"""Only a test on a machine that stood still gets another try."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LINES = """
import sys
from support.stillness import Stillness
watched = Stillness()
for _ in sys.stdin:
    print(watched.stood_still(), flush=True)
    watched.begin()
"""


def test_a_process_that_was_stopped_knows_until_it_begins_anew() -> None:
    command = [sys.executable, "-c", LINES]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def asked() -> str:
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            return process.stdout.readline().strip()  # type: ignore[union-attr]

        asked()
        process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        assert asked() == "True"
        assert asked() == "False"
        process.stdin.close()


TESTS = """
import time
import conftest

tries = []

def test_it():
    tries.append(1)
    conftest.STILLNESS._latest = {latest}
    assert len(tries) == 2
"""


@pytest.mark.parametrize(
    ("folder", "latest", "passes"), [("unit", 1.0, True), ("unit", 0.0, False), ("property", 1.0, False)]
)
def test_who_failed_tries_again_where_the_machine_stood_still(
    tmp_path: Path, folder: str, latest: float, passes: bool
) -> None:
    tests = Path(__file__).parents[1]
    place = tmp_path / "tests" / folder
    place.mkdir(parents=True)
    (tmp_path / "tests" / "conftest.py").write_text((tests / "conftest.py").read_text())
    (place / "test_it.py").write_text(TESTS.format(latest=latest))
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {tmp_path / 'tests'} {tests}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rR", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode == 0) is passes, done.stdout
    assert ("RERUN" in done.stdout) is passes
