"""The session's demo, and that no test leaves a process behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.harness import Demo, eventually, kill_leftovers, start_demo


@pytest.fixture(scope="session")
def session_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with start_demo(tmp_path_factory.mktemp("demo") / "state") as demo:
        yield demo


@pytest.fixture
def demo(session_demo: Demo) -> Iterator[Demo]:
    """The session's demo, whole before the test and whole after it."""
    eventually(session_demo.whole, "the demo is whole before the test", seconds=30)
    yield session_demo
    eventually(session_demo.whole, "the demo is whole after the test", seconds=30)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ends what a test that failed left in its folder."""
    folder: Path | None = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None:
        kill_leftovers(folder)
