"""Signals that ask a command to stop."""

import signal
import subprocess
import sys

import pytest

PATIENCE_SECONDS = 20
BURST = 3_000

WAITS_IN_TURNS = """
from cellplane.cli.stopping import asked_to_stop
stopping = asked_to_stop()
print("waits", flush=True)
while not stopping.wait(0.0001):
    pass
for _ in range(2_000):
    stopping.wait(0.0001)
print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_wait(number: signal.Signals) -> None:
    assert _asked(number, times=1) == "stopped"


def test_signals_that_come_inside_of_each_others_handlers_end_it_too() -> None:
    assert _asked(signal.SIGTERM, signal.SIGINT, times=BURST) == "stopped"


def _asked(*numbers: signal.Signals, times: int) -> str:
    """What a process says last that waits, and is asked to stop so often."""
    with subprocess.Popen([sys.executable, "-c", WAITS_IN_TURNS], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waits\n"
            for _ in range(times):
                for number in numbers:
                    process.send_signal(number)
            said, _ = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return "never ended"
    return said.strip()
