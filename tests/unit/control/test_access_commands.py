"""Commands about tokens and calls, and what they say without a token."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from unit.control.serving import Api


def run(api: Api, *arguments: str, code: int = 0) -> tuple[str, str]:
    # A process of its own, as the control plane in this one logs to the same output.
    command = [sys.executable, "-c", "from cellplane.cli import main; main()", *arguments]
    command += ["--control", f"http://127.0.0.1:{api.port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_a_token_is_made_used_listed_and_revoked(shop: Api, tmp_path: Path) -> None:
    made, told = run(
        shop, "token", "create", "ci", "--role", "operator", "--permission", "tenants:write", "--days", "7"
    )
    token = made.strip()
    token_id = token.split("_")[1]
    assert told.startswith(f"token {token_id} of ci (operator) until ")
    assert token.split("_")[2] not in told
    file = tmp_path / "token"
    file.write_text(made)
    by_ci = ("--token-file", str(file))
    run(shop, "assign", "acme", "cell-2", "--no-wait", *by_ci)
    assert "needs the permission read" in run(shop, "cells", *by_ci, code=1)[1]
    rows = {line.split()[1]: line.split() for line in run(shop, "token", "list")[0].splitlines()}
    assert rows["ci"][:6] == [token_id, "ci", "operator", "-", "tenants:write", "live"]
    assert token.split("_")[2] not in json.dumps(rows)
    assert "is revoked" in run(shop, "token", "revoke", token_id)[0]
    assert "(401): give a token with --token-file" in run(shop, "cells", *by_ci, code=1)[1]
    (found,) = [each for each in json.loads(run(shop, "token", "list", "--json")[0])["items"] if each["name"] == "ci"]
    assert found["state"] == "revoked"


def test_calls_are_listed(shop: Api) -> None:
    run(shop, "assign", "acme", "cell-2", "--no-wait")
    changed = run(shop, "audit", "--changed", "--limit", "1")[0]
    assert changed.splitlines()[1].split()[2:8] == ["admin", "admin", "127.0.0.1", "PUT", "/v1/tenants/acme", "200"]
    assert "There are more: cellplane audit --before" in changed
    assert run(shop, "audit", "--refused")[0] == "No call is on record.\n"
    (call,) = json.loads(run(shop, "audit", "--caller", "admin", "--limit", "1", "--json")[0])["items"]
    assert call["path"] == "/v1/tenants/acme"
    assert "since" in run(shop, "audit", "--since", "yesterday", code=1)[1]


def test_without_a_token_a_command_says_how_to_give_one(
    shop: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CELLPLANE_TOKEN")
    monkeypatch.setenv("CELLPLANE_STATE", str(tmp_path / "none"))
    _, error = run(shop, "cells", code=1)
    for how in ("--token-file", "CELLPLANE_TOKEN", "CELLPLANE_TOKEN_FILE", "CELLPLANE_STATE"):
        assert how in error
