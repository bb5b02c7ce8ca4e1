"""Routing cookies: files of keys, what counts and what does not, and how keys are changed."""

import base64
import subprocess
import sys
from dataclasses import replace

import pytest

from cellplane.errors import ValidationError
from cellplane.model import is_key
from cellplane.model.jwt import MAX_COOKIE_CHARS, check_cookie_name
from cellplane.model.key import KEY_BYTES, MAX_KEY_BYTES
from cellplane.signed_cookie import MAX_COOKIES, MAX_EXPIRY, CookieValue, Fault, Keyring, cookies, new_secret

NEW = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
OLD = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"
KEYS = f"# keys\nnew {NEW}\n\nold {OLD}\n"
KEYRING = Keyring.parse(KEYS)
NOW = 1_999_999_999
VALUE = "cp1.2000000000.new.mjgQFK0kgqKnTlza4I3m25vOubxZSh2stgkGFbfRpeA.tenant-001"
"""As the router's own tests have it."""


def tenants(*headers: str, now: int = NOW, keyring: Keyring = KEYRING) -> list[bytes]:
    return keyring.tenants("route", [header.encode() for header in headers], now=now)


def test_a_value_is_the_one_that_routers_know() -> None:
    assert KEYRING.sign("route", "tenant-001", expires=NOW + 1) == VALUE
    assert CookieValue.of(VALUE.encode()) == CookieValue(
        2_000_000_000, "new", b"mjgQFK0kgqKnTlza4I3m25vOubxZSh2stgkGFbfRpeA", b"tenant-001"
    )


def test_a_cookie_counts_until_it_expires() -> None:
    assert KEYRING.verify("route", VALUE.encode(), now=NOW) == b"tenant-001"
    assert KEYRING.verify("route", VALUE.encode(), now=NOW + 1) is None


@pytest.mark.parametrize(
    ("name", "value", "now", "fault"),
    [
        ("route", VALUE, NOW, None),
        ("route", VALUE, NOW + 1, Fault.EXPIRED),
        ("other", VALUE, NOW, Fault.FORGED),
        ("route", VALUE.replace("001", "002"), NOW, Fault.FORGED),
        ("route", VALUE.replace("2000000000", "2000000001"), NOW, Fault.FORGED),
        ("route", VALUE.replace(".new.", ".old."), NOW, Fault.FORGED),
        ("route", VALUE.replace(".new.", ".mine."), NOW, Fault.UNKNOWN_KEY),
        ("route", "", NOW, Fault.MALFORMED),
        ("route", "tenant-001", NOW, Fault.MALFORMED),
        ("route", VALUE.replace("cp1", "cp2"), NOW, Fault.MALFORMED),
        ("route", VALUE.replace("2000000000", "02000000000"), NOW, Fault.MALFORMED),
        ("route", VALUE.replace("2000000000", "0"), NOW, Fault.MALFORMED),
        ("route", VALUE.replace("2000000000", "-2000000000"), NOW, Fault.MALFORMED),
        ("route", VALUE.replace("2000000000", "9" * 16), NOW, Fault.MALFORMED),
        ("route", VALUE.replace("peA.", "pe."), NOW, Fault.MALFORMED),
        ("route", VALUE.replace("peA.", "pe=."), NOW, Fault.MALFORMED),
        ("route", VALUE.removesuffix("tenant-001"), NOW, Fault.MALFORMED),
        ("route", VALUE.replace("tenant-001", "t" * 129), NOW, Fault.MALFORMED),
        ("route", VALUE.replace("tenant-001", "tenant 001"), NOW, Fault.MALFORMED),
        ("route", f"{VALUE}\n", NOW, Fault.MALFORMED),
        ("route", f'"{VALUE}"', NOW, Fault.MALFORMED),
        ("route", VALUE.replace("tenant-001", "ténant"), NOW, Fault.MALFORMED),
    ],
)
def test_what_does_not_count_says_why(name: str, value: str, now: int, fault: Fault | None) -> None:
    assert KEYRING.fault(name, CookieValue.of(value.encode()), now=now) is fault
    assert (KEYRING.verify(name, value.encode(), now=now) is None) == (fault is not None)


def test_every_changed_byte_is_noticed() -> None:
    for place in range(len(VALUE)):
        for byte in b"1Aa-.":
            changed = bytearray(VALUE.encode())
            changed[place] = byte
            if bytes(changed) != VALUE.encode():
                assert KEYRING.verify("route", bytes(changed), now=NOW) is None, f"byte {place}"


@pytest.mark.parametrize(
    ("name", "tenant_id", "expires", "field"),
    [
        ("", "acme", NOW, "name"),
        ("a=b", "acme", NOW, "name"),
        ("a\nb", "acme", NOW, "name"),
        ("c" * 65, "acme", NOW, "name"),
        ("route", "", NOW, "tenant_id"),
        ("route", "t" * 129, NOW, "tenant_id"),
        ("route", "acme; Path=/", NOW, "tenant_id"),
        ("route", "acme;a", NOW, "tenant_id"),
        ("route", "acme,a", NOW, "tenant_id"),
        ("route", 'ac"me', NOW, "tenant_id"),
        ("route", "ac\\me", NOW, "tenant_id"),
        ("route", "acme\r\nSet-Cookie: a=b", NOW, "tenant_id"),
        ("route", "zürich", NOW, "tenant_id"),
        ("route", "acme", 0, "expires"),
        ("route", "acme", -1, "expires"),
        ("route", "acme", MAX_EXPIRY + 1, "expires"),
    ],
)
def test_what_no_router_could_read_is_not_signed(name: str, tenant_id: str, expires: int, field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        KEYRING.sign(name, tenant_id, expires=expires)
    assert refused.value.field == field


def test_whatever_is_a_key_and_a_cookies_name_can_be_signed() -> None:
    for byte in KEY_BYTES:
        tenant_id = f"a{chr(byte)}"
        assert is_key(tenant_id.encode())
        assert KEYRING.verify("r", KEYRING.sign("r", tenant_id, expires=2).encode(), now=1) == tenant_id.encode()
    longest = "t" * MAX_KEY_BYTES
    for name in ("__Host-cell", "a.b", "c" * MAX_COOKIE_CHARS):
        check_cookie_name("name", name)
        value = KEYRING.sign(name, longest, expires=MAX_EXPIRY).encode()
        assert KEYRING.verify(name, value, now=MAX_EXPIRY - 1) == longest.encode()


# A file of keys


@pytest.mark.parametrize(
    "text",
    [
        f"a {NEW}",
        f"  a\t {NEW}  \r\n",
        f"a {NEW}=\n",
        f"#\n # a comment\n\n{'k' * 32} {NEW}",
        f"a_B-9 {base64.urlsafe_b64encode(bytes(64)).decode()}",
        "".join(f"k{number} {NEW}\n" for number in range(8)),
    ],
)
def test_a_file_of_keys(text: str) -> None:
    keyring = Keyring.parse(text)
    assert keyring.signing_key == next(iter(keyring.secrets))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cookie keys: expected 1 to 8 keys, found 0"),
        ("# none\n", "cookie keys: expected 1 to 8 keys, found 0"),
        ("".join(f"k{number} {NEW}\n" for number in range(9)), "cookie keys: expected 1 to 8 keys, found 9"),
        ("a", "cookie keys, line 1: expected an id"),
        (f"\na.b {NEW}", "cookie keys, line 2: expected an id"),
        (f"{'k' * 33} {NEW}", "cookie keys, line 1: expected an id"),
        (f"{NEW} a", "cookie keys, line 1: expected an id"),
        (f"a {NEW} {OLD}", "cookie keys, line 1: expected an id"),
        (f"a {NEW} # mine", "cookie keys, line 1: expected an id"),
        (f"a\u00a0{NEW}", "cookie keys, line 1: expected an id"),
        (f"# a\u2028b {NEW}", "cookie keys: expected 1 to 8 keys, found 0"),
        (f"a {NEW}\rb {OLD}", "cookie keys, line 1: expected an id"),
        (f"a {NEW}\na {OLD}", "cookie keys, line 2: the id 'a' stands twice"),
        (f"a {NEW[:-1]}+", "cookie keys, line 1: the secret is not base64url"),
        (f"a {NEW[:-1]}é", "cookie keys, line 1: the secret is not base64url"),
        (f"a {NEW[:20]}={NEW[21:]}", "cookie keys, line 1: the secret is not base64url"),
        (f"a {NEW}AA", "cookie keys, line 1: the secret is not base64url"),
        (f"a {NEW[:-1]}", "cookie keys, line 1: expected a secret of 32 to 64 bytes, found 31"),
        (f"a {NEW}{NEW}A", "cookie keys, line 1: expected a secret of 32 to 64 bytes, found 65"),
    ],
)
def test_a_broken_file_names_its_line_and_never_a_secret(text: str, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Keyring.parse(text)
    assert str(refused.value).startswith(said)
    assert NEW[:16] not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None or refused.value.__suppress_context__


def test_no_secret_is_shown() -> None:
    assert repr(KEYRING) == "Keyring(signing_key='new')"


def test_a_new_secret_is_one_that_a_file_takes() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert len(Keyring.parse(f"a {first}").secrets["a"]) == 32


def test_keys_are_changed_without_losing_a_cookie() -> None:
    """As docs/placement.md says: at the end everywhere, to the front everywhere, then the old one goes."""
    old, both = Keyring.parse(f"old {OLD}"), Keyring.parse(f"old {OLD}\nnew {NEW}")
    turned, new = replace(both, signing_key="new"), Keyring.parse(f"new {NEW}")
    steps = (old, both, turned, new)
    for signer, verifier in zip(steps, steps[1:], strict=False):
        for one, other in ((signer, verifier), (verifier, signer)):
            value = one.sign("route", "acme", expires=NOW + 1).encode()
            assert other.verify("route", value, now=NOW) == b"acme"
    lost = old.sign("route", "acme", expires=NOW + 1).encode()
    assert new.verify("route", lost, now=NOW) is None, "so the old key stays until its cookies have expired"


# A request's cookies


def test_cookies_are_pairs_between_semicolons() -> None:
    headers = [b"a=1; route=2;route=3 ;\troute=4\t; xroute=5; route =6; Route=7; route; =8", b"route=", b""]
    assert list(cookies("route", headers)) == [b"2", b"3", b"4", b""]


def test_the_tenants_of_a_request_are_those_of_its_valid_cookies() -> None:
    other = replace(KEYRING, signing_key="old").sign("route", "tenant-002", expires=NOW + 1)
    assert tenants(f"a=b; route={VALUE};c=d") == [b"tenant-001"]
    assert tenants(f"route={VALUE}; route={VALUE}") == [b"tenant-001"]
    assert tenants(f"route={VALUE}", f"route={other}; route=forged") == [b"tenant-001", b"tenant-002"]
    assert tenants(f"other={VALUE}") == tenants() == tenants("") == tenants(f"route={VALUE}", now=NOW + 1) == []


def test_cookies_beyond_the_limit_do_not_count() -> None:
    forged = "route=x; " * (MAX_COOKIES - 1)
    assert tenants(f"{forged}route={VALUE}") == [b"tenant-001"]
    assert tenants(f"{forged}route=x; route={VALUE}") == []
    assert tenants(*(["route=x"] * MAX_COOKIES), f"route={VALUE}") == []
    assert tenants("other=x; " * 50 + f"route={VALUE}") == [b"tenant-001"]


def test_import_needs_the_standard_library_alone() -> None:
    program = "import sys; before = set(sys.modules); import cellplane.signed_cookie; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.split()
    ours = {name for name in loaded if name.partition(".")[0] == "cellplane"}
    assert ours == {"cellplane", "cellplane.errors", "cellplane.signed_cookie"}
    assert {name.partition(".")[0] for name in loaded} <= sys.stdlib_module_names | {"cellplane"}


def test_a_key_may_be_of_one_jurisdiction() -> None:
    secret = new_secret()
    ring = Keyring.parse(f"a {secret}\nb {new_secret()} eu\n")
    assert (ring.signing_key, dict(ring.jurisdictions)) == ("a", {"b": "eu"})
    for wrong in ("EU", "-eu", "eu us", "e" * 64, "#eu"):
        with pytest.raises(ValidationError, match="no more but a jurisdiction") as caught:
            Keyring.parse(f"a {secret} {wrong}\n")
        assert secret not in str(caught.value)
