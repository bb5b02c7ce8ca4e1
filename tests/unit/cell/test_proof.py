"""Which proofs count that a router sent a request, and which keys."""

import hmac
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.cell import CellMiddleware
from cellplane.cell.door import RequestLine, Routing, decoded
from cellplane.cell.errors import ProofKeysError
from cellplane.cell.proof import ProofKeys, _Key, parse_keys, sign
from cellplane.cell.wsgi import CellWsgiMiddleware
from cellplane.errors import ValidationError
from cellplane.signed_cookie import new_secret
from unit.cell import test_wsgi
from unit.cell.test_asgi import ROUTED, App, call, problem

NOW = 1_900_000_000
KEYS = f"new {new_secret()}\nold {new_secret()}\n"
LINE = RequestLine(b"GET", b"/a b", b"q=%2F&r")
ROUTING = Routing(b"cell-a", b"7", b"acme", b"")


class Clock:
    def __init__(self) -> None:
        self.wall, self.steady = float(NOW), 100.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "keys").write_text(KEYS)
    return tmp_path / "keys"


@pytest.fixture
def keys(path: Path, clock: Clock) -> ProofKeys:
    return ProofKeys(path, wall_clock=lambda: clock.wall, clock=lambda: clock.steady)


def proven(routing: Routing = ROUTING, line: RequestLine = LINE, seconds: int = NOW, text: str = KEYS) -> Routing:
    value = sign(parse_keys(text), routing, line, seconds)
    return Routing(routing.cell_id, routing.epoch, routing.tenant_id, value)


def fault(keys: ProofKeys, routing: Routing, line: RequestLine = LINE) -> str | None:
    found = keys.fault(routing, line)
    if found is None:
        return None
    assert found.status == 403
    return f"{found.code}: {found.detail}"


def test_what_a_router_signed_counts(keys: ProofKeys) -> None:
    assert fault(keys, proven()) is None


def test_what_nobody_signed_does_not(keys: ProofKeys) -> None:
    assert str(fault(keys, ROUTING)).startswith("no-proof: Expected x-cell-proof")


@pytest.mark.parametrize(
    ("routing", "line"),
    [
        (Routing(b"cell-b", b"7", b"acme", b""), LINE),
        (Routing(b"cell-a", b"8", b"acme", b""), LINE),
        (Routing(b"cell-a", b"7", b"globex", b""), LINE),
        (Routing(b"cell-a", b"7", b"", b""), LINE),
        (ROUTING, RequestLine(b"POST", LINE.path, LINE.query)),
        (ROUTING, RequestLine(b"GET", b"/a", LINE.query)),
        (ROUTING, RequestLine(b"GET", LINE.path, b"")),
    ],
)
def test_a_proof_is_for_one_request(keys: ProofKeys, routing: Routing, line: RequestLine) -> None:
    value = proven().proof
    moved = Routing(routing.cell_id, routing.epoch, routing.tenant_id, value)
    assert str(fault(keys, moved, line)).startswith("invalid-proof: It is not signed for this")


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (0, None),
        (60, None),
        (61, "invalid-proof: It is older than 60 s"),
        (-5, None),
        (-6, "invalid-proof: It is more than 5 s ahead"),
    ],
)
def test_a_proof_counts_for_a_time(keys: ProofKeys, clock: Clock, after: int, expected: str | None) -> None:
    clock.wall += after
    found = fault(keys, proven())
    assert found is None if expected is None else str(found).startswith(expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1],
        lambda value: value + b"A",
        lambda value: value.replace(b"cpp1", b"cpp2"),
        lambda value: value.replace(b"1900000000", b"01900000000"),
        lambda value: value.replace(b"1900000000", b"-1900000000"),
        lambda value: value.replace(b".new.", b".."),
        lambda value: value + b"\n",
        lambda value: b"\xff" * 500,
    ],
)
def test_what_is_no_proof_does_not_count(keys: ProofKeys, change: Callable[[bytes], bytes]) -> None:
    routing = Routing(b"cell-a", b"7", b"acme", change(proven().proof))
    assert str(fault(keys, routing)).startswith("invalid-proof: It is not cpp1")


@given(place=st.integers(0, 200), bit=st.integers(0, 7))
def test_no_changed_bit_counts(place: int, bit: int) -> None:
    ring = parse_keys(KEYS)
    value = bytearray(sign(ring, ROUTING, LINE, NOW))
    value[place % len(value)] ^= 1 << bit
    assert bytes(value) != sign(ring, ROUTING, LINE, NOW)
    with_file = _keys_of(KEYS)
    assert fault(with_file, Routing(b"cell-a", b"7", b"acme", bytes(value))) is not None


def _keys_of(text: str) -> ProofKeys:
    import tempfile  # noqa: PLC0415  # hypothesis shares no tmp_path between examples

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "keys")
        path.write_text(text)
        return ProofKeys(path, wall_clock=lambda: NOW, clock=lambda: 0.0)


def test_keys_are_rotated_without_a_start(path: Path, keys: ProofKeys, clock: Clock) -> None:
    first, second = KEYS.splitlines(keepends=True)
    third = f"next {new_secret()}\n"
    assert fault(keys, proven(text=second)) is None
    assert "No key of this cell has its id" in str(fault(keys, proven(text=third)))
    path.write_text(first + third)
    assert "No key" in str(fault(keys, proven(text=third))), "the file is looked at once a second"
    clock.steady += 1
    assert fault(keys, proven(text=third)) is None
    assert fault(keys, proven(text=first)) is None
    assert "No key" in str(fault(keys, proven(text=second)))


def test_keys_that_are_damaged_or_gone_change_nothing(
    path: Path, keys: ProofKeys, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for change in (lambda: path.write_text("nonsense"), path.unlink):
        change()
        for _ in range(3):
            clock.steady += 1
            assert fault(keys, proven()) is None
    assert len([each for each in caplog.records if "those of before count" in each.message]) == 2
    path.write_text(KEYS)
    clock.steady += 1
    assert fault(keys, proven()) is None


@pytest.mark.parametrize(
    "content",
    ["", "nonsense", f"a {new_secret()} eu", "x" * 70_000, "a \udcff"],
    ids=["empty", "no key", "of a jurisdiction", "too large", "no text"],
)
def test_a_start_needs_keys(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(ProofKeysError, match="--proof-keys"):
        ProofKeys(path)
    with pytest.raises(ProofKeysError, match="cannot be read"):
        ProofKeys(tmp_path / "nothing")


@given(secret=st.binary(min_size=32, max_size=64), signed=st.binary(max_size=300))
def test_a_mac_is_that_of_the_standard_library(secret: bytes, signed: bytes) -> None:
    assert _Key(secret).mac(signed) == hmac.digest(secret, signed, "sha256")


def test_no_message_shows_a_secret(tmp_path: Path) -> None:
    secret = new_secret()
    with pytest.raises(ValidationError) as found:
        parse_keys(f"a {secret} b c")
    assert secret not in str(found.value)


@pytest.mark.parametrize(
    ("path", "expected"),
    [(b"/a", b"/a"), (b"/a%20b", b"/a b"), (b"/%C3%a4", b"/\xc3\xa4"), (b"/%zz%4", b"/%zz%4"), (b"/%2541", b"/%41")],
)
def test_a_path_is_decoded_once(path: bytes, expected: bytes) -> None:
    assert decoded(path) == expected


VECTORS = json.loads((Path(__file__).parents[2] / "conformance" / "vectors" / "proofs.json").read_text())


@pytest.mark.parametrize("case", VECTORS["cases"], ids=[case["name"] for case in VECTORS["cases"]])
def test_what_routers_write_counts(tmp_path: Path, case: dict[str, str]) -> None:
    (tmp_path / "keys").write_text(VECTORS["proof_keys"])
    keys = ProofKeys(tmp_path / "keys", wall_clock=lambda: VECTORS["now"])
    path, _, query = case["path"].encode().partition(b"?")
    routing = Routing(*(case[name].encode() for name in ("cell", "epoch_text", "tenant", "proof")))
    assert fault(keys, routing, RequestLine(case["method"].encode(), decoded(path), query)) is None


def test_an_asgi_app_is_asked_by_routers_alone(path: Path, keys: ProofKeys) -> None:
    app = App()
    middleware = CellMiddleware(app, "cell-a", proof=keys)
    asked: dict[str, Any] = {
        "method": "GET",
        "raw_path": b"/a%20b",
        "query_string": b"q=%2F&r",
        "middleware": middleware,
    }
    assert problem(call(app, ROUTED, path="/a b", **asked))["code"] == "no-proof"
    signed = [*ROUTED, (b"x-cell-proof", proven().proof)]
    call(app, signed, path="/a b", **asked)
    assert len(app.contexts) == 1
    assert problem(call(app, [*signed, signed[-1]], path="/a b", **asked))["code"] == "ambiguous-cell-headers"
    # A server that does not keep the path as it came, and a WebSocket, which has no method.
    del asked["raw_path"], asked["method"]
    call(app, signed, path="/a b", kind="websocket", **asked)
    call(app, [], path="/healthz", middleware=middleware)
    assert len(app.contexts) == 3


def test_what_is_not_proven_tells_no_epoch(keys: ProofKeys) -> None:
    app = App()
    middleware = CellMiddleware(app, "cell-a", proof=keys)
    forged = [(name, b"999" if name == b"x-cell-epoch" else value) for name, value in ROUTED]
    call(app, forged, middleware=middleware, method="GET")
    routing = Routing(b"cell-b", b"7", b"acme", b"")
    headers = [(b"x-cell-id", b"cell-b"), *ROUTED[2:], (b"x-cell-proof", proven(routing).proof)]
    found = problem(
        call(
            app, headers, path="/a b", raw_path=b"/a%20b", query_string=LINE.query, method="GET", middleware=middleware
        )
    )
    assert (found["code"], "epoch" in found) == ("wrong-cell", False)


def test_a_wsgi_app_is_asked_by_routers_alone(keys: ProofKeys) -> None:
    middleware = CellWsgiMiddleware(test_wsgi.App(), "cell-a", proof=keys)
    asked: Mapping[str, str | None] = {"QUERY_STRING": "q=%2F&r", "REQUEST_METHOD": "GET"}
    assert test_wsgi.Asked(middleware, asked, "/a b").status == "403 Forbidden"
    signed = {**asked, "HTTP_X_CELL_PROOF": proven().proof.decode()}
    assert test_wsgi.Asked(middleware, signed, "/a b").status == "200 OK"
    assert test_wsgi.Asked(middleware, {**signed, "SCRIPT_NAME": "/a"}, " b").status == "200 OK"
    assert test_wsgi.Asked(middleware, signed, "/other").status == "403 Forbidden"
    umlaut = proven(line=RequestLine(b"GET", "/ä".encode(), b"")).proof.decode()
    # PEP 3333: bytes beyond ASCII are given as Latin-1.
    changes = {"HTTP_X_CELL_PROOF": umlaut, "QUERY_STRING": ""}
    assert test_wsgi.Asked(middleware, changes, "/ä".encode().decode("latin-1")).status == "200 OK"
