"""Tokens and cookies for fuzzing: what an issuer has signed, what it never would, and what somebody made of both."""

import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import Key, RSAKey

from cellplane.signed_cookie import Keyring, new_secret
from e2e.tokens import ISSUED, LATER, claims, jwk_set, new_key, signed
from fuzz.fleet import ROUTE_COOKIE, TENANTS

KEY_KINDS = ("RSA", "EC", "OKP")
SIGNED_TENANTS = TENANTS[:8]
"""Tenants in whose name each odd token is signed; of a sound one there is one for everybody."""

ODD_KEYS: Mapping[str, tuple[Any, tuple[str, ...]]] = {
    "number": (42, ("42",)),
    "negative": (-7, ()),
    "float": (1.5, ("1.5", "1.500000")),
    "big number": (
        2**70,
        ("1180591620717411303424", "1180591620717411303424.000000", "1.1805916207174113e+21", "1.18059e+21"),
    ),
    "true": (True, ("true", "1")),
    "empty": ("", ()),
    "null": (None, ()),
    "space": ("tenant-01 ", ()),
    "two": ("tenant-01,tenant-02", ()),
    "line end": ("tenant-01\r\nx-tenant-id: tenant-02", ()),
    "line feed": ("tenant-01\nx-cell-id: cell-2", ()),
    "nul": ("tenant-01\x00", ()),
    "nul before": ("\x00tenant-01", ()),
    "unicode": ("tenant-\u0660\u0661", ()),
    "full width": ("\uff54enant-01", ()),
    "escaped": ("tenant%2D01", ()),
    "path": ("../tenant-01", ()),
    "long": ("t" * 129, ()),
    "longest": ("t" * 128, ("t" * 128,)),
    "huge": ("t" * 20_000, ()),
    "upper case": ("TENANT-01", ("TENANT-01",)),
}
"""What a claim may be beside a tenant's id, and the keys that it may be taken for, if any."""


@dataclass(frozen=True)
class Corpus:
    """What tricks are made of.

    Attributes:
        jwks: the issuer's public keys, as a document.
        keyring_text: the file of the keys of cookies.
        sound: valid tokens of each tenant, one a kind of key.
        bad: what a router must refuse whatever else the request says, by what is wrong.
        odd: valid tokens of odd claims, by name; see ODD_KEYS.
        twice: valid tokens that say the claim twice, with both tenants.
        foreign: a keyring that routers do not have.
    """

    jwks: str
    keyring_text: str
    sound: Mapping[str, tuple[str, ...]]
    bad: Mapping[str, tuple[str, ...]]
    odd: Mapping[str, str]
    twice: tuple[tuple[str, str, str], ...]
    keyring: Keyring
    foreign: Keyring

    def cookie(self, tenant: str, *, expires: int = LATER, name: str = ROUTE_COOKIE) -> str:
        """The value of a valid routing cookie."""
        return self.keyring.sign(name, tenant, expires=expires)


def build() -> Corpus:
    """Make new keys and sign with them."""
    keys = {kind: new_key(kind, f"{kind}-1") for kind in KEY_KINDS}
    text = f"new {new_secret()}\nold {new_secret()}\n"
    keyring = Keyring.parse(text)
    strangers = Keyring.parse(f"new {new_secret()}\n")
    return Corpus(
        jwks=jwk_set(list(keys.values())),
        keyring_text=text,
        sound={
            tenant: tuple(signed(key, claims(org={"id": tenant}, sub=f"user-{place}")) for key in keys.values())
            for place, tenant in enumerate(TENANTS)
        },
        bad=_bad(keys),
        odd={name: signed(keys["EC"], claims(org={"id": value})) for name, (value, _) in ODD_KEYS.items()},
        twice=tuple(_twice(keys["EC"], first, TENANTS[-1 - place]) for place, first in enumerate(SIGNED_TENANTS)),
        keyring=keyring,
        foreign=replace(strangers, signing_key="new"),
    )


def _bad(keys: Mapping[str, Key]) -> dict[str, tuple[str, ...]]:
    """By what is wrong with them, a token for each of some tenants."""
    found: dict[str, list[str]] = {}
    stranger = new_key("RSA", "RSA-1")
    for tenant in SIGNED_TENANTS:
        for what, token in _bad_of(keys, stranger, tenant).items():
            found.setdefault(what, []).append(token)
    return {what: tuple(made) for what, made in found.items()}


def _bad_of(keys: Mapping[str, Key], stranger: Key, tenant: str) -> dict[str, str]:
    rsa, ec = keys["RSA"], keys["EC"]
    assert isinstance(rsa, RSAKey)
    good = claims(org={"id": tenant})
    sound = signed(ec, good)
    head, body, signature = sound.split(".")
    public_jwk = json.dumps(rsa.as_dict(private=False)).encode()
    own_key = stranger.as_dict(private=False)
    without = {gone: {name: value for name, value in good.items() if name != gone} for gone in ("exp", "iss", "aud")}
    url = "https://evil.example/jwks.json"
    return {
        "alg none": _joined({"alg": "none", "typ": "JWT"}, good, b""),
        "alg none with a signature": _joined({"alg": "none"}, good, b"x" * 64),
        "alg None": _joined({"alg": "None", "kid": "EC-1"}, good, b""),
        "alg nOnE": _joined({"alg": "nOnE", "kid": "RSA-1"}, good, b""),
        "alg missing": _joined({"kid": "EC-1"}, good, b"x" * 64),
        "alg a number": _joined({"alg": 1, "kid": "EC-1"}, good, b"x" * 64),
        "key confusion by PEM": _by_hmac(good, rsa.as_pem(private=False), "RSA-1"),
        "key confusion by JWK": _by_hmac(good, public_jwk, "RSA-1"),
        "key confusion, no kid": _by_hmac(good, rsa.as_pem(private=False), ""),
        "empty secret": _by_hmac(good, b"", "RSA-1"),
        "another key of the same kid": signed(stranger, good, {"kid": "RSA-1"}),
        "expired": signed(ec, {**good, "exp": ISSUED}),
        "expired in 1970": signed(ec, {**good, "exp": 1}),
        "expires at nothing": signed(ec, {**good, "exp": 0}),
        "expiry a word": signed(ec, {**good, "exp": "never"}),
        "expiry negative": signed(ec, {**good, "exp": -1}),
        "not before the future": signed(ec, {**good, "nbf": LATER - 1}),
        "no expiry": signed(ec, without["exp"]),
        "no issuer": signed(ec, without["iss"]),
        "no audience": signed(ec, without["aud"]),
        "another issuer": signed(ec, {**good, "iss": "https://evil.example"}),
        "issuer in upper case": signed(ec, {**good, "iss": good["iss"].upper()}),
        "issuer with a slash": signed(ec, {**good, "iss": good["iss"] + "/"}),
        "issuer a list": signed(ec, {**good, "iss": [good["iss"]]}),
        "another audience": signed(ec, {**good, "aud": "other"}),
        "audiences of others": signed(ec, {**good, "aud": ["other", "shop2"]}),
        "unknown kid": signed(ec, good, {"kid": "nobody"}),
        "huge kid": signed(ec, good, {"kid": "k" * 20_000}),
        "kid that is a path": signed(ec, good, {"kid": "../../../../dev/null"}),
        "kid that is SQL": signed(ec, good, {"kid": "' or 1=1 --"}),
        "kid a number": _joined({"alg": "ES256", "kid": 1}, good, b"x" * 64),
        "kid of another kind": signed(ec, good, {"kid": "RSA-1"}),
        "jku": signed(stranger, good, {"jku": url, "kid": "evil"}),
        "jku of the issuer": signed(stranger, good, {"jku": "https://id.example@evil.example/", "kid": "RSA-1"}),
        "x5u": signed(stranger, good, {"x5u": url, "kid": "RSA-1"}),
        "x5c": signed(stranger, good, {"x5c": ["MIIB"], "kid": "RSA-1"}),
        "jwk": signed(stranger, good, {"jwk": own_key, "kid": "RSA-1"}),
        "no signature": f"{head}.{body}.",
        "signature cut": sound[:-8],
        "signature of zeros": f"{head}.{body}.{base64.urlsafe_b64encode(bytes(64)).rstrip(b'=').decode()}",
        "signature of another": f"{head}.{_part({**good, 'org': {'id': TENANTS[-1]}})}.{signature}",
        "two parts": f"{head}.{body}",
        "four parts": f"{sound}.a",
        "five parts": f"{sound}.a.b",
        "head not JSON": f"{base64.urlsafe_b64encode(b'{').decode().rstrip('=')}.{body}.{signature}",
        "head an array": f"{base64.urlsafe_b64encode(b'[]').decode().rstrip('=')}.{body}.{signature}",
        "body not JSON": f"{head}.{base64.urlsafe_b64encode(b'{').decode().rstrip('=')}.{signature}",
        "not base64": "a.b!.c",
        "a word": "x",
        "dots": "..",
        "many dots": "." * 200,
        "huge": "A" * 30_000 + "." + body + "." + signature,
        "deep": _signed_text(ec, '{"org":' + '{"id":' * 400 + '"a"' + "}" * 401),
        "body an array": _signed_text(ec, "[1]"),
        "body a word": _signed_text(ec, '"tenant-01"'),
        "body empty": _signed_text(ec, ""),
        "encrypted": f"{_part({'alg': 'RSA-OAEP', 'enc': 'A256GCM'})}.a.b.c.d",
    }


def _twice(key: Key, first: str, second: str) -> tuple[str, str, str]:
    """A token whose text says the claim twice, and both tenants."""
    rest = json.dumps(claims())[1:]
    return _signed_text(key, f'{{"org":{{"id":"{first}"}},"org":{{"id":"{second}"}},{rest}'), first, second


def _signed_text(key: Key, payload: str) -> str:
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jws.serialize_compact({"alg": "ES256", "kid": key.kid}, payload.encode(), key, registry=registry)


def _joined(header: dict[str, Any], payload: dict[str, Any], signature: bytes) -> str:
    return f"{_part(header)}.{_part(payload)}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _by_hmac(payload: dict[str, Any], secret: bytes, kid: str) -> str:
    header = {"alg": "HS256", "typ": "JWT", **({"kid": kid} if kid else {})}
    text = f"{_part(header)}.{_part(payload)}"
    mac = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _part(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
