"""A control plane that can misbehave, for each test."""

from collections.abc import Iterator

import pytest

from unit.agent.fake_control import FakeControl, fake_control


@pytest.fixture
def control() -> Iterator[FakeControl]:
    with fake_control() as control:
        yield control
