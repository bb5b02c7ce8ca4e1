"""Where tests keep files and logs, which of them run one after another, and that a failure is told when it happens."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from support.stillness import Stillness

GROUPS = {"chaos": "fleets", "e2e": "fleets", "chaos_events": "app", "e2e_app": "app", "e2e_sdk": "app"}
"""Folder of tests → its group: tests of a group run one after another, in one process, while others run beside them."""

NEVER_AGAIN = ("chaos_events", "chaos_moves", "property")
"""Folders of tests that draw what they do and look for what is lost: whatever they find counts, however often."""

STILLNESS = Stillness()

# How fast a machine is, is no reason to fail.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# What a server in a thread logs is not what a command says that a test runs meanwhile.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))

MEMORY = Path("/dev/shm")
MIN_FREE_BYTES = 6 * 1024**3
"""Far more than the tests that run at once have; what has passed is removed."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests' files in memory where there is room: dozens of databases wait for the disk else, and are killed by
    ``kill -9``, never by a power cut.
    """
    if config.option.basetemp is None and "PYTEST_DEBUG_TEMPROOT" not in os.environ and _has_room(MEMORY):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


class Grouped(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Hands out whole files to processes, and whole groups of folders."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((group for folder, group in GROUPS.items() if file.startswith(f"tests/{folder}/")), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Grouped:
    """Where tests run in several processes."""
    return Grouped(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a test that failed while the machine stood still try once more: real servers have seconds to answer. The
    failure of one that then passes is told as well, and its name at the end of the run.
    """
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] not in NEVER_AGAIN:
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=2, condition=STILLNESS.stood_still))


def pytest_runtest_logstart() -> None:
    """What counts is a test's own time."""
    STILLNESS.begin()


def _has_room(folder: Path) -> bool:
    if not os.access(folder, os.W_OK):
        return False
    is_executable = not os.statvfs(folder).f_flag & os.ST_NOEXEC
    return is_executable and shutil.disk_usage(folder).free >= MIN_FREE_BYTES


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell why a test failed also where the run does not come to its end."""
    if report.outcome in {"failed", "rerun"}:
        print(f"\n{report.nodeid} ({report.when}):\n{report.longreprtext[-4_000:]}", flush=True)
