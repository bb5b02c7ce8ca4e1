"""Where tests keep their files, which of them run one after another, and that a failure is told when it happens."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent
GROUPS = {"chaos": "fleets", "e2e": "fleets", "e2e_app": "app"}
"""Folder of tests → the process that runs them all, where several do."""

# How fast a machine is, is no reason to fail.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

MEMORY = Path("/dev/shm")
MIN_FREE_BYTES = 6 * 1024**3
"""Far more than the tests that run at once have; what has passed is removed."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests' files in memory where there is room: dozens of databases wait for the disk else, and are killed by
    ``kill -9``, never by a power cut.
    """
    if config.option.basetemp is None and "PYTEST_DEBUG_TEMPROOT" not in os.environ and _has_room(MEMORY):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that run whole fleets do so one after another, in one process, while others run beside them."""
    for item in items:
        place = item.path.relative_to(TESTS).parts[0]
        if place in GROUPS:
            item.add_marker(pytest.mark.xdist_group(GROUPS[place]))


def _has_room(folder: Path) -> bool:
    if not os.access(folder, os.W_OK):
        return False
    is_executable = not os.statvfs(folder).f_flag & os.ST_NOEXEC
    return is_executable and shutil.disk_usage(folder).free >= MIN_FREE_BYTES


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell why a test failed also where the run does not come to its end."""
    if report.failed:
        print(f"\n{report.nodeid} ({report.when}):\n{report.longreprtext[-4_000:]}", flush=True)
