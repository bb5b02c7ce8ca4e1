"""Files of keys: what is written can be read, and what is unsafe or damaged is refused without showing a secret."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cellplane.errors import KeyFileError
from cellplane.publishing.keys import KeyUse, create_key, read_keys, read_public_keys, read_signing_key
from unit.publishing.tables import NOW, key_of


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_key_is_written_for_its_owner_alone_and_its_public_half_for_all(tmp_path: Path) -> None:
    use = KeyUse("eu", NOW)
    made = create_key(tmp_path / "eu.pem", use)
    assert (tmp_path / "eu.pem").stat().st_mode & 0o777 == 0o600
    read = read_signing_key(tmp_path / "eu.pem")
    (public,) = read_public_keys(tmp_path / "eu.pem.pub")
    assert read.id == public.id == made.id
    assert read.use == public.use == use
    assert public.verifies(read.sign(b"said"), b"said")
    assert not public.verifies(read.sign(b"said"), b"other")
    assert "PRIVATE" not in (tmp_path / "eu.pem.pub").read_text()


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    create_key(tmp_path / "key", KeyUse())
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(KeyFileError, match="is there already"):
        create_key(tmp_path / "key", KeyUse())
    assert (tmp_path / "key").read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_private_key_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    create_key(tmp_path / "key", KeyUse())
    (tmp_path / "key").chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}: chmod 600"):
        read_signing_key(tmp_path / "key")


def test_public_keys_that_anybody_may_write_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "trust", key_of(1).public.encode(), 0o646)
    with pytest.raises(KeyFileError, match="chmod 644"):
        read_public_keys(path)


def test_a_file_has_several_public_keys_with_words_between(tmp_path: Path) -> None:
    text = f"# ours\n\n{key_of(1).public.encode()}\n# theirs\n{key_of(2, KeyUse('us')).public.encode()}"
    found = read_public_keys(write(tmp_path / "trust", text))
    assert [(key.id, key.use.jurisdiction) for key in found] == [(key_of(1).id, ""), (key_of(2).id, "us")]


def test_a_key_of_openssl_needs_no_lines_before_it(tmp_path: Path) -> None:
    text = key_of(1).encode()
    bare = write(tmp_path / "key", text[text.index("-----BEGIN") :])
    assert read_signing_key(bare).id == key_of(1).id


def test_whatever_else_is_refused_and_not_shown(tmp_path: Path) -> None:
    secret, public = key_of(1).encode(), key_of(1).public.encode()
    curve = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for text, reason in (
        ("", "expected one private key"),
        ("not a key\n", "line 1: expected a key in PEM"),
        (public, "expected one private key"),
        (secret + secret, "expected one private key"),
        (secret.replace(key_of(1).id, key_of(2).id), "but the key is"),
        (f"Jurisdiction: No Name\n{secret}", "Jurisdiction is"),
        (f"Not-After: soon\n{secret}", "Not-After is 'soon'"),
        (secret.replace("MC4C", "MC4D"), "cannot be read"),
        (curve.decode(), "a key of Ed25519"),
        (secret + "#" * 70_000, "at most 65,536 bytes"),
    ):
        with pytest.raises(KeyFileError, match=reason) as caught:
            read_signing_key(write(tmp_path / "key", text))
        assert secret.splitlines()[-2] not in str(caught.value)
    with pytest.raises(KeyFileError, match=r"expected public keys alone.*\.pub"):
        read_public_keys(write(tmp_path / "key", secret))
    with pytest.raises(KeyFileError, match="cannot read"):
        read_signing_key(tmp_path / "none")
    (tmp_path / "folder").mkdir()
    with pytest.raises(KeyFileError):
        read_signing_key(tmp_path / "folder")


def test_the_public_half_of_any_key_can_be_listed(tmp_path: Path) -> None:
    assert [key.id for key in read_keys(write(tmp_path / "key", key_of(1).encode()))] == [key_of(1).id]
    with pytest.raises(KeyFileError, match="expected a key in PEM"):
        read_keys(write(tmp_path / "empty", "# nothing\n"))
