"""The session's demo."""

from collections.abc import Iterator

import pytest

from e2e.harness import Demo, eventually, start_demo


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
