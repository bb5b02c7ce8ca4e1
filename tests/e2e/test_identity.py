"""Verified keys through a real Envoy: tokens, signed cookies, and what does not prove anything."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import Key, RSAKey

from cellplane.model import Cell, Fleet, JwtProvider, KeySource, KeySourceKind, Pool, Tenant, Topology
from cellplane.router.engine import TableRejectedError
from cellplane.router.jwks import JwksFetcher
from cellplane.router.local_files import LocalFolder
from cellplane.router.tables import StoredTable
from cellplane.routing import compile_table, encode
from cellplane.signed_cookie import Keyring, new_secret
from e2e import tokens
from e2e.edge import Edge, RawAnswer, StubCell, start_edge, stored_with_stubs, stub_cells
from e2e.tokens import LATER, claims, jwk_set, new_key, signed, token, unsigned
from support.http_server import answering_with

CELLS = ("cell-1", "cell-2", "cell-3")
SOURCES = (
    KeySource(KeySourceKind.JWT_CLAIM, "org.id"),
    KeySource(KeySourceKind.COOKIE, "route"),
    KeySource(KeySourceKind.SUBDOMAIN, "shop.example"),
)


def stored_table(
    folder: Path, cells: dict[str, StubCell], *providers: JwtProvider, epoch: int = 1, sources: Any = SOURCES
) -> StoredTable:
    """A table of a fleet that believes these issuers."""
    fleet = Fleet("shop", key_sources=sources, jwt=providers)
    return stored_fleet(folder, cells, fleet, epoch=epoch)


def stored_fleet(
    folder: Path,
    cells: dict[str, StubCell],
    fleet: Fleet,
    tenants: tuple[Tenant, ...] = (),
    laws: dict[str, str] | None = None,
    *,
    epoch: int = 1,
) -> StoredTable:
    """A table of these cells, each under a law."""
    known = tuple(Cell(cell, "127.0.0.1", 1, jurisdiction=(laws or {}).get(cell, "none")) for cell in CELLS)
    topology = Topology(fleet, known, (Pool("default", CELLS),), tenants)
    path = folder / f"table-{epoch}.cpt"
    path.write_bytes(encode(compile_table(topology, epoch)))
    return stored_with_stubs(path, cells)


def provider(folder: Path, **changes: Any) -> JwtProvider:
    """The issuer of the tests, with its keys in a file."""
    values = {"jwks_file": str(folder / "jwks.json"), "cookie": "session", **changes}
    return JwtProvider("id", tokens.ISSUER, (tokens.AUDIENCE,), **values)


@pytest.fixture(scope="module")
def keys() -> dict[str, Key]:
    return {kind: new_key(kind, f"{kind}-1") for kind in ("RSA", "EC", "OKP")}


@pytest.fixture(scope="module")
def cells() -> Iterator[dict[str, StubCell]]:
    with stub_cells(CELLS) as cells:
        yield cells


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity")


@pytest.fixture(scope="module")
def edge(folder: Path, cells: dict[str, StubCell], keys: dict[str, Key]) -> Iterator[Edge]:
    (folder / "jwks.json").write_text(jwk_set(list(keys.values())))
    (folder / "cookie-keys").write_text(f"new {new_secret()}\nold {new_secret()}\n")
    stored = stored_table(folder, cells, provider(folder))
    with start_edge(folder / "router", stored, cookie_keys=folder / "cookie-keys") as edge:
        yield edge


def keyring(folder: Path) -> Keyring:
    return Keyring.parse((folder / "cookie-keys").read_text())


def bearer(text: str) -> list[tuple[str, bytes | str]]:
    return [("authorization", f"Bearer {text}")]


def tenant_of(answer: RawAnswer | None) -> list[str]:
    assert answer is not None
    assert answer.status == 200, answer
    assert not [name for name, _ in answer.json()["headers"] if name.startswith("x-cell-claim")]
    return answer.reached("x-tenant-id")


def refusal(answer: RawAnswer | None) -> tuple[int, str]:
    assert answer is not None
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status
    return answer.status, document["code"]


@pytest.mark.parametrize("kind", ["RSA", "EC", "OKP"])
def test_a_claim_of_a_verified_token_is_the_key(edge: Edge, keys: dict[str, Key], kind: str) -> None:
    for tenant in ("acme", "globex"):
        text = token(keys[kind], org={"id": tenant})
        assert tenant_of(edge.ask(bearer(text))) == [tenant]
        assert tenant_of(edge.ask([("cookie", f"a=b; session={text}")])) == [tenant]


def test_a_number_is_a_key_and_a_list_is_its_json(edge: Edge, keys: dict[str, Key]) -> None:
    assert tenant_of(edge.ask(bearer(token(keys["EC"], org={"id": 42})))) == ["42"]
    for other in (["acme"], {"acme": 1}):
        (key,) = tenant_of(edge.ask(bearer(token(keys["EC"], org={"id": other}))))
        assert json.loads(base64.b64decode(key)) == other
    assert refusal(edge.ask(bearer(token(keys["EC"], org={"id": None})))) == (401, "unauthenticated")
    assert refusal(edge.ask(bearer(token(keys["EC"], org="acme")))) == (401, "unauthenticated")
    assert refusal(edge.ask(bearer(token(keys["EC"], org={"id": "a/b"})))) == (400, "invalid-key")


def test_without_a_proof_there_is_a_401_that_says_how(edge: Edge) -> None:
    answer = edge.ask([])
    assert refusal(answer) == (401, "unauthenticated")
    assert answer is not None
    assert answer.headers["www-authenticate"] == "Bearer"


def test_what_envoy_refuses_of_a_request_without_a_token_is_said_as_it_is(edge: Edge) -> None:
    upgrade: list[tuple[str, bytes | str]] = [("upgrade", "spdy/3.1"), ("connection", "upgrade")]
    assert refusal(edge.ask(upgrade)) == (403, "upgrade-refused")
    assert refusal(edge.ask([("x_y", "underscore")])) == (400, "bad-request")


def bad_tokens(keys: dict[str, Key]) -> dict[str, str]:
    """Tokens that are not to be believed, by what is wrong with them."""
    rsa, ec = keys["RSA"], keys["EC"]
    assert isinstance(rsa, RSAKey)
    good = claims(org={"id": "acme"})
    public = json.dumps(rsa.as_dict(private=False)).encode()
    pem = rsa.as_pem(private=False)
    sound = signed(rsa, good)
    head, body, signature = sound.split(".")
    stranger = new_key("RSA", "RSA-1")
    return {
        "alg none": unsigned(good),
        "alg none, known kid": unsigned(good, kid="RSA-1"),
        "alg None": unsigned(good, alg="None"),
        "HMAC by the public key, PEM": _hmac_token(good, pem),
        "HMAC by the public key, JWK": _hmac_token(good, public),
        "another key of the same kid": signed(stranger, good),
        "expired": signed(rsa, {**good, "exp": tokens.ISSUED}),
        "without expiry": signed(rsa, {name: value for name, value in good.items() if name != "exp"}),
        "not before the future": signed(rsa, {**good, "nbf": LATER - 1}),
        "another audience": signed(rsa, {**good, "aud": "other"}),
        "no audience": signed(rsa, {name: value for name, value in good.items() if name != "aud"}),
        "another issuer": signed(rsa, {**good, "iss": "https://evil.example"}),
        "no issuer": signed(rsa, {name: value for name, value in good.items() if name != "iss"}),
        "unknown kid": signed(rsa, good, {"kid": "nobody"}),
        "huge kid": signed(rsa, good, {"kid": "k" * 20_000}),
        "kid that is a path": signed(rsa, good, {"kid": "../../../dev/null"}),
        "signature of another kind": signed(ec, good, {"kid": "RSA-1"}),
        "no signature": f"{head}.{body}.",
        "signature cut": sound[:-8],
        "body changed": f"{head}.{_encoded({**good, 'org': {'id': 'globex'}})}.{signature}",
        "two parts": f"{head}.{body}",
        "five parts": f"{sound}.a.b",
        "not base64": "a.b!.c",
        "empty": "x",
    }


def _hmac_token(payload: dict[str, Any], secret: bytes) -> str:
    text = f"{_encoded({'alg': 'HS256', 'kid': 'RSA-1', 'typ': 'JWT'})}.{_encoded(payload)}"
    mac = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_a_token_that_is_not_valid_is_refused_whatever_else_is_said(
    edge: Edge, folder: Path, keys: dict[str, Key]
) -> None:
    cookie = keyring(folder).sign("route", "globex", expires=LATER)
    for what, text in bad_tokens(keys).items():
        for headers in (bearer(text), [*bearer(text), ("cookie", f"route={cookie}")]):
            answer = edge.ask(headers, authority="initech.shop.example")
            assert refusal(answer) == (401, "invalid-token"), what
    text = token(keys["RSA"], org={"id": "acme"})
    for what, bad in bad_tokens(keys).items():
        answer = edge.ask([*bearer(text), ("cookie", f"session={bad}")])
        assert refusal(answer) == (401, "invalid-token"), what


def test_two_tokens_are_ambiguous(edge: Edge, keys: dict[str, Key]) -> None:
    first, second = token(keys["RSA"], org={"id": "acme"}), token(keys["EC"], org={"id": "globex"})
    assert refusal(edge.ask([*bearer(first), ("cookie", f"session={second}")])) == (400, "ambiguous-key")
    answer = edge.ask([*bearer(first), *bearer(second)])
    assert refusal(answer)[0] in {400, 401}


def test_a_scheme_may_be_written_small_and_another_one_carries_no_token(edge: Edge, keys: dict[str, Key]) -> None:
    text = token(keys["EC"], org={"id": "acme"})
    bad = f"{text[:-4]}AAAA"
    for scheme in ("Bearer", "bearer"):
        assert tenant_of(edge.ask([("authorization", f"{scheme} {text}")])) == ["acme"]
        assert refusal(edge.ask([("authorization", f"{scheme} {bad}")])) == (401, "invalid-token")
        # Beside another one it still is a token.
        both = [("authorization", "Basic YTpi"), ("authorization", f"{scheme} {bad}")]
        assert refusal(edge.ask(both))[0] in {400, 401}
    for other in ("Basic YTpi", "Bearer", f"Digest {text}", text):
        assert refusal(edge.ask([("authorization", other)])) == (401, "unauthenticated")
        assert tenant_of(edge.ask([("authorization", other)], authority="initech.shop.example")) == ["initech"]
    for cookie in ("sessions=x", "presession=x", "other=1"):
        assert tenant_of(edge.ask([("cookie", cookie)], authority="initech.shop.example")) == ["initech"], cookie


def test_what_a_client_says_is_no_claim(edge: Edge, keys: dict[str, Key]) -> None:
    names = ["x-cell-claim-0", "X-Cell-Claim-a16404e4", "x-cell-claim-a16404e4", "x-cell-id", "x-tenant-id"]
    spoofed: list[tuple[str, bytes | str]] = [(name, "globex") for name in names]
    assert refusal(edge.ask(spoofed)) == (401, "unauthenticated")
    assert refusal(edge.ask([("connection", "authorization"), *spoofed])) == (401, "unauthenticated")
    # Also where nothing in the request makes the verifier look for a token, or a cookie does that is none.
    for name in names:
        for other in ([], [("authorization", "Basic YTpi")], [("cookie", "session2=x")]):
            assert refusal(edge.ask([(name, "globex"), *other])) == (401, "unauthenticated"), (name, other)
    text = token(keys["OKP"], org={"id": "acme"})
    assert tenant_of(edge.ask([*spoofed, *bearer(text), *spoofed])) == ["acme"]


def test_a_signed_cookie_counts_behind_a_token_and_before_the_host(
    edge: Edge, folder: Path, keys: dict[str, Key]
) -> None:
    ring = keyring(folder)
    cookie = f"route={ring.sign('route', 'globex', expires=LATER)}"
    assert tenant_of(edge.ask([("cookie", cookie)], authority="initech.shop.example")) == ["globex"]
    text = token(keys["RSA"], org={"id": "acme"})
    assert tenant_of(edge.ask([("cookie", cookie), *bearer(text)])) == ["acme"]
    older = replace(ring, signing_key="old")
    assert tenant_of(edge.ask([("cookie", f"route={older.sign('route', 'acme', expires=LATER)}")])) == ["acme"]
    for bad in (cookie[:-1], cookie.replace("globex", "acme"), "route=globex", f"other{cookie}", "route="):
        assert tenant_of(edge.ask([("cookie", bad)], authority="initech.shop.example")) == ["initech"]
    expired = f"route={ring.sign('route', 'globex', expires=tokens.ISSUED)}"
    assert refusal(edge.ask([("cookie", expired)])) == (401, "unauthenticated")


def test_keys_are_rotated_while_requests_run(tmp_path: Path, cells: dict[str, StubCell]) -> None:
    """New files of keys count within a moment; damaged or absent ones change nothing, also over a restart."""
    jwks, cookie_keys = tmp_path / "jwks.json", tmp_path / "cookie-keys"
    first, second = new_key("EC", "first"), new_key("EC", "second")
    jwks.write_text(jwk_set([first]))
    cookie_keys.write_text(f"a {new_secret()}\n")
    before = keyring(tmp_path).sign("route", "acme", expires=LATER)
    stored = stored_table(tmp_path, cells, provider(tmp_path))
    with start_edge(tmp_path / "router", stored, cookie_keys=cookie_keys) as edge:

        def believes(key: Key) -> bool:
            answer = edge.ask(bearer(token(key, org={"id": "acme"})))
            assert answer is not None
            return answer.status == 200

        assert (believes(first), believes(second)) == (True, False)
        assert edge.runner.run(edge.engine.refresh()) is False
        jwks.write_text(jwk_set([second]))
        cookie_keys.write_text(f"b {new_secret()}\n")
        assert edge.runner.run(edge.engine.refresh()) is True
        assert (believes(first), believes(second)) == (False, True)
        assert refusal(edge.ask([("cookie", f"route={before}")])) == (401, "unauthenticated")
        after = keyring(tmp_path).sign("route", "acme", expires=LATER)
        assert tenant_of(edge.ask([("cookie", f"route={after}")])) == ["acme"]

        for damage in ("", "{", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AAAA"}]}'):
            jwks.write_text(damage)
            cookie_keys.write_text(damage)
            assert edge.runner.run(edge.engine.refresh()) is False
        jwks.unlink()
        cookie_keys.unlink()
        assert edge.runner.run(edge.engine.refresh()) is False
        edge.runner.run(edge.engine.stop())
        edge.runner.run(edge.engine.start(stored))
        assert (believes(first), believes(second)) == (False, True)
        assert tenant_of(edge.ask([("cookie", f"route={after}")])) == ["acme"]


def test_another_policy_of_tokens_takes_effect_with_its_table(
    tmp_path: Path, cells: dict[str, StubCell], keys: dict[str, Key]
) -> None:
    (tmp_path / "jwks.json").write_text(jwk_set([keys["EC"]]))
    subdomain = (KeySource(KeySourceKind.SUBDOMAIN, "shop.example"),)
    plain = stored_table(tmp_path, cells, sources=subdomain)
    verified = stored_table(
        tmp_path, cells, provider(tmp_path), epoch=2, sources=(KeySource(KeySourceKind.JWT_CLAIM, "tenant"),)
    )
    other = stored_table(
        tmp_path, cells, provider(tmp_path), epoch=3, sources=(KeySource(KeySourceKind.JWT_CLAIM, "org.id"),)
    )
    again = stored_table(tmp_path, cells, epoch=4, sources=subdomain)
    text = token(keys["EC"], tenant="acme", org={"id": "globex"})
    with start_edge(tmp_path / "router", plain) as edge:
        host = "initech.shop.example"
        assert tenant_of(edge.ask(bearer("nonsense"), authority=host)) == ["initech"]
        for stored, expected in ((verified, "acme"), (other, "globex"), (again, "initech"), (verified, "acme")):
            edge.apply(stored)
            assert tenant_of(edge.ask(bearer(text), authority=host)) == [expected]


def test_a_table_that_needs_keys_that_are_not_here_is_refused(tmp_path: Path, cells: dict[str, StubCell]) -> None:
    subdomain = (KeySource(KeySourceKind.SUBDOMAIN, "shop.example"),)
    with start_edge(tmp_path / "router", stored_table(tmp_path, cells, sources=subdomain)) as edge:
        with pytest.raises(TableRejectedError, match="started without --cookie-keys"):
            edge.apply(stored_table(tmp_path, cells, epoch=2, sources=SOURCES[1:]))
        needy = stored_table(
            tmp_path, cells, provider(tmp_path, jwks_file="/nowhere/jwks.json"), epoch=3, sources=SOURCES[:1]
        )
        with pytest.raises(TableRejectedError, match=r"^/nowhere/jwks\.json: .*No such file"):
            edge.apply(needy)
        assert tenant_of(edge.ask([], authority="acme.shop.example")) == ["acme"]


class _Jwks(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        document: str = getattr(self.server, "document", "")
        self.send_response(200 if document else 503)
        self.end_headers()
        self.wfile.write(document.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
        """Say nothing."""


def test_keys_of_a_url_are_fetched_and_withdrawn_keys_count_no_more(tmp_path: Path, cells: dict[str, StubCell]) -> None:
    first, second = new_key("EC", "first"), new_key("RSA", "second")
    with answering_with(_Jwks) as server:
        issuer = provider(tmp_path, jwks_file="", jwks_url=f"http://127.0.0.1:{server.server_address[1]}/jwks.json")
        stored = stored_table(tmp_path, cells, issuer, sources=SOURCES[:1])
        with start_edge(tmp_path / "router", stored) as edge:
            settings = replace(edge.settings, jwks_refresh_seconds=0.0, jwks_retry_seconds=0.0)
            fetcher = JwksFetcher(settings, LocalFolder.of(settings), time.monotonic)

            def publish(document: str) -> int:
                server.document = document  # type: ignore[attr-defined]  # what the handler answers
                failed = edge.runner.run(fetcher.refresh(stored.table))
                edge.runner.run(edge.engine.refresh())
                return failed

            def answers(*keys: Key) -> list[int]:
                found = [edge.ask(bearer(token(key, org={"id": "acme"}))) for key in keys]
                return [answer.status for answer in found if answer is not None]

            assert refusal(edge.ask(bearer(token(first)))) == (503, "token-keys-unavailable")
            assert refusal(edge.ask([])) == (401, "unauthenticated")
            assert publish("") == 1
            assert refusal(edge.ask(bearer(token(first)))) == (503, "token-keys-unavailable")
            assert publish(jwk_set([first])) == 0
            assert answers(first, second) == [200, 401]
            assert publish(jwk_set([first, second])) == 0
            assert answers(first, second) == [200, 200]
            for nonsense in ("", "{", '{"keys": []}', "<html>"):
                assert publish(nonsense) == 1
                assert answers(first, second) == [200, 200]
            assert publish(jwk_set([second])) == 0
            assert answers(first, second) == [401, 200]
            server.shutdown()
            server.server_close()
            assert edge.runner.run(fetcher.refresh(stored.table)) == 1
            edge.runner.run(edge.engine.stop())
            edge.runner.run(edge.engine.start(stored))
            assert answers(first, second) == [401, 200]
            edge.runner.run(fetcher.close())


def test_a_token_is_looked_for_in_the_same_places_for_every_issuer(
    tmp_path: Path, cells: dict[str, StubCell], keys: dict[str, Key]
) -> None:
    for name in ("RSA", "EC"):
        (tmp_path / f"{name}.json").write_text(jwk_set([keys[name]]))
    issuers = (
        JwtProvider("first", tokens.ISSUER, jwks_file=str(tmp_path / "RSA.json")),
        JwtProvider("second", "https://other.example", jwks_file=str(tmp_path / "EC.json"), cookie="session"),
    )
    stored = stored_table(tmp_path, cells, *issuers, sources=SOURCES[:1])
    good = token(keys["RSA"], org={"id": "acme"})
    other = token(keys["EC"], org={"id": "globex"}, iss="https://other.example")
    swapped = token(keys["EC"], org={"id": "acme"})
    with start_edge(tmp_path / "router", stored) as edge:
        assert tenant_of(edge.ask(bearer(good))) == ["acme"]
        assert tenant_of(edge.ask(bearer(other))) == ["globex"]
        assert tenant_of(edge.ask([("cookie", f"session={good}")])) == ["acme"]
        assert tenant_of(edge.ask([("authorization", f"bearer {good}")])) == ["acme"]
        assert refusal(edge.ask(bearer(swapped))) == (401, "invalid-token")
        for header, cookie in ((good, "nonsense"), ("nonsense", other), (good, swapped), (swapped, other)):
            answer = edge.ask([*bearer(header), ("cookie", f"session={cookie}")])
            assert refusal(answer) == (401, "invalid-token")


def test_a_cookie_key_of_one_jurisdiction_makes_nobody_of_another(tmp_path: Path, cells: dict[str, StubCell]) -> None:
    secrets = {law: f"{law} {new_secret()} {law}" for law in ("eu", "us")}
    (tmp_path / "cookie-keys").write_text("\n".join([*secrets.values(), f"all {new_secret()}"]))
    tenants = (Tenant("acme", ("cell-1",), jurisdiction="eu"), Tenant("gale", ("cell-2",), jurisdiction="us"))
    fleet = Fleet("shop", key_sources=(KeySource(KeySourceKind.COOKIE, "route"),))
    stored = stored_fleet(tmp_path, cells, fleet, tenants, {"cell-1": "eu", "cell-2": "us", "cell-3": "eu"})

    def cookie(law: str, tenant: str) -> str:
        """What an app of this jurisdiction can sign, with the key that it has."""
        text = secrets.get(law) or (tmp_path / "cookie-keys").read_text().splitlines()[-1]
        return f"route={Keyring.parse(text).sign('route', tenant, expires=LATER)}"

    with start_edge(tmp_path / "router", stored, cookie_keys=tmp_path / "cookie-keys") as edge:
        for tenant, own, foreign in (("acme", "eu", "us"), ("gale", "us", "eu")):
            assert tenant_of(edge.ask([("cookie", cookie(own, tenant))])) == [tenant]
            assert tenant_of(edge.ask([("cookie", cookie("all", tenant))])) == [tenant]
            assert refusal(edge.ask([("cookie", cookie(foreign, tenant))])) == (400, "missing-key")
            both = f"{cookie(foreign, tenant)}; {cookie(own, tenant)}"
            assert tenant_of(edge.ask([("cookie", both)])) == [tenant], "one of them may say so"
