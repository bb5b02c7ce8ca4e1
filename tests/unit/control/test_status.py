"""What a control plane says of itself."""

import stat
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cellplane import __version__
from cellplane.directory.migrating import head_revision
from cellplane.publishing.keys import KeyUse, create_key
from unit.control.serving import Api, eventually, serving

REPORT = {"epoch": 4, "sha256": "", "proxy": "fake", "ready": True}


def test_it_says_its_release_clocks_and_directory(shop: Api) -> None:
    found = shop.get("/v1/status").json()
    assert found["version"] == __version__
    assert found["store"] == "sqlite"
    assert found["schema_revision"] == found["schema_expected"] == head_revision()
    assert found["leads"] is True
    assert found["leader"]["seconds_left"] is None, "nobody else can lead on a file"
    assert found["leader"]["token"] == 1
    assert (found["signing_keys"], found["targets"], found["guard_rails"], found["tls"]) == ([], [], False, False)
    assert found["free_bytes"] > 0
    for name in ("now", "database_now"):
        assert abs(datetime.fromisoformat(found[name]).timestamp() - time.time()) < 60


def test_of_several_it_says_whose_lease_ends_when(database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, database_url=database_url, name="one") as api:
        eventually(lambda: api.get("/v1/status").json()["leads"], "it leads")
        found = api.get("/v1/status").json()
    assert found["store"] == "postgresql"
    assert found["leader"]["holder"].startswith("one:")
    assert 0 < found["leader"]["seconds_left"] <= 5


def test_it_says_until_when_keys_count_and_nothing_else_of_them(tmp_path: Path) -> None:
    ends = int(time.time()) - 10
    key = create_key(tmp_path / "key.pem", KeyUse("eu", ends))
    with serving(tmp_path / "state", signing_keys=(tmp_path / "key.pem",)) as api:
        (found,) = api.get("/v1/status").json()["signing_keys"]
    assert found["id"] == key.id
    assert found["jurisdiction"] == "eu"
    assert datetime.fromisoformat(found["not_after"]) == datetime.fromtimestamp(ends, UTC)
    assert found["expired"] is True


def test_it_says_how_far_each_target_is_and_why_one_is_not(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    bad.write_text("a file, where a folder was meant")
    with serving(tmp_path / "state", publish_to=(str(good), str(bad))) as api:
        epoch = api.fill()

        def targets() -> list[dict[str, object]]:
            found: list[dict[str, object]] = api.get("/v1/status").json()["targets"]
            return found

        eventually(lambda: targets()[0]["epoch"] == epoch and bool(targets()[1]["failure"]), "both were tried")
        taken, failed = targets()
    assert taken["failure"] == ""
    assert failed["epoch"] is None
    assert str(bad) in str(failed["failure"])


@pytest.mark.parametrize("ahead_seconds", [-90, 0, 90])
def test_how_far_a_routers_clock_is_ahead_is_told(shop: Api, ahead_seconds: int) -> None:
    report = {**REPORT, "version": "1.2.3", "at": time.time() + ahead_seconds}
    shop.http.post("/v1/routers/router-1/report", json=report).raise_for_status()
    (router,) = shop.get("/v1/routers").json()["items"]
    assert router["version"] == "1.2.3"
    assert router["clock_offset_seconds"] == pytest.approx(ahead_seconds, abs=20)


def test_a_directory_on_sqlite_is_its_owners_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving(state):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.glob("directory.sqlite3*")}
    assert modes.keys() >= {"directory.sqlite3", "directory.sqlite3-wal"}
    assert set(modes.values()) == {0o600}, modes
