"""`cellplane cookie`: keys, and cookies that are signed and read, and what is refused."""

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cellplane.cli.commands import cli
from cellplane.cli.cookie import MAX_KEYS_BYTES
from cellplane.signed_cookie import MAX_EXPIRY, Keyring

SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
OLDER = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"
KEYS = f"# the first signs\n2026-11 {SECRET}\n2026-10 {OLDER}\n"
KEYRING = Keyring.parse(KEYS)
LATER = 4_000_000_000


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "cookie-keys"
    path.touch(mode=0o600)
    path.write_text(KEYS)
    return path


def run(*words: object) -> Result:
    result = CliRunner().invoke(cli, ["cookie", *(str(word) for word in words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert SECRET not in result.output + result.stderr
    return result


def sign(keys: Path, *words: object) -> Result:
    return run("sign", "--keys", keys, "--name", "route", *words)


def read(keys: Path, value: str, name: str = "route") -> dict[str, Any]:
    result = run("read", "--keys", keys, "--name", name, "--json", value)
    answer: dict[str, Any] = json.loads(result.output)
    assert result.exit_code == (0 if answer["valid"] else 1)
    return answer


def test_a_key_is_a_line_of_a_file() -> None:
    before, result, after = datetime.now(UTC), CliRunner().invoke(cli, ["cookie", "key"]), datetime.now(UTC)
    assert result.exit_code == 0
    assert Keyring.parse(result.output).signing_key in {f"{moment:%Y-%m-%d}" for moment in (before, after)}
    assert re.fullmatch(r"\S+ \S{43}\n", result.output)
    named = CliRunner().invoke(cli, ["cookie", "key", "--id", "blue_2"]).output
    assert Keyring.parse(named).signing_key == "blue_2"
    assert named.split()[1] != result.output.split()[1]


@pytest.mark.parametrize("key_id", ["", "a b", "a.b", "é", "k" * 33, "#a"])
def test_a_key_has_an_id(key_id: str) -> None:
    result = run("key", "--id", key_id)
    assert result.exit_code == 2
    assert "expected 1 to 32 letters, digits, _ or -" in result.stderr


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ([], 8 * 3600),
        (["--ttl", "1h"], 3600),
        (["--ttl", "90"], 90),
        (["--ttl", "90s"], 90),
        (["--ttl", "30m"], 1800),
        (["--ttl", "400d"], 400 * 86_400),
    ],
)
def test_a_cookie_is_signed_by_the_first_key(keys: Path, words: list[str], seconds: int) -> None:
    before = int(time.time())
    result = sign(keys, *words, "acme")
    after = int(time.time())
    assert (result.exit_code, result.stderr) == (0, "")
    value = result.output.removesuffix("\n")
    version, expires, key_id, *_rest = value.split(".")
    assert (version, key_id) == ("cp1", "2026-11")
    assert before + seconds <= int(expires) <= after + seconds
    assert KEYRING.verify("route", value.encode(), now=after) == b"acme"


@pytest.mark.parametrize("ttl", ["0", "0h", "-1", "1w", "h", "", "1.5h", "1 h", "401d", "9" * 20, "١h"])
def test_a_cookie_lives_for_a_second_to_400_days(keys: Path, ttl: str) -> None:
    result = sign(keys, f"--ttl={ttl}", "acme")
    assert result.exit_code == 2
    assert "expected 1 second to 400 days" in result.stderr


@pytest.mark.parametrize("tenant", ["", "a/b", "a b", ".a", "é", "t" * 129, "a;b"])
def test_what_is_no_tenants_key_is_not_signed(keys: Path, tenant: str) -> None:
    result = sign(keys, "--", tenant)
    assert (result.exit_code, result.output) == (1, result.stderr)
    assert result.stderr.startswith("error: tenant: a tenant id is 1 to 128 ASCII characters")


@pytest.mark.parametrize("command", [["sign", "acme"], ["read", "cp1"]])
@pytest.mark.parametrize("name", ["", "a=b", "a b", "c" * 65])
def test_a_cookie_has_a_name(keys: Path, command: list[str], name: str) -> None:
    result = run(*command, "--keys", keys, "--name", name)
    assert result.exit_code == 2
    assert "expected the name of a cookie" in result.stderr


def test_a_cookie_is_read_as_a_router_does(keys: Path) -> None:
    value = KEYRING.sign("route", "acme", expires=LATER)
    result = run("read", "--keys", keys, "--name", "route", value)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.output == "tenant: acme\nkey: 2026-11\njurisdiction: -\nexpires: 2096-10-02T07:06:40+00:00\nvalid\n"
    assert read(keys, value) == {
        "tenant": "acme",
        "key": "2026-11",
        "jurisdiction": None,
        "expires": "2096-10-02T07:06:40+00:00",
        "valid": True,
        "reason": None,
    }


def test_a_key_of_a_jurisdiction_says_so(keys: Path) -> None:
    line = run("key", "--id", "eu-1", "--jurisdiction", "eu").output
    keys.write_text(line)
    assert line.split()[::2] == ["eu-1", "eu"]
    assert read(keys, sign(keys, "acme").output.strip())["jurisdiction"] == "eu"
    assert run("key", "--jurisdiction", "E U").exit_code == 2


def test_what_is_signed_is_read(keys: Path) -> None:
    assert read(keys, sign(keys, "--ttl", "1m", "A.b_c:d@e|f+g=h~i-0").output.strip())["valid"]


@pytest.mark.parametrize(
    ("value", "name", "reason", "tenant"),
    [
        (KEYRING.sign("route", "acme", expires=LATER), "other", "it is not signed by this key for a cookie of", "acme"),
        (KEYRING.sign("route", "acme", expires=LATER).replace("acme", "evil"), "route", "it is not signed by", "evil"),
        (KEYRING.sign("route", "acme", expires=1_000), "route", "it has expired", "acme"),
        (KEYRING.sign("route", "acme", expires=LATER).replace("2026-11", "x"), "route", "no key of the file", "acme"),
        (KEYRING.sign("route", "a/b", expires=LATER), "route", "its tenant is no key", "a/b"),
        ("acme", "route", "it is not cp1.<expiry>", None),
        ("", "route", "it is not cp1.<expiry>", None),
        ("ä", "route", "it is not cp1.<expiry>", None),
    ],
)
def test_why_a_cookie_does_not_count(keys: Path, value: str, name: str, reason: str, tenant: str | None) -> None:
    answer = read(keys, value, name)
    assert (answer["valid"], answer["tenant"]) == (False, tenant)
    assert answer["reason"].startswith(reason)
    result = run("read", "--keys", keys, "--name", name, value)
    assert result.exit_code == 1
    first, *_others, last = result.output.splitlines()
    assert first == f"tenant: {tenant or '-'}"
    assert last == f"not valid: {answer['reason']}"


def test_an_expiry_beyond_the_calendar_is_its_seconds(keys: Path) -> None:
    answer = read(keys, KEYRING.sign("route", "acme", expires=MAX_EXPIRY))
    assert (answer["valid"], answer["expires"]) == (True, str(MAX_EXPIRY))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_keys_that_others_can_open_are_warned_of(keys: Path, mode: int) -> None:
    keys.chmod(mode)
    for result in (sign(keys, "acme"), run("read", "--keys", keys, "--name", "route", "x")):
        assert result.stderr == (f"warning: others than its owner may open {keys} (mode {mode:04o}): chmod 600 it\n"), (
            result.output
        )
    assert KEYRING.verify("route", sign(keys, "acme").stdout.strip().encode(), now=int(time.time())) == b"acme"


def test_keys_that_cannot_be_read_are_said(keys: Path, tmp_path: Path) -> None:
    for path, said in (
        (tmp_path / "none", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        result = sign(path, "acme")
        assert (result.exit_code, result.stderr) == (1, f"error: cannot read {path}: {said}\n")
    keys.write_bytes(f"a {SECRET}".encode() + b"\xff")
    assert sign(keys, "acme").stderr == f"error: cannot read {keys}: it is no text\n"
    keys.write_text(f"a {SECRET} {OLDER}")
    assert sign(keys, "acme").stderr.startswith("error: cookie keys, line 1: expected an id of 1 to 32")
    keys.write_text("#" * (MAX_KEYS_BYTES + 1))
    assert sign(keys, "acme").stderr == f"error: {keys}: expected at most 65,536 bytes\n"
    assert run("sign", "--name", "route", "acme").exit_code == 2
