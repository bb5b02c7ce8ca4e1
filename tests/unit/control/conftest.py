"""A control plane for each test: empty, or with a fleet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.control.serving import Api, serving


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A control plane over an empty directory; commands find its admin's token."""
    with serving(tmp_path / "state") as api:
        monkeypatch.setenv("CELLPLANE_TOKEN", api.token)
        yield api


@pytest.fixture
def shop(api: Api) -> Api:
    """The same with the fleet `shop`, published at epoch 4."""
    assert api.fill() == 4
    return api


@pytest.fixture(scope="module")
def steady_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One such fleet for all tests of a module that change nothing in it."""
    with serving(tmp_path_factory.mktemp("steady") / "state") as api:
        api.fill()
        yield api
