"""Whatever a client sends, the answer is a problem document that says what is wrong, and never a 500."""

import socket
import time

import pytest

from unit.control.serving import Api, assert_problem

BAD_IDS = [
    "a%2Fb",
    "",
    "x" * 129,
    "%2E%2E",
    "%00",
    "acme%00",
    "%C3%A9",
    "%ED%A0%80",
    "%FF",
    "%20",
    "-a",
    "a%0Ab",
    "acme%0A",
]
BAD_NAMES = ["x" * 64, "%2E%2E", "%00", "%C3%A9", "%ED%A0%80", "%FF", "UP", "-a", "a-", "a%0A"]
CELL = {"address": "127.0.0.1", "port": 8001}
FLEET = b'{"key_sources": [{"kind": "path", "name": "/"}], '
"""How the body of a fleet begins."""


@pytest.mark.parametrize("tenant_id", BAD_IDS)
def test_what_is_no_tenant_id_is_refused(steady_shop: Api, tenant_id: str) -> None:
    path = f"/v1/tenants/{tenant_id}"
    assert_problem(steady_shop.put(path, {}), 422, "invalid-resource", field="tenant.id")
    assert_problem(steady_shop.get(path), 422, "invalid-resource", field="tenant_id")
    assert_problem(steady_shop.http.delete(path), 422, "invalid-resource", field="tenant_id")
    assert_problem(steady_shop.http.get(f"/v1/route?tenant={tenant_id}"), 422, "invalid-resource", field="tenant")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_is_no_name_is_refused(steady_shop: Api, name: str) -> None:
    assert_problem(steady_shop.put(f"/v1/cells/{name}", CELL), 422, "invalid-resource", field="cell.id")
    assert_problem(steady_shop.http.delete(f"/v1/cells/{name}"), 404, "not-found")
    pool = steady_shop.put(f"/v1/pools/{name}", {"cells": ["cell-1"]})
    assert_problem(pool, 422, "invalid-resource", field="pool.name")


@pytest.mark.parametrize("path", ["/v1/cells/a%2Fb", "/v1/cells/..", "/v1/tenants/..", "/", "/v2/cells", "/v1/tenant"])
def test_a_path_that_is_no_route_is_404(steady_shop: Api, path: str) -> None:
    assert_problem(steady_shop.put(path, CELL), 404, "no-such-route")
    assert_problem(steady_shop.get(path), 404, "no-such-route")


@pytest.mark.parametrize("path", ["/v1/cells/", "/v1/pools/"])
def test_an_empty_name_is_404(steady_shop: Api, path: str) -> None:
    assert_problem(steady_shop.put(path, CELL), 404, "no-such-route")


@pytest.mark.parametrize(("method", "path"), [("PATCH", "/v1/fleet"), ("DELETE", "/v1/fleet"), ("POST", "/v1/cells")])
def test_another_method_is_405(steady_shop: Api, method: str, path: str) -> None:
    response = steady_shop.http.request(method, path)
    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == {"/v1/fleet": "GET, PUT", "/v1/cells": "GET"}[path]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid-request"),
        (b"nope", 422, "invalid-request"),
        (b"{", 422, "invalid-request"),
        (b"null", 422, "invalid-request"),
        (b"[]", 422, "invalid-request"),
        (b'"text"', 422, "invalid-request"),
        (b'{"cell": 1}', 422, "invalid-request"),
        (b'{"cell": ["cell-1"]}', 422, "invalid-request"),
        (b'{"shard": "cell-1"}', 422, "invalid-request"),
        (b'{"state": "gone"}', 422, "invalid-request"),
        (b'{"state": NaN}', 422, "invalid-request"),
        (b'{"\\ud800": 1}', 422, "invalid-request"),
        (b'{"cell": "\\u0000"}', 422, "invalid-resource"),
        (b'{"cell": "\xff"}', 400, "bad-request"),
        (b"\xff", 400, "bad-request"),
        (b"[" * 30_000, 400, "bad-request"),
        (b'{"a":' * 12_000, 400, "bad-request"),
        (b'{"cell": ' + b"1" * 5000 + b"}", 400, "bad-request"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else None,
)
def test_a_body_that_is_no_tenant_is_refused(steady_shop: Api, body: bytes, status: int, code: str) -> None:
    response = steady_shop.put_bytes("/v1/tenants/acme", body)
    assert response.status_code == status
    assert_problem(response, status, code, field=response.json().get("field"))
    assert_problem(steady_shop.get("/v1/tenants/acme"), 404, "not-found")


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/tenants/acme", b'{"cell": "\\ud800"}'), ("/v1/pools/default", b'{"cells": ["\\udfff"]}')],
)
def test_a_lone_surrogate_names_no_cell(shop: Api, path: str, body: bytes) -> None:
    response = shop.put_bytes(path, body)
    assert response.status_code == 422
    assert_problem(response, 422, response.json()["code"], field=response.json().get("field"))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/fleet", FLEET + b'"name": "\\ud800"}'),
        ("/v1/fleet", b'{"name": "shop", "key_sources": [{"kind": "path", "name": "\\ud800"}]}'),
        ("/v1/fleet", FLEET + b'"name": "shop", "retry_after_seconds": 1e999}'),
        ("/v1/fleet", FLEET + b'"name": "shop", "retry_after_seconds": ' + b"9" * 4000 + b"}"),
        ("/v1/fleet", b'{"name": "shop", "key_sources": [{"kind": "header", "name": "x-cell-id", "trusted": true}]}'),
        ("/v1/fleet", FLEET + b'"name": "shop", "jwt": [{"name": "id", "issuer": "\\ud800", "jwks_file": "/k"}]}'),
        ("/v1/fleet", FLEET + b'"name": "shop", "jwt": [{"name": "id", "issuer": "i", "clock_skew_seconds": 1e999}]}'),
        ("/v1/cells/cell-1", b'{"address": "\\ud800", "port": 1}'),
        ("/v1/cells/cell-1", b'{"address": "a", "port": ' + b"9" * 4000 + b"}"),
        ("/v1/cells/cell-1", b'{"address": "a", "port": 1, "weight": NaN}'),
        ("/v1/cells/cell-1", b'{"address": "a", "port": 1, "weight": Infinity}'),
        ("/v1/cells/cell-1", b'{"address": "a", "port": 1, "weight": ' + b"9" * 400 + b"}"),
    ],
    ids=lambda value: value.decode()[:44] if isinstance(value, bytes) else None,
)
def test_a_number_or_text_out_of_range_is_refused(steady_shop: Api, path: str, body: bytes) -> None:
    response = steady_shop.put_bytes(path, body)
    assert response.status_code == 422
    assert_problem(response, 422, response.json()["code"], field=response.json()["field"])


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf{}", "{}".encode("utf-16")], ids=["utf-8 with a mark", "utf-16"])
def test_json_in_its_other_encodings_is_taken(shop: Api, body: bytes) -> None:
    assert shop.put_bytes("/v1/tenants/acme", body).status_code == 200


def test_a_body_of_another_media_type_is_refused(steady_shop: Api) -> None:
    for headers in ({}, {"content-type": "text/plain"}):
        response = steady_shop.http.put("/v1/tenants/acme", content=b"{}", headers=headers)
        assert_problem(response, 422, "invalid-request", field="body")


def test_a_body_that_was_cut_off_changes_nothing(shop: Api) -> None:
    headers = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\nConnection: close"
    with socket.create_connection(("127.0.0.1", shop.port)) as client:
        client.sendall(f"PUT /v1/tenants/acme HTTP/1.1\r\n{headers}\r\n\r\n".encode() + b'{"cell": "cell-1"}')
    counted = 'method="PUT",route="/v1/tenants/'
    for _ in range(100):
        if counted in shop.get("/metrics").text:
            break
        time.sleep(0.01)
    assert_problem(shop.get("/v1/tenants/acme"), 404, "not-found")


def test_a_body_just_within_the_limit_is_read(steady_shop: Api) -> None:
    limit = steady_shop.service.settings.max_body_bytes
    body = b'{"cell": "cell-9"' + b" " * (limit - 18) + b"}"
    assert len(body) == limit
    assert_problem(steady_shop.put_bytes("/v1/tenants/acme", body), 422, "invalid-resource", field="tenant.cell")
    assert_problem(steady_shop.put_bytes("/v1/tenants/acme", body + b" "), 413, "body-too-large")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1:1", "127.0.0.2", ""])
def test_a_host_that_is_not_ours_is_421(steady_shop: Api, host: str) -> None:
    assert_problem(steady_shop.http.get("/healthz", headers={"host": host}), 421, "wrong-host")
    response = steady_shop.http.put("/v1/tenants/acme", json={}, headers={"host": host})
    assert_problem(response, 421, "wrong-host")
    assert_problem(steady_shop.get("/v1/tenants/acme"), 404, "not-found")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
def test_our_hosts_are_answered_with_and_without_the_port(steady_shop: Api, host: str) -> None:
    for value in (host, f"{host}:{steady_shop.port}"):
        assert steady_shop.http.get("/healthz", headers={"host": value}).status_code == 200


def test_a_failing_database_is_503_and_the_api_lives(shop: Api) -> None:
    database = shop.service.settings.state_dir / "directory.sqlite3"
    whole = database.read_bytes()
    shop.service.directory.close()
    for path in (database, database.with_name("directory.sqlite3-wal"), database.with_name("directory.sqlite3-shm")):
        path.unlink(missing_ok=True)
    database.write_bytes(b"this is no database" * 100)
    response = shop.put("/v1/tenants/acme", {})
    assert_problem(response, 503, "directory-unavailable")
    assert response.headers["retry-after"] == "1"
    assert shop.get("/v1/table").status_code == 200, "routers go on with the published table"
    shop.service.directory.close()
    database.write_bytes(whole)
