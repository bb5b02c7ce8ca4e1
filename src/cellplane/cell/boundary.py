"""Whether a running app lets in what a router sends and nothing else: asked over a socket, as its neighbours would."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from cellplane.cell.door import (
    CELL_ID_HEADER,
    EPOCH_HEADER,
    PROOF_HEADER,
    TENANT_HEADER,
    RequestLine,
    Routing,
    decoded,
)
from cellplane.cell.errors import UnreachableAppError
from cellplane.cell.proof import sign
from cellplane.signed_cookie import Keyring

ANSWER_SECONDS = 5.0
"""How long an app may take for each answer, seconds."""

MAX_BODY_BYTES = 64 * 1024
"""Most that is read of an answer."""

_REFUSALS = {
    "no-cell",
    "wrong-cell",
    "no-tenant",
    "invalid-epoch",
    "ambiguous-cell-headers",
    "tenant-moved",
    "no-proof",
    "invalid-proof",
}

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Checked:
    """One check.

    Attributes:
        name: what was asked.
        expected: what a cell must answer.
        found: what this one did.
        passed: whether that is it.
    """

    name: str
    expected: str
    found: str
    passed: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    code: str
    """Of the problem that it is; empty where it is none."""

    @property
    def text(self) -> str:
        return f"{self.status} {self.code}".rstrip()


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    expected: str
    headers: Headers
    passes: Callable[[_Answer], bool]
    method: str = "GET"
    path: str | None = None
    is_proved: bool = True
    """Whether what has a router's headers has its proof too, where there are keys."""


def check_boundary(
    host: str,
    port: int,
    cell_id: str,
    *,
    tenant_id: str = "cellplane-check",
    path: str = "/",
    health: str = "/healthz",
    proof_keys: Keyring | None = None,
    clock: Callable[[], float] = time.time,
) -> tuple[Checked, ...]:
    """Ask an app everything that it must refuse, and what it must let in.

    What is let in is one GET for a tenant that need not be there: ask a path that reads.

    Args:
        host: where it listens, past any router.
        port: likewise.
        cell_id: as which it runs.
        tenant_id: on whose behalf it is asked.
        path: that is asked.
        health: the path that needs no router.
        proof_keys: those of the routers, for an app that asks for proofs (``cellplane.cell.proof``); then it is asked
            without one too.
        clock: Unix seconds, of proofs.

    Raises:
        UnreachableAppError: nobody answers there.
    """
    found = []
    checks = _checks(cell_id, tenant_id, path, health)
    if proof_keys is not None:
        unproved = _refused("what a router sends, without its proof", checks[0].headers, 403, "no-proof")
        checks.insert(1, replace(unproved, is_proved=False))
    for check in checks:
        headers = check.headers
        if proof_keys is not None and check.is_proved:
            headers = _proved(check, path, proof_keys, int(clock()))
        try:
            answer = _ask(host, port, check.method, check.path or path, headers)
        except (ConnectionRefusedError, socket.gaierror, TimeoutError) as error:
            raise UnreachableAppError(
                f"nobody answers at {host}:{port} ({error}): name the address of the app itself, not of a router"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            # To hang up is to refuse, but tells nobody why.
            found.append(Checked(check.name, check.expected, f"no answer ({type(error).__name__})", passed=False))
            continue
        found.append(Checked(check.name, check.expected, answer.text, check.passes(answer)))
    return tuple(found)


def _checks(cell_id: str, tenant_id: str, path: str, health: str) -> list[_Check]:
    cell, tenant = cell_id.encode(), tenant_id.encode()
    whole = [(CELL_ID_HEADER, cell), (EPOCH_HEADER, b"1"), (TENANT_HEADER, tenant)]

    def but(name: bytes, value: bytes | None) -> Headers:
        kept = [(each, said) for each, said in whole if each != name]
        return kept if value is None else [*kept, (name, value)]

    nobody = [
        _refused(f"{method} without a router's headers", [], 421, "no-cell", method=method)
        for method in ("GET", "POST", "DELETE", "OPTIONS")
    ]
    headers = [
        _refused(
            "a path that there is not, likewise", [], 421, "no-cell", path=f"{path.rstrip('/')}/cellplane-nowhere"
        ),
        _refused("a request for another cell", but(CELL_ID_HEADER, cell + b"-other"), 421, "wrong-cell"),
        _refused("no epoch", but(EPOCH_HEADER, None), 400, "invalid-epoch"),
        _refused("an epoch that is no number", but(EPOCH_HEADER, b"1e3"), 400, "invalid-epoch"),
        _refused("an epoch of 21 digits", but(EPOCH_HEADER, b"1" * 21), 400, "invalid-epoch"),
        _refused("no tenant", but(TENANT_HEADER, None), 400, "no-tenant"),
        _refused("a tenant of 129 bytes", but(TENANT_HEADER, b"t" * 129), 400, "no-tenant"),
        _refused("a tenant that is not ASCII", but(TENANT_HEADER, "ä".encode()), 400, "no-tenant"),
    ]
    twice = [
        _Check(
            f"{name.decode()} twice",
            "400 or 421",
            [*whole, (name, value)],
            lambda answer: answer.status in {400, 421} and answer.code in _REFUSALS,
        )
        for name, value in whole
    ]
    socket_upgrade = [(b"connection", b"upgrade"), (b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")]
    upgrade = _Check(
        "a WebSocket without a router's headers",
        "no 101",
        [*socket_upgrade, (b"sec-websocket-key", b"Y2VsbHBsYW5lLWNoZWNrIQ==")],
        lambda answer: answer.status >= HTTPStatus.BAD_REQUEST,
    )
    let_in = _Check(
        "what a router sends",
        "the app's own answer",
        whole,
        lambda answer: answer.code not in _REFUSALS and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR,
    )
    alive = _Check(f"{health} without a router's headers", "200", [], lambda answer: answer.status == 200, path=health)
    return [let_in, alive, *nobody, *headers, *twice, upgrade]


def _refused(
    name: str, headers: Headers, status: int, code: str, *, method: str = "GET", path: str | None = None
) -> _Check:
    return _Check(
        name,
        f"{status} {code}",
        headers,
        lambda answer: (answer.status, answer.code) == (status, code),
        method=method,
        path=path,
    )


def _proved(check: _Check, path: str, keys: Keyring, seconds: int) -> Headers:
    """The headers of a check with a proof of just them, where a router's are among them."""
    said = dict(check.headers)
    if CELL_ID_HEADER not in said:
        return check.headers
    routing = Routing(said[CELL_ID_HEADER], said.get(EPOCH_HEADER, b""), said.get(TENANT_HEADER, b""), b"")
    asked, _, query = (check.path or path).encode().partition(b"?")
    line = RequestLine(check.method.encode(), decoded(asked), query)
    return [*check.headers, (PROOF_HEADER, sign(keys, routing, line, seconds))]


def _ask(host: str, port: int, method: str, path: str, headers: Headers) -> _Answer:
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if method == "POST":
            connection.putheader("content-length", "0")
        connection.endheaders()
        answer = connection.getresponse()
        body = b"" if answer.status == HTTPStatus.SWITCHING_PROTOCOLS else answer.read(MAX_BODY_BYTES)
    finally:
        connection.close()
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    code = document.get("code", "") if isinstance(document, dict) else ""
    return _Answer(answer.status, code if isinstance(code, str) else "")
