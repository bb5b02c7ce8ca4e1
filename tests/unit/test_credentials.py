"""Where a client has its token from."""

import json
import os
from pathlib import Path

import pytest

from cellplane.credentials import TokenFile, find_token
from cellplane.errors import ControlPlaneError

URL = "http://127.0.0.1:8081"


def local_fleet(state: Path, url: str = URL) -> None:
    (state / "control").mkdir(parents=True)
    (state / "endpoints.json").write_text(json.dumps({"control": url}))
    (state / "control" / "admin-token").write_text("cp_local\n")


def test_the_option_wins_then_the_variable_then_its_file_then_the_local_fleet(tmp_path: Path) -> None:
    state = tmp_path / "state"
    local_fleet(state)
    option, named = tmp_path / "option", tmp_path / "named"
    option.write_text("cp_option\n")
    named.write_text("cp_named\n")
    environ = {"CELLPLANE_TOKEN": "cp_variable", "CELLPLANE_TOKEN_FILE": str(named)}
    assert find_token(URL, option, state, environ) == "cp_option"
    assert find_token(URL, None, state, environ) == "cp_variable"
    del environ["CELLPLANE_TOKEN"]
    assert find_token(URL, None, state, environ) == "cp_named"
    assert find_token(URL, None, state, {}) == "cp_local"
    assert find_token(f"{URL}/", None, state, {}) == "cp_local"


def test_the_local_admins_token_goes_to_no_other_control_plane(tmp_path: Path) -> None:
    local_fleet(tmp_path / "state")
    for url in ("http://127.0.0.1:9999", "https://control.example", "http://127.0.0.1:8081.evil.example"):
        assert find_token(url, None, tmp_path / "state", {}) is None
    assert find_token(URL, None, tmp_path / "none", {}) is None


def test_a_file_that_is_named_has_to_have_one(tmp_path: Path) -> None:
    with pytest.raises(ControlPlaneError, match="cannot be read: No such file"):
        find_token(URL, tmp_path / "none", tmp_path, {})
    for text in ("", "two words", "a\nb", "ü", "x" * 9_000):
        (tmp_path / "file").write_text(text)
        with pytest.raises(ControlPlaneError, match="has no token") as caught:
            find_token(URL, tmp_path / "file", tmp_path, {})
        assert not text or text not in str(caught.value)
    with pytest.raises(ControlPlaneError, match="CELLPLANE_TOKEN is no token"):
        find_token(URL, None, tmp_path, {"CELLPLANE_TOKEN": "a b"})


def test_a_renewed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("cp_one")
    file = TokenFile(path)
    assert file.read() == "cp_one"
    new = tmp_path / "new"
    new.write_text("cp_two")
    new.rename(path)
    assert file.read() == "cp_two"
    seen = path.stat()
    path.write_text("cp_333")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert file.read() == "cp_two", "same file, size and time"
    path.unlink()
    with pytest.raises(ControlPlaneError, match="cannot be read"):
        file.read()
