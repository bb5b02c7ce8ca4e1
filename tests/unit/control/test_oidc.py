"""Callers by tokens of an identity provider: which are believed, and which are not."""

import hmac
import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, RSAKey

from cellplane.control.access.callers import Caller
from cellplane.control.access.oidc import Oidc
from cellplane.control.access.roles import Role
from cellplane.control.access.settings import AccessSettings, OidcSettings
from cellplane.errors import ForbiddenError, UnauthenticatedError, ValidationError
from e2e.tokens import AUDIENCE, ISSUER, claims, jwk_set, new_key, signed, unsigned
from support.http_server import answering_with
from unit.control.serving import as_holder, assert_problem, eventually, serving

NOW = 1_800_000_000.0
ROLES = (("platform", "operator"), ("root", "admin"), ("all", "viewer"))
KEYS: dict[str, Key] = {kind: new_key(kind, kind.lower()) for kind in ("RSA", "EC", "OKP")}


class Provider:
    """A server of a JWK Set, and what it was asked."""

    def __init__(self) -> None:
        self.document = jwk_set(list(KEYS.values())).encode()
        self.status = 200
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.url = ""


@contextmanager
def running() -> Iterator[Provider]:
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked += 1
            provider.may_answer.wait(60)
            self.send_response(provider.status)
            if provider.status == 302:
                self.send_header("Location", "/other")
            self.end_headers()
            self.wfile.write(provider.document)

        def log_message(self, *_: object) -> None:
            pass

    with answering_with(Handler) as server:
        provider.url = f"http://127.0.0.1:{server.server_port}/keys"
        yield provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running() as found:
        yield found


class Time:
    seconds = 0.0

    def clock(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(NOW + self.seconds, UTC)


def settings_of(provider: Provider, **more: Any) -> OidcSettings:
    return OidcSettings(issuer=ISSUER, audience=AUDIENCE, jwks=provider.url, roles=ROLES, **more)


def oidc_of(provider: Provider, time: Time, **more: Any) -> Oidc:
    return Oidc(settings_of(provider, **more), time.clock, time.now)


def verify(oidc: Oidc, credential: str) -> Caller:
    """As the gate does."""
    if oidc.needs_look(credential):
        oidc.look(credential)
    return oidc.verify(credential)


def token(key: Key = KEYS["EC"], **more: Any) -> str:
    return signed(key, claims(**{"sub": "ann", "roles": ["platform"], **more}))


@pytest.mark.parametrize("kind", KEYS)
def test_a_token_says_who_it_is_and_what_they_may(provider: Provider, kind: str) -> None:
    caller = verify(oidc_of(provider, Time()), token(KEYS[kind]))
    assert (caller.name, caller.role, caller.subject) == ("oidc:ann", Role.OPERATOR, None)


def test_the_strongest_of_several_roles_counts_and_names_come_from_the_claim(provider: Provider) -> None:
    oidc = oidc_of(provider, Time(), role_claim="groups", name_claim="email")
    caller = verify(oidc, token(groups=["all", "root", "other", 7], email="ann@example.org"))
    assert (caller.name, caller.role) == ("oidc:ann@example.org", Role.ADMIN)
    assert verify(oidc, token(groups="all", email="bob")).role is Role.VIEWER
    assert verify(oidc, token(aud=["other", AUDIENCE], groups="all", email="bob")).role is Role.VIEWER


REFUSED: dict[str, Mapping[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "other"},
    "no audience": {"aud": None},
    "expired": {"exp": NOW - 61},
    "no expiry": {"exp": None},
    "an expiry that is none": {"exp": "never"},
    "an expiry that is true": {"exp": True},
    "not yet": {"nbf": NOW + 61},
    "of the future": {"iat": NOW + 61},
    "no name": {"sub": None},
    "a name that is none": {"sub": ["ann"]},
    "a name with a line": {"sub": "ann\nroot"},
    "an empty name": {"sub": ""},
    "a long name": {"sub": "a" * 121},
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_token_with_a_wrong_claim_is_refused(provider: Provider, what: str) -> None:
    with pytest.raises(UnauthenticatedError):
        verify(oidc_of(provider, Time()), token(**REFUSED[what]))


def test_clocks_may_differ_a_little(provider: Provider) -> None:
    oidc = oidc_of(provider, Time())
    assert verify(oidc, token(exp=NOW - 59, iat=NOW + 59, nbf=NOW + 59)).name == "oidc:ann"


@pytest.mark.parametrize("roles", [None, [], "nobody", ["nobody"], {"platform": True}, 7])
def test_a_token_without_a_role_may_nothing(provider: Provider, roles: object) -> None:
    with pytest.raises(ForbiddenError, match="has no role here"):
        verify(oidc_of(provider, Time()), token(roles=roles))


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token that no library would make."""
    signing = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims(roles='root')).encode())}"
    return f"{signing}.{encoded(sign(signing.encode()))}"


def hmac_by_public_key(data: bytes) -> bytes:
    """Signed with the public key as if it were a secret: the classic confusion."""
    key = KEYS["RSA"]
    assert isinstance(key, RSAKey)
    return hmac.digest(key.as_pem(private=False), data, "sha256")


def by_ec(data: bytes) -> bytes:
    key = KEYS["EC"]
    assert isinstance(key, ECKey)
    return jws.JWSRegistry.algorithms["ES256"].sign(data, key)


FORGED: dict[str, Callable[[], str]] = {
    "none": lambda: unsigned(claims(roles="root"), kid="ec"),
    "a public key as secret": lambda: by_hand({"alg": "HS256", "kid": "rsa"}, hmac_by_public_key),
    "an unknown key": lambda: token(new_key("EC", "other")),
    "another key of the same id": lambda: token(new_key("EC", "ec")),
    "no id of a key": lambda: by_hand({"alg": "ES256"}, by_ec),
    "an id that is none": lambda: by_hand({"alg": "ES256", "kid": 7}, by_ec),
    "the id of a key of another algorithm": lambda: signed(KEYS["EC"], claims(roles="root"), {"kid": "rsa"}),
    "a key inside": lambda: signed(
        new_key("EC", "x"), claims(roles="root"), {"jwk": KEYS["EC"].as_dict(private=False), "kid": "x"}
    ),
    "a critical header": lambda: by_hand({"alg": "ES256", "kid": "ec", "crit": ["exp"], "exp": 1}, by_ec),
    "a cut signature": lambda: token()[:-4],
    "another payload": lambda: ".".join([token().split(".")[0], token(sub="eve").split(".")[1], token().split(".")[2]]),
    "deep nesting": lambda: "W1tb" * 1500 + ".x.y",
    "nothing": lambda: "..",
    "one part": lambda: "x",
    "no text": lambda: "\u00fc.\u00fc.\u00fc",
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_token_is_refused(provider: Provider, how: str) -> None:
    oidc = oidc_of(provider, Time())
    assert verify(oidc, token()).name == "oidc:ann"
    assert verify(oidc, by_hand({"alg": "ES256", "kid": "ec"}, by_ec)).role is Role.ADMIN
    with pytest.raises(UnauthenticatedError):
        verify(oidc, FORGED[how]())


def test_a_small_rsa_key_is_no_key(provider: Provider) -> None:
    with pytest.warns(SecurityWarning):
        small = RSAKey.generate_key(1024, {"kid": "small", "use": "sig"})
    provider.document = jwk_set([small]).encode()
    with pytest.raises(UnauthenticatedError, match="not for its algorithm"):
        verify(oidc_of(provider, Time()), token(small))


def test_keys_are_fetched_now_and_then_and_the_last_good_ones_are_kept(provider: Provider) -> None:
    time = Time()
    oidc = oidc_of(provider, time)
    for _ in range(20):
        verify(oidc, token())
    assert provider.asked == 1
    new = new_key("EC", "new")
    for _ in range(20):
        with pytest.raises(UnauthenticatedError):
            verify(oidc, token(new))
    assert provider.asked == 1, "unknown keys do not make it ask for each token"
    provider.document = jwk_set([new]).encode()
    time.seconds = 11
    assert verify(oidc, token(new)).name == "oidc:ann"
    assert provider.asked == 2
    with pytest.raises(UnauthenticatedError):
        verify(oidc, token())
    for status, document in ((500, b""), (200, b"nonsense"), (200, b"x" * 300_000), (302, jwk_set([]).encode())):
        provider.status, provider.document = status, document
        time.seconds += 301
        assert verify(oidc, token(new)).name == "oidc:ann"
    time.seconds += 86_401
    with pytest.raises(UnauthenticatedError):
        verify(oidc, token(new, exp=NOW + 10**6))


def test_who_is_known_does_not_wait_for_a_provider_that_hangs(provider: Provider) -> None:
    time = Time()
    oidc = oidc_of(provider, time)
    verify(oidc, token())
    time.seconds = 11
    provider.may_answer.clear()
    unknown = token(new_key("EC", "other"))
    looking = threading.Thread(target=oidc.look, args=(unknown,))
    looking.start()
    try:
        eventually(lambda: provider.asked == 2, "it is asked")
        assert not oidc.needs_look(token())
        assert oidc.verify(token()).name == "oidc:ann"
        assert oidc.needs_look(unknown), "whoever may be known in a moment waits"
    finally:
        provider.may_answer.set()
        looking.join()
    assert not oidc.needs_look(unknown)


def test_keys_may_be_in_a_file(tmp_path: Path, provider: Provider) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(provider.document)
    provider.url = str(path)
    assert verify(oidc_of(provider, Time()), token()).name == "oidc:ann"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"jwks": "http://id.example/keys"}, "--oidc-jwks"),
        ({"audience": ""}, "--oidc-audience"),
        ({"roles": (("x", "router"),)}, "--oidc-role"),
        ({"roles": (("x", "god"),)}, "--oidc-role"),
    ],
)
def test_a_provider_that_cannot_be_is_refused(more: dict[str, Any], field: str) -> None:
    values: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": "https://id.example/keys", **more}
    with pytest.raises(ValidationError) as caught:
        Oidc(OidcSettings(**values), Time().clock, Time().now)
    assert caught.value.field == field


def test_the_api_takes_them_and_names_them_in_the_log(tmp_path: Path, provider: Provider) -> None:
    with serving(tmp_path / "state", access=AccessSettings(oidc=settings_of(provider))) as api:
        api.fill()
        headers = as_holder(token())
        assert api.http.put("/v1/tenants/acme", json={}, headers=headers).status_code == 200
        assert api.get("/v1/events", limit=1).json()["items"][0]["actor"] == "oidc:ann"
        assert_problem(api.http.get("/v1/tokens", headers=headers), 403, "forbidden")
        assert_problem(api.http.get("/v1/cells", headers=as_holder(token(roles="x"))), 403, "forbidden")
        assert_problem(api.http.get("/v1/cells", headers=as_holder(token(aud="x"))), 401, "unauthenticated")
