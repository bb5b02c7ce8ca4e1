"""`cellplane keys`: keys that are made and listed, and manifests that are verified."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cellplane.cli.commands import cli
from cellplane.errors import ProvisionError
from cellplane.provision.local.folder import StateFolder
from cellplane.provision.local.signing import create_signing_key
from cellplane.publishing.keys import KeyUse, create_key, read_signing_key
from cellplane.publishing.signer import Signer
from unit.publishing.tables import overlaid


def run(*words: object) -> Result:
    result = CliRunner().invoke(cli, ["keys", *(str(word) for word in words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "PRIVATE" not in result.output + result.stderr
    return result


def test_a_key_is_made_listed_and_found_in_what_it_signed(tmp_path: Path) -> None:
    made = run("create", tmp_path / "eu", "--jurisdiction", "eu", "--valid-days", "30")
    assert made.exit_code == 0, made.output
    key = read_signing_key(tmp_path / "eu")
    assert made.output.startswith(f"{key.id}: ")
    assert key.use.jurisdiction == "eu"
    assert 0 <= time.time() + 30 * 86_400 - (key.use.not_after or 0) < 60
    listed = json.loads(run("list", "--json", tmp_path / "eu", tmp_path / "eu.pub").output)["items"]
    assert [(row["id"], row["jurisdiction"], row["expired"]) for row in listed] == [(key.id, "eu", False)] * 2
    assert "eu" in run("list", tmp_path / "eu.pub").output

    manifest = tmp_path / "manifest"
    manifest.write_bytes(Signer([key], time.time).manifest(overlaid(3, 5)).encode())
    answer = json.loads(run("verify", manifest, "--trust", tmp_path / "eu.pub", "--json").output)
    assert (answer["fleet"], answer["epoch"], answer["signed_by"], answer["valid"]) == ("shop", 5, [key.id], True)
    run("create", tmp_path / "us", "--valid-days", "never")
    other = run("verify", manifest, "--trust", tmp_path / "us.pub")
    assert other.exit_code == 1
    assert "does not trust" in other.output
    assert run("verify", manifest, "--trust", tmp_path / "us.pub", "--trust", tmp_path / "eu.pub").exit_code == 0


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    create_key(tmp_path / "old", KeyUse("", int(time.time()) - 10))
    listed = run("list", tmp_path / "old")
    assert listed.exit_code == 1
    assert "(expired)" in listed.output
    for words, code, reason in (
        (("create", tmp_path / "old"), 1, "is there already"),
        (("create", tmp_path / "x", "--valid-days", "0"), 2, "1 to 36500 days or never"),
        (("create", tmp_path / "x", "--jurisdiction", "No Name"), 2, "a name such as eu"),
        (("list", tmp_path / "none"), 1, "cannot read"),
        (("verify", tmp_path / "none", "--trust", tmp_path / "old.pub"), 1, "cannot read"),
        (("verify", tmp_path / "old", "--trust", tmp_path / "old.pub"), 1, "begins with"),
    ):
        result = run(*words)
        assert result.exit_code == code
        assert reason in result.output + result.stderr


def test_a_local_fleet_makes_its_key_once(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    create_signing_key(folder)
    first = read_signing_key(folder.signing_key).id
    create_signing_key(folder)
    assert read_signing_key(folder.signing_key).id == first
    folder.signing_key.unlink()
    create_signing_key(folder)
    assert read_signing_key(folder.signing_key).id != first, "a start that was cut short leaves a public half alone"


@pytest.mark.parametrize("damage", ["open", "other half"])
def test_a_local_fleet_says_what_is_wrong_with_its_key(tmp_path: Path, damage: str) -> None:
    folder = StateFolder(tmp_path)
    create_signing_key(folder)
    if damage == "open":
        folder.signing_key.chmod(0o644)
    else:
        create_key(tmp_path / "other", KeyUse())
        folder.trust.write_bytes((tmp_path / "other.pub").read_bytes())
    with pytest.raises(ProvisionError, match=r"remove .*keys for a new key"):
        create_signing_key(folder)
