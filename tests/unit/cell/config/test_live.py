"""What is in force as a file comes, changes, is damaged and goes."""

import json
import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from cellplane.cell import CellContext, entered
from cellplane.cell.config import ConfigError, ConfigLimits, ConfigStatus, LiveConfig, UnknownFlagError

CELL = "cell-3"


@dataclass(frozen=True, slots=True)
class Settings:
    """What an app may be told."""

    batch: int = 100
    factor: float = 1.0
    provider: Literal["one", "two"] = "one"
    names: tuple[str, ...] = ()
    limit: int | None = None
    on: bool = False

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch: expected 1 or more, found {self.batch}")


class Place:
    """A folder with a configuration file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "config.json"

    def write(self, revision: int = 1, **said: Any) -> None:
        document = {"version": 1, "revision": revision, "cell": CELL, **said}
        self.put(json.dumps(document).encode())

    def put(self, data: bytes) -> None:
        aside = self.path.with_suffix(".aside")
        aside.write_bytes(data)
        aside.rename(self.path)

    def live(self, **more: Any) -> LiveConfig[Settings]:
        return LiveConfig(self.path, CELL, Settings, flags=("new", "old"), **more)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_a_file_the_defaults_count(place: Place) -> None:
    live = place.live()
    assert live.values() == Settings()
    assert not live.flag("new")
    assert live.status == ConfigStatus(0, "defaults", "", ())


def test_later_layers_win_and_a_tenant_most_of_all(place: Place) -> None:
    place.write(
        layers={"fleet": {"batch": 1, "factor": 2, "on": True}, "pool": {"batch": 2}, "cell": {"batch": 3}},
        tenants={"acme": {"batch": 4, "names": ["a", "b"], "limit": None, "provider": "two"}},
    )
    live = place.live()
    assert live.values() == Settings(batch=3, factor=2.0, on=True)
    acme = Settings(batch=4, factor=2.0, on=True, names=("a", "b"), provider="two")
    assert live.values("acme") == acme
    with entered(CellContext(CELL, 1, "acme")):
        assert live.values() == acme
        assert live.values("other") == live.values("another") == Settings(batch=3, factor=2.0, on=True)
    assert [live.origin(name) for name in ("batch", "factor", "limit")] == ["cell", "fleet", "default"]
    assert live.origin("batch", "acme") == "tenant"


def test_a_flag_is_of_the_tenant_that_asks(place: Place) -> None:
    place.write(flags={"new": {"tenants": {"acme": True}}})
    live = place.live()
    assert not live.flag("new")
    with entered(CellContext(CELL, 1, "acme")):
        assert live.flag("new")
        assert not live.flag("old")
    assert live.flag("new", "acme")


def test_a_flag_that_nobody_declared_is_a_mistake(place: Place) -> None:
    place.write(flags={"nwe": {"everywhere": True}})
    with pytest.raises(UnknownFlagError, match="'nwe' is declared here, but new, old"):
        place.live().flag("nwe")


def test_a_change_of_the_file_is_in_force_at_the_next_look(place: Place) -> None:
    place.write(layers={"cell": {"batch": 1}}, flags={"new": {"everywhere": True}})
    live = place.live()
    assert live.flag("new", "acme")
    assert not live.look(), "nothing changed"
    place.write(2, layers={"cell": {"batch": 2}})
    assert live.look()
    assert live.values().batch == 2
    assert not live.flag("new", "acme"), "what was remembered of it is forgotten"
    assert live.status == ConfigStatus(2, "file", "", ())


def test_it_looks_by_itself(place: Place) -> None:
    live = place.live(limits=ConfigLimits(look_seconds=0.01))
    changed = threading.Event()
    look = live.look

    def told() -> bool:
        if look():
            changed.set()
            return True
        return False

    live.look = told  # type: ignore[method-assign]
    live.start()
    place.write(layers={"cell": {"batch": 7}})
    assert changed.wait(60)
    live.stop()
    assert live.values().batch == 7


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"layers": {"cell": {"batch": "7"}}}, "layers.cell.batch: expected int, found '7'"),
        ({"layers": {"cell": {"batch": True}}}, "layers.cell.batch: expected int, found True"),
        ({"layers": {"cell": {"batch": 0}}}, "layers: batch: expected 1 or more"),
        ({"tenants": {"acme": {"provider": "three"}}}, "tenants.acme.provider: expected one of 'one', 'two'"),
        ({"tenants": {"acme": {"names": [1]}}}, "tenants.acme.names[0]: expected str, found 1"),
        ({"tenants": {"acme": {"names": "a"}}}, "tenants.acme.names: expected a list"),
        ({"layers": {"cell": {"on": 1}}}, "layers.cell.on: expected bool"),
        ({"cell": "cell-4"}, "cell: expected a document for 'cell-3', found one for 'cell-4'"),
        ({"revision": 4}, "revision: expected 5 or later"),
    ],
)
def test_a_document_that_cannot_be_changes_nothing_and_is_said_once(
    place: Place, said: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    place.write(5, layers={"cell": {"batch": 9}})
    live = place.live()
    document = {"version": 1, "revision": 6, "cell": CELL, "layers": {"fleet": {"factor": 3}}, **said}
    for _ in range(2):
        place.put(json.dumps(document).encode())
        assert not live.look()
    assert live.values() == Settings(batch=9)
    assert why in live.status.failure
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    place.write(7)
    assert live.look()
    assert live.status == ConfigStatus(7, "file", "", ())


def test_after_a_start_the_last_good_one_counts_where_the_file_is_damaged(place: Place) -> None:
    place.write(5, layers={"cell": {"batch": 9}})
    place.live()
    place.put(b'{"version": 1, "rev')
    live = place.live()
    assert live.values().batch == 9
    assert (live.status.revision, live.status.source) == (5, "last good")
    assert "expected a document" in live.status.failure
    place.write(4)
    assert not live.look(), "it is older than the last good one"
    place.path.unlink()
    assert place.live().values().batch == 9, "also where the file is gone"


def test_where_the_last_good_one_is_damaged_too_the_defaults_count(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.put(b"{")
    place.path.with_name("config.json.last-good").write_bytes(b"[")
    live = place.live()
    assert live.values() == Settings()
    assert live.status.source == "defaults"
    assert any("last good" in record.message for record in caplog.records)


def test_a_file_that_goes_leaves_what_it_said(place: Place) -> None:
    place.write(5, layers={"cell": {"batch": 9}})
    live = place.live()
    place.path.unlink()
    assert not live.look()
    assert live.values().batch == 9
    assert "gone" in live.status.failure
    place.write(5, layers={"cell": {"batch": 9}})
    live.look()
    assert live.status.failure == ""


def test_a_file_that_is_too_large_is_refused(place: Place) -> None:
    place.write(tenants={f"tenant-{number}": {} for number in range(100)})
    live = place.live(limits=ConfigLimits(max_bytes=1_000))
    assert "at most 1,000 bytes" in live.status.failure


def test_where_no_copy_can_be_kept_the_file_counts_all_the_same(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.path.with_name("config.json.last-good").mkdir()
    place.write(layers={"cell": {"batch": 9}})
    assert place.live().values().batch == 9
    assert any("no copy" in record.message for record in caplog.records)


def test_a_file_that_cannot_be_read_is_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write(layers={"cell": {"batch": 9}})
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda *_: os.open("/nonexistent/file", os.O_RDONLY))
        live = place.live()
    assert "No such file" in live.status.failure
    assert live.look(), "although it is the same file as before"
    assert live.values().batch == 9


def test_names_that_the_app_does_not_know_are_told_of(place: Place) -> None:
    place.write(layers={"fleet": {"btach": 1}}, tenants={"acme": {"other": 2}})
    assert place.live().status.unknown == ("btach", "other")


def test_what_is_remembered_of_a_flag_is_bounded(place: Place) -> None:
    place.write(flags={"new": {"percent": 50}})
    live = place.live(limits=ConfigLimits(max_decided=10))
    first = [live.flag("new", f"t-{number}") for number in range(100)]
    assert first == [live.flag("new", f"t-{number}") for number in range(100)]
    assert len(live._in_force.flags["new"].decided) <= 10
    assert 20 < sum(first) < 80


def test_a_class_that_cannot_be_settings_is_refused(place: Place) -> None:
    @dataclass
    class NoDefault:
        batch: int

    @dataclass
    class Odd:
        batch: dict[str, int] | None = None

    for settings, why in ((NoDefault, "a default for every field"), (Odd, "Odd.batch"), (int, "a dataclass")):
        with pytest.raises(ConfigError, match=why):
            LiveConfig(place.path, CELL, settings)
