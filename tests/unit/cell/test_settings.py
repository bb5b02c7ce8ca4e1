"""What a cell is told by its environment."""

import pytest

from cellplane.cell import CellSettings, InvalidSettingError, MissingSettingsError

ENVIRON = {
    "CELLPLANE_CELL_ID": "cell-a",
    "CELLPLANE_DATABASE_URL": "postgresql://app:secret@127.0.0.1/app",
    "CELLPLANE_NATS_URL": "nats://app:secret@127.0.0.1",
}


def test_environment_is_read() -> None:
    settings = CellSettings.from_env(ENVIRON | {"OTHER": "x"})
    assert settings.cell_id == "cell-a"
    assert settings.database_url == ENVIRON["CELLPLANE_DATABASE_URL"]
    assert settings.nats_url == ENVIRON["CELLPLANE_NATS_URL"]


def test_all_missing_variables_are_named() -> None:
    with pytest.raises(MissingSettingsError) as caught:
        CellSettings.from_env({"CELLPLANE_DATABASE_URL": ""})
    assert caught.value.names == tuple(ENVIRON)
    assert all(name in str(caught.value) for name in ENVIRON)


def test_variable_that_is_there_is_not_named() -> None:
    with pytest.raises(MissingSettingsError) as caught:
        CellSettings.from_env({"CELLPLANE_CELL_ID": "cell-a", "CELLPLANE_NATS_URL": "nats://x"})
    assert caught.value.names == ("CELLPLANE_DATABASE_URL",)
    assert "CELLPLANE_CELL_ID" not in str(caught.value)


def test_an_app_without_a_queue_says_so() -> None:
    without = {name: value for name, value in ENVIRON.items() if name != "CELLPLANE_NATS_URL"}
    assert CellSettings.from_env(without, needs_nats=False).nats_url == ""
    assert CellSettings.from_env(ENVIRON, needs_nats=False).nats_url == ENVIRON["CELLPLANE_NATS_URL"]
    with pytest.raises(MissingSettingsError) as caught:
        CellSettings.from_env({}, needs_nats=False)
    assert caught.value.names == ("CELLPLANE_CELL_ID", "CELLPLANE_DATABASE_URL")


@pytest.mark.parametrize("cell_id", ["cell a", "cell\n", "zelle-ä", "x" * 129])
def test_cell_id_that_no_header_can_hold_is_refused(cell_id: str) -> None:
    with pytest.raises(InvalidSettingError, match="CELLPLANE_CELL_ID"):
        CellSettings.from_env(ENVIRON | {"CELLPLANE_CELL_ID": cell_id})


def test_passwords_are_not_shown() -> None:
    assert "secret" not in repr(CellSettings.from_env(ENVIRON))


def test_a_release_is_told_or_nobody_says() -> None:
    assert CellSettings.from_env(ENVIRON).release == ""
    assert CellSettings.from_env(ENVIRON | {"CELLPLANE_RELEASE": "r7"}).release == "r7"


@pytest.mark.parametrize("release", ["r 7", "r7\n", "x" * 129])
def test_a_release_that_no_header_can_hold_is_refused(release: str) -> None:
    with pytest.raises(InvalidSettingError, match="CELLPLANE_RELEASE"):
        CellSettings.from_env(ENVIRON | {"CELLPLANE_RELEASE": release})
