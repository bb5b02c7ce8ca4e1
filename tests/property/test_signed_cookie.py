"""Invariants of routing cookies, for keys, names, tenants and damage that nobody chose."""

import base64

from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.errors import ValidationError
from cellplane.signed_cookie import MAX_EXPIRY, CookieValue, Keyring

names = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
tenants = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:@|+=~-]{0,127}", fullmatch=True)
ids = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
secrets = st.binary(min_size=32, max_size=64)
moments = st.integers(1, MAX_EXPIRY)


def file_of(keys: dict[str, bytes]) -> str:
    return "".join(f"{key} {base64.urlsafe_b64encode(secret).decode()}\n" for key, secret in keys.items())


keyrings = st.dictionaries(ids, secrets, min_size=1, max_size=8).map(file_of).map(Keyring.parse)


@settings(deadline=None)
@given(keyrings, names, tenants, moments, moments)
def test_what_is_signed_is_verified_until_it_expires(
    keyring: Keyring, name: str, tenant_id: str, expires: int, now: int
) -> None:
    value = keyring.sign(name, tenant_id, expires=expires).encode()
    assert keyring.verify(name, value, now=now) == (tenant_id.encode() if now < expires else None)
    found = keyring.tenants(name, [b"a=b; " + name.encode() + b"=" + value + b"; c=d"], now=now)
    assert found == ([tenant_id.encode()] if now < expires else [])


@settings(deadline=None)
@given(keyrings, names, tenants, st.data())
def test_any_changed_byte_is_noticed(keyring: Keyring, name: str, tenant_id: str, data: st.DataObject) -> None:
    value = bytearray(keyring.sign(name, tenant_id, expires=MAX_EXPIRY).encode())
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    assert keyring.verify(name, bytes(value), now=0) is None


@settings(deadline=None)
@given(keyrings, keyrings, names, names, tenants)
def test_a_value_is_for_one_name_and_one_secret(
    keyring: Keyring, other: Keyring, name: str, other_name: str, tenant_id: str
) -> None:
    value = keyring.sign(name, tenant_id, expires=2).encode()
    assert (keyring.verify(other_name, value, now=1) is None) == (name != other_name)
    # HMAC fills a secret up with zeros to the length of a block.
    one, another = keyring.secrets[keyring.signing_key], other.secrets.get(keyring.signing_key)
    same = another is not None and one.ljust(64, b"\0") == another.ljust(64, b"\0")
    assert (other.verify(name, value, now=1) is None) == (not same)


@settings(deadline=None)
@given(keyrings, names, st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_nothing_else_is_a_tenant_and_nothing_raises(keyring: Keyring, name: str, value: bytes) -> None:
    assert keyring.verify(name, value, now=0) is None
    assert keyring.tenants(name, [value, name.encode() + b"=" + value], now=0) == []
    assert CookieValue.of(value) is None


@settings(deadline=None)
@given(st.text(max_size=400) | st.tuples(ids, st.text(max_size=100)).map(" ".join))
def test_any_text_is_a_keyring_or_refused(text: str) -> None:
    try:
        keyring = Keyring.parse(text)
    except ValidationError:
        return
    assert keyring.signing_key in keyring.secrets
