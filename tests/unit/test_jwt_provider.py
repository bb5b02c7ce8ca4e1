"""Who may sign tokens: every rule of an issuer, with the field that breaks it."""

from dataclasses import replace
from typing import Any

import pytest

from cellplane.errors import ValidationError
from cellplane.model import Fleet, JwtProvider
from cellplane.model.jwt import MAX_AUDIENCES, MAX_COOKIE_CHARS, MAX_JWT_PROVIDERS, MAX_JWT_TEXT_CHARS

AT_URL = JwtProvider("id", "https://id.example/", ("shop",), jwks_url="https://id.example/jwks.json")
IN_FILE = JwtProvider("id", "id", jwks_file="/etc/cellplane/jwks.json")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"issuer": "i" * MAX_JWT_TEXT_CHARS},
        {"issuer": "urn:issuer:1"},
        {"audiences": ()},
        {"audiences": tuple(f"a-{number}" for number in range(MAX_AUDIENCES))},
        {"jwks_url": "https://id.example:8443/keys?tenant=a&v=2"},
        {"jwks_url": "https://192.0.2.1/keys"},
        {"jwks_url": "https://[2001:db8::1]:8443/keys"},
        {"jwks_url": "http://localhost:8080/keys"},
        {"jwks_url": "http://127.0.0.1:8080/keys"},
        {"jwks_url": "http://[::1]/keys"},
        {"jwks_url": "", "jwks_file": "/etc/jwks.json"},
        {"cookie": "__Secure-session.1"},
        {"cookie": "c" * MAX_COOKIE_CHARS},
        {"clock_skew_seconds": 1},
        {"clock_skew_seconds": 300},
    ],
)
def test_an_issuer(changes: dict[str, Any]) -> None:
    replace(AT_URL, **changes).validate("jwt[0]")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "Id"}, "name"),
        ({"issuer": ""}, "issuer"),
        ({"issuer": "a b"}, "issuer"),
        ({"issuer": "é"}, "issuer"),
        ({"issuer": "a\n"}, "issuer"),
        ({"issuer": "i" * (MAX_JWT_TEXT_CHARS + 1)}, "issuer"),
        ({"audiences": ("shop", "")}, "audiences[1]"),
        ({"audiences": ("a b",)}, "audiences[0]"),
        ({"audiences": ("shop", "shop")}, "audiences"),
        ({"audiences": tuple(f"a-{number}" for number in range(MAX_AUDIENCES + 1))}, "audiences"),
        ({"jwks_url": ""}, "jwks_url"),
        ({"jwks_file": "/etc/jwks.json"}, "jwks_url"),
        ({"jwks_url": "id.example/jwks"}, "jwks_url"),
        ({"jwks_url": "ftp://id.example/jwks"}, "jwks_url"),
        ({"jwks_url": "https:///jwks"}, "jwks_url"),
        ({"jwks_url": "https://[::1"}, "jwks_url"),
        ({"jwks_url": "https://id.example:99999/jwks"}, "jwks_url"),
        ({"jwks_url": "https://id.example:0/jwks"}, "jwks_url"),
        ({"jwks_url": "https://id.example:port/jwks"}, "jwks_url"),
        ({"jwks_url": "https://user:secret@id.example/jwks"}, "jwks_url"),
        ({"jwks_url": "https://@id.example/jwks"}, "jwks_url"),
        ({"jwks_url": "https://id.example\\x/jwks"}, "jwks_url"),
        ({"jwks_url": "https://id%2eexample/jwks"}, "jwks_url"),
        ({"jwks_url": "https://id.example/jwks#keys"}, "jwks_url"),
        ({"jwks_url": "https://id.example/a b"}, "jwks_url"),
        ({"jwks_url": "http://id.example/jwks"}, "jwks_url"),
        ({"jwks_url": "http://localhost.id.example/jwks"}, "jwks_url"),
        ({"jwks_url": f"https://id.example/{'j' * MAX_JWT_TEXT_CHARS}"}, "jwks_url"),
        ({"jwks_url": "", "jwks_file": "jwks.json"}, "jwks_file"),
        ({"jwks_url": "", "jwks_file": "/etc/my jwks.json"}, "jwks_file"),
        ({"cookie": "a=b"}, "cookie"),
        ({"cookie": "c" * (MAX_COOKIE_CHARS + 1)}, "cookie"),
        ({"clock_skew_seconds": 0}, "clock_skew_seconds"),
        ({"clock_skew_seconds": 301}, "clock_skew_seconds"),
    ],
)
def test_what_is_no_issuer(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Fleet("shop", jwt=(IN_FILE, replace(AT_URL, **{"name": "two", **changes}))).validate("fleet")
    assert refused.value.field == f"fleet.jwt[1].{field}"


def test_a_refusal_says_what_was_found() -> None:
    for broken, found in (
        (replace(AT_URL, jwks_url=""), "found neither"),
        (replace(AT_URL, jwks_file="/etc/jwks.json"), "found both"),
        (replace(AT_URL, jwks_url="http://id.example/"), "whoever answers here signs for every tenant"),
    ):
        with pytest.raises(ValidationError, match=found):
            broken.validate("jwt[0]")


def test_issuers_are_few_and_have_names_of_their_own() -> None:
    many = tuple(replace(IN_FILE, name=f"id-{number}") for number in range(MAX_JWT_PROVIDERS + 1))
    Fleet("shop", jwt=many[1:]).validate("fleet")
    for jwt, field in ((many, "fleet.jwt"), ((many[0], IN_FILE, many[0]), "fleet.jwt[2].name")):
        with pytest.raises(ValidationError) as refused:
            Fleet("shop", jwt=jwt).validate("fleet")
        assert refused.value.field == field
