"""Files of keys that a router reads from its own disk."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cellplane.errors import RouterError
from cellplane.model import Cell, Fleet, JwtProvider, KeySource, KeySourceKind, Pool, Topology
from cellplane.router.local_files import MAX_LOCAL_FILE_BYTES, LocalFiles, LocalFolder
from cellplane.routing import RoutingTable, compile_table, encode
from cellplane.signed_cookie import new_secret

JWKS = json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": "a", "y": "b", "kid": "1"}]})
COOKIE = KeySource(KeySourceKind.COOKIE, "route")
CLAIM = KeySource(KeySourceKind.JWT_CLAIM, "sub")


def table(*sources: KeySource, **jwks: str) -> RoutingTable:
    providers = tuple(JwtProvider(name, "https://id.example", jwks_file=path) for name, path in jwks.items())
    fleet = Fleet("shop", key_sources=sources, jwt=providers)
    return RoutingTable(encode(compile_table(Topology(fleet, (Cell("a", "h", 1),), (Pool("default", ("a",)),)), 1)))


def test_a_table_that_needs_none_reads_none(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "copies", tmp_path / "absent")
    assert folder.read(table(KeySource.trusted_header("x-org"))) == LocalFiles()


def test_contents_are_copied_and_the_copy_goes_on(tmp_path: Path) -> None:
    jwks, cookies = tmp_path / "jwks.json", tmp_path / "cookie-keys"
    jwks.write_text(JWKS)
    cookies.write_text(f"a {new_secret()}")
    needy = table(CLAIM, COOKIE, id=str(jwks))
    first = LocalFolder(tmp_path / "copies", cookies).read(needy)
    assert first.jwks == {"id": JWKS}
    assert first.cookie_keys is not None
    assert first.cookie_keys.read_text() == cookies.read_text()
    assert (tmp_path / "copies").stat().st_mode & 0o777 == 0o700
    assert first.cookie_keys.stat().st_mode & 0o777 == 0o600
    jwks.unlink()
    cookies.unlink()
    assert LocalFolder(tmp_path / "copies", cookies).read(needy) == first
    with pytest.raises(RouterError, match="cookie-keys"):
        LocalFolder(tmp_path / "others", cookies).read(table(COOKIE))


def test_other_keys_of_cookies_are_another_file_and_the_old_one_is_forgotten(tmp_path: Path) -> None:
    cookies = tmp_path / "cookie-keys"
    cookies.write_text(f"a {new_secret()}")
    folder = LocalFolder(tmp_path / "copies", cookies)
    first = folder.read(table(COOKIE)).cookie_keys
    cookies.write_text(f"b {new_secret()}")
    after = folder.read(table(COOKIE))
    assert first is not None
    assert after.cookie_keys != first
    assert first.exists()
    folder.forget_others(after)
    assert not first.exists()
    assert folder.read(table(COOKIE)) == after


def test_a_file_at_another_place_has_no_copy(tmp_path: Path) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_text(JWKS)
    folder = LocalFolder(tmp_path / "copies", None)
    folder.read(table(CLAIM, id=str(jwks)))
    with pytest.raises(RouterError, match=r"other\.json"):
        folder.read(table(CLAIM, id=str(tmp_path / "other.json")))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a JWK Set"),
        ("[1]", "jwks.keys: expected at least one key"),
        ('{"keys": {}}', "jwks.keys: expected at least one key"),
        ('{"keys": []}', "jwks.keys: expected at least one key"),
        ('{"keys": [1]}', r"jwks.keys\[0\].kty"),
        ('{"keys": [{"kty": "RSA"}, {"kid": "1"}]}', r"jwks.keys\[1\].kty"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', r"jwks.keys\[0\]: a secret key"),
        ('{"keys": [{"kty": "EC", "d": "c2VjcmV0"}]}', r"jwks.keys\[0\]: a secret key"),
        ("[" * 100_000, "expected a JWK Set"),
        ("\ud800", "expected UTF-8"),
        (" " * (MAX_LOCAL_FILE_BYTES + 1), "at most"),
    ],
)
def test_what_is_no_set_of_public_keys_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(text.encode("utf-8", "surrogatepass"))
    folder = LocalFolder(tmp_path / "copies", None)
    with pytest.raises(RouterError, match=reason) as caught:
        folder.read(table(CLAIM, id=str(jwks)))
    assert "c2VjcmV0" not in str(caught.value)
    jwks.write_text(JWKS)
    assert folder.read(table(CLAIM, id=str(jwks))).jwks == {"id": JWKS}
    jwks.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert folder.read(table(CLAIM, id=str(jwks))).jwks == {"id": JWKS}


def test_damage_is_said_once_and_so_is_its_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_text(JWKS)
    folder = LocalFolder(tmp_path / "copies", None)
    needy = table(CLAIM, id=str(jwks))
    texts = [JWKS, "{", "{", '{"keys": []}', JWKS, JWKS]
    for text in texts:
        jwks.write_text(text)
        folder.read(needy)
    said = capfd.readouterr().err
    assert (said.count("local_file_unusable"), said.count("local_file_usable ")) == (2, 1)


def test_a_router_without_keys_of_cookies_cannot_read_them(tmp_path: Path) -> None:
    with pytest.raises(RouterError, match="without --cookie-keys"):
        LocalFolder(tmp_path, None).read(table(COOKIE))


def test_no_secret_is_shown(tmp_path: Path) -> None:
    files: Any = replace(LocalFiles({"id": JWKS}), cookie_keys=tmp_path / "cookie-keys-of-x")
    assert "P-256" not in repr(files)


def test_keys_of_proofs_are_read_whatever_the_table(tmp_path: Path) -> None:
    proofs = tmp_path / "proof-keys"
    proofs.write_text(f"a {new_secret()}")
    folder = LocalFolder(tmp_path / "copies", None, proofs)
    first = folder.read(table(KeySource.trusted_header("x-org")))
    assert first.proof_keys is not None
    assert first.paths == [first.proof_keys]
    assert first.proof_keys.read_text() == proofs.read_text()
    proofs.write_text(f"b {new_secret()}")
    second = folder.read(table(KeySource.trusted_header("x-org")))
    folder.forget_others(second)
    assert not first.proof_keys.exists()
    for damage in ("nonsense", f"c {new_secret()} eu"):
        proofs.write_text(damage)
        assert folder.read(table(KeySource.trusted_header("x-org"))) == second
    with pytest.raises(RouterError, match="proof keys: expected keys without a jurisdiction"):
        LocalFolder(tmp_path / "others", None, proofs).read(table(KeySource.trusted_header("x-org")))
