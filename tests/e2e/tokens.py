"""Issuers of tokens for tests: their keys, their JWK Sets, and tokens that a router should or should not believe."""

import base64
import json
import warnings
from collections.abc import Sequence
from typing import Any

from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, KeyParameters, OKPKey, RSAKey

ISSUER = "https://id.example"
AUDIENCE = "shop"
ISSUED = 1_700_000_000
LATER = 4_000_000_000
"""When tokens expire: after any day on which a test runs."""

_ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "Ed25519"}


def new_key(kind: str, kid: str) -> Key:
    """A new private key: RSA, EC or OKP."""
    options: KeyParameters = {"kid": kid, "use": "sig"}
    if kind == "RSA":
        return RSAKey.generate_key(2048, options)
    if kind == "EC":
        return ECKey.generate_key("P-256", options)
    return OKPKey.generate_key("Ed25519", options)


def jwk_set(keys: Sequence[Key]) -> str:
    """Their public halves as a document."""
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]})


def claims(**more: Any) -> dict[str, Any]:
    """Claims that are valid; None takes one away."""
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "iat": ISSUED, "exp": LATER, **more}
    return {name: value for name, value in found.items() if value is not None}


def token(key: Key, **more: Any) -> str:
    """A signed token."""
    return signed(key, claims(**more))


def signed(key: Key, payload: dict[str, Any], header: dict[str, Any] | None = None) -> str:
    """A token of any claims and header members."""
    algorithm = "EdDSA" if key.key_type == "OKP" else _ALGORITHMS[key.key_type]
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    members = {"alg": algorithm, "kid": key.kid, "typ": "JWT", **(header or {})}
    with warnings.catch_warnings():
        # RFC 9864 calls it Ed25519; proxies and issuers still say EdDSA.
        warnings.simplefilter("ignore", SecurityWarning)
        return jws.serialize_compact(members, json.dumps(payload).encode(), key, registry=registry)


def unsigned(payload: dict[str, Any], **header: Any) -> str:
    """A token of ``alg: none``."""
    parts = ({"alg": "none", "typ": "JWT", **header}, payload)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."
