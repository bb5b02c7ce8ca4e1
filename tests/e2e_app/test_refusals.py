"""What the API refuses: each with its code, none with a 5xx."""

import json
import socket
from collections.abc import Iterator
from typing import cast

import httpx2
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2e_app.servers import CELL_ID, Cell, Postgres
from support.depth import examples

JSON = {"content-type": "application/json"}
VALID = {"channel": "push", "to": "somebody", "body": "hello"}


def assert_problem(answer: httpx2.Response, status: int, code: str) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-cell-id"] == CELL_ID
    problem: dict[str, object] = answer.json()
    assert problem["code"] == code
    assert problem["type"] == f"urn:cellplane:problem:{code}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return problem


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x-cell-id": "cell-b"}, 421, "wrong-cell"),
        ({"x-cell-id": ""}, 421, "no-cell"),
        ({"x-cell-epoch": "soon"}, 400, "invalid-epoch"),
        ({"x-tenant-id": ""}, 400, "no-tenant"),
    ],
)
def test_request_that_no_router_sent_here_is_refused(
    cell: Cell, headers: dict[str, str], status: int, code: str
) -> None:
    answer = cell.http.post("/notifications", json=VALID, headers=cell.headers() | headers)
    assert_problem(answer, status, code)


def test_wrong_cell_says_which_cell_it_is(cell: Cell) -> None:
    answer = cell.http.get("/notifications", headers=cell.headers() | {"x-cell-id": "cell-b"})
    assert assert_problem(answer, 421, "wrong-cell")["cell"] == CELL_ID


def test_repeated_routing_header_is_refused(cell: Cell) -> None:
    headers = [*cell.headers().items(), ("x-tenant-id", "other")]
    assert_problem(cell.http.get("/notifications", headers=headers), 400, "ambiguous-cell-headers")


def test_a_tenant_that_went_away_is_refused_by_the_tables_of_before(cell: Cell) -> None:
    cell.moves.note("wanderer", "cell-b", 8)
    answer = cell.get("/notifications", "wanderer")
    assert assert_problem(answer, 421, "tenant-moved")["cell"] == CELL_ID
    assert answer.headers["x-cell-epoch"] == "8", "so that the router knows which table to wait for"
    newer = cell.headers("wanderer") | {"x-cell-epoch": "8"}
    assert cell.http.get("/notifications", headers=newer).status_code == 200
    assert cell.get("/notifications").status_code == 200


BAD_BODIES = {
    "nul in body": (json.dumps(VALID | {"body": "a\0b"}).encode(), "body.body"),
    "nul in recipient": (json.dumps(VALID | {"to": "\0"}).encode(), "body.to"),
    "half a surrogate pair": (json.dumps(VALID | {"body": "\ud800"}).encode(), "body.body"),
    "10 kB recipient": (json.dumps(VALID | {"to": "x" * 10_000}).encode(), "body.to"),
    "10 kB body": (json.dumps(VALID | {"body": "x" * 10_000}).encode(), "body.body"),
    "empty recipient": (json.dumps(VALID | {"to": ""}).encode(), "body.to"),
    "number as body": (json.dumps(VALID | {"body": 5}).encode(), "body.body"),
    "null as recipient": (json.dumps(VALID | {"to": None}).encode(), "body.to"),
    "list as channel": (json.dumps(VALID | {"channel": ["push"]}).encode(), "body.channel"),
    "unknown channel": (json.dumps(VALID | {"channel": "fax"}).encode(), "body.channel"),
    "unknown field": (json.dumps(VALID | {"bcc": "x"}).encode(), "body.bcc"),
    "unknown field that is no text": (json.dumps(VALID | {"\ud800": 1}).encode(), "body"),
    "missing field": (b'{"channel": "push", "to": "x"}', "body.body"),
    "list": (b"[]", "body"),
    "number": (b"1", "body"),
    "huge number": (b"9" * 5000, "body"),
    "empty": (b"", "body"),
    "invalid JSON": (b'{"channel":', "body"),
    "invalid UTF-8": (b'{"channel": "push", "to": "\xff", "body": "x"}', "body"),
    "UTF-16 with a broken pair": (b"\xff\xfe\x00\xd8\x22", "body"),
    "too deep": (b"[" * 60_000, "body"),
}


@pytest.mark.parametrize(("body", "field"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_bad_body_is_refused_by_field(cell: Cell, body: bytes, field: str) -> None:
    answer = cell.http.post("/notifications", content=body, headers=cell.headers() | JSON)
    errors = assert_problem(answer, 422, "invalid-request")["errors"]
    assert isinstance(errors, list)
    assert [error["field"] for error in errors] == [field]


def test_refusal_names_few_fields_and_repeats_no_value(cell: Cell) -> None:
    body = {f"{'secret' * 100}{number}": "private" for number in range(50)}
    answer = cell.http.post("/notifications", json=body, headers=cell.headers())
    assert_problem(answer, 422, "invalid-request")
    assert "private" not in answer.text
    assert len(answer.content) < 4000


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", ""])
def test_json_of_another_content_type_is_refused(cell: Cell, content_type: str) -> None:
    headers = cell.headers() | {"content-type": content_type}
    answer = cell.http.post("/notifications", content=json.dumps(VALID), headers=headers)
    assert_problem(answer, 422, "invalid-request")


@pytest.mark.parametrize("keys", [[""], ["a b"], ["x" * 256], ["\u00fc"], ["k", "k"]])
def test_what_cannot_be_an_idempotency_key_is_refused(cell: Cell, keys: list[str]) -> None:
    headers = [*cell.headers("no-keys").items(), *(("idempotency-key", key) for key in keys)]
    answer = cell.http.post(
        "/notifications", json=VALID, headers=[(name.encode(), value.encode("latin-1")) for name, value in headers]
    )
    (error,) = cast(list[dict[str, str]], assert_problem(answer, 422, "invalid-request")["errors"])
    assert error["field"].startswith("header.idempotency-key")
    assert cell.get("/notifications", "no-keys").json()["items"] == []


def test_the_key_of_another_request_is_refused_and_one_in_use_for_now(cell: Cell, postgres: Postgres) -> None:
    assert cell.post("push", "reuses", "x" * 255).status_code == 202
    assert_problem(cell.post("sms", "reuses", "x" * 255), 422, "idempotency-key-reused")
    with psycopg.connect(postgres.url) as first:
        first.execute("INSERT INTO cellplane_idempotency VALUES ('reuses', 'k', 'f', NULL, now() + interval '1 day')")
        answer = cell.post("push", "reuses", "k")
        assert_problem(answer, 409, "idempotency-key-in-use")
        assert answer.headers["retry-after"] == "1"
        first.rollback()
    assert cell.post("push", "reuses", "k").status_code == 202
    assert len(cell.get("/notifications", "reuses").json()["items"]) == 2


def chunks(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * 10_000


@pytest.mark.parametrize("size", [64 * 1024 + 1, 5_000_000])
def test_huge_body_is_refused_by_its_content_length(cell: Cell, size: int) -> None:
    answer = cell.http.post("/notifications", content=b" " * size, headers=cell.headers() | JSON)
    assert_problem(answer, 413, "body-too-large")


@pytest.mark.parametrize("count", [7, 500])
def test_huge_body_is_refused_while_it_streams(cell: Cell, count: int) -> None:
    answer = cell.http.post("/notifications", content=chunks(count), headers=cell.headers() | JSON)
    assert_problem(answer, 413, "body-too-large")
    assert answer.headers["connection"] == "close"  # else the server would read on, without an end


def test_announced_huge_body_is_refused_before_it_comes(cell: Cell) -> None:
    headers = cell.headers() | JSON | {"host": "cell", "content-length": "65537"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", cell.port), timeout=30) as sock:
        sock.sendall(f"POST /notifications HTTP/1.1\r\n{head}\r\n".encode())
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"body-too-large"' in answer


def test_largest_body_is_accepted(cell: Cell) -> None:
    body = json.dumps({"channel": "push", "to": "\U0001f514" * 320, "body": "\U0001f514" * 4096}).encode()
    padded = body.ljust(64 * 1024)
    answer = cell.http.post("/notifications", content=padded, headers=cell.headers() | JSON)
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not-found"),
        ("GET", "/docs", 404, "not-found"),
        ("POST", "/notifications/", 404, "not-found"),
        ("DELETE", "/notifications", 405, "method-not-allowed"),
        ("GET", "/notifications/nonsense", 404, "not-found"),
        ("GET", "/notifications/%00", 404, "not-found"),
        ("GET", "/notifications/00000000-0000-4000-8000-000000000000", 404, "not-found"),
        ("GET", "/notifications?limit=0", 422, "invalid-request"),
        ("GET", "/notifications?limit=201", 422, "invalid-request"),
        ("GET", "/notifications?limit=many", 422, "invalid-request"),
        ("GET", "/notifications?after=nonsense", 422, "invalid-request"),
        ("GET", "/notifications?after=%00", 422, "invalid-request"),
        ("GET", f"/notifications?after={'9' * 17}-{'0' * 32}", 422, "invalid-request"),
        ("GET", f"/notifications?after={'9' * 1000}", 422, "invalid-request"),
    ],
)
def test_bad_path_or_query_is_refused(cell: Cell, method: str, path: str, status: int, code: str) -> None:
    assert_problem(cell.http.request(method, path, headers=cell.headers()), status, code)


def test_farthest_cursor_gives_a_page(cell: Cell) -> None:
    answer = cell.get(f"/notifications?after={'9' * 16}-{'f' * 32}", tenant="nobody")
    assert answer.json() == {"items": [], "next": None}


texts = st.text(max_size=40) | st.text(st.characters(categories=["Cs"]), max_size=3) | st.just("\0")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
near_misses = st.fixed_dictionaries(
    {"channel": st.sampled_from(["push", "sms", "email"]) | values, "to": texts | values, "body": texts | values},
    optional={"extra": values},
)
documents = (near_misses | values).map(lambda value: json.dumps(value).encode())


@given(body=documents | st.binary(max_size=200))
@settings(max_examples=examples(83), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_gives_a_server_error(cell: Cell, body: bytes) -> None:
    answer = cell.http.post("/notifications", content=body, headers=cell.headers("random") | JSON)
    assert answer.status_code in (202, 422), answer.text
    assert answer.json()["status"] in ("queued", 422)


@given(after=st.text(max_size=70), limit=st.integers() | st.text(max_size=5))
@settings(max_examples=examples(33), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_query_gives_a_server_error(cell: Cell, after: str, limit: int | str) -> None:
    query = {"after": after, "limit": str(limit)}
    answer = cell.http.get("/notifications", params=query, headers=cell.headers("random"))
    assert answer.status_code in (200, 422), answer.text
