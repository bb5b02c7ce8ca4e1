"""TLS at the edge, and what the access log says, through a real Envoy."""

import datetime as dt
import json
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cellplane.model import Cell, Fleet, KeySource, Pool, Tenant, TenantState, Topology
from cellplane.router.tables import StoredTable
from cellplane.routing import compile_table, encode
from e2e.edge import StubCell, start_edge, stored_with_stubs, stub_cells
from e2e.harness import eventually

CELLS = ("cell-1", "cell-2")


@pytest.fixture(scope="module")
def cells() -> Iterator[dict[str, StubCell]]:
    with stub_cells(CELLS) as cells:
        yield cells


def stored_table(folder: Path, cells: dict[str, StubCell]) -> StoredTable:
    fleet = Fleet("shop", key_sources=(KeySource.trusted_header("x-tenant-id"),))
    tenants = (Tenant("acme", ("cell-2",)), Tenant("gone", state=TenantState.SUSPENDED))
    members = tuple(Cell(cell, "127.0.0.1", 1) for cell in CELLS)
    path = folder / "table-1.cpt"
    path.write_bytes(encode(compile_table(Topology(fleet, members, (Pool("default", CELLS),), tenants), 7)))
    return stored_with_stubs(path, cells)


def write_pair(folder: Path, name: str) -> None:
    """A new self-signed certificate and its key, renamed into place one after the other."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for file, data in (("tls.crt", certificate.public_bytes(serialization.Encoding.PEM)), ("tls.key", private)):
        aside = folder / f".{file}"
        aside.write_bytes(data)
        aside.rename(folder / file)


def connect(port: int, **versions: Any) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(versions.get("protocols", ["http/1.1"]))
    if "at_most" in versions:
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.maximum_version = versions["at_most"]
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 30))


def ask(connection: ssl.SSLSocket, tenant: str = "acme") -> bytes:
    connection.sendall(f"GET /x HTTP/1.1\r\nHost: shop.example\r\nX-Tenant-Id: {tenant}\r\n\r\n".encode())
    answer = b""
    while True:
        head, _, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        if length and len(body) >= int(length[1]):
            return answer
        part = connection.recv(65536)
        assert part, f"the connection ended behind {answer!r}"
        answer += part


def name_of(connection: ssl.SSLSocket) -> str:
    data = connection.getpeercert(binary_form=True)
    assert data is not None
    (name,) = x509.load_der_x509_certificate(data).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_a_certificate_is_replaced_while_connections_stay(tmp_path: Path, cells: dict[str, StubCell]) -> None:
    write_pair(tmp_path, "first")
    options = {"tls_certificate": tmp_path / "tls.crt", "tls_key": tmp_path / "tls.key"}
    with start_edge(tmp_path / "router", stored_table(tmp_path, cells), **options) as edge:
        port = edge.settings.port
        with connect(port) as old, connect(port, protocols=["h2", "http/1.1"]) as modern:
            assert (name_of(old), old.selected_alpn_protocol()) == ("first", "http/1.1")
            assert modern.selected_alpn_protocol() == "h2"
            answer = ask(old)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"strict-transport-security: max-age=31536000" in answer
            assert b"strict-transport-security" in ask(old, "gone")
            write_pair(tmp_path, "second")

            def shown() -> str:
                with connect(port) as new:
                    return name_of(new)

            eventually(lambda: shown() == "second", "the new certificate is shown")
            (tmp_path / "tls.crt").write_text("nonsense")
            assert shown() == "second"
            assert ask(old).startswith(b"HTTP/1.1 200")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            connect(port, at_most=ssl.TLSVersion.TLSv1_1)


def test_each_request_has_a_line_that_says_what_was_decided(tmp_path: Path, cells: dict[str, StubCell]) -> None:
    log = tmp_path / "access.log"
    with start_edge(tmp_path / "router", stored_table(tmp_path, cells), access_log=log) as edge:
        assert edge.ask([("x-tenant-id", "acme"), ("authorization", "Bearer s3cret")], path="/x?token=s3cret")
        assert edge.ask([("x-tenant-id", "gone"), ("cookie", "a=s3cret")])
        assert edge.ask([])

        def lines() -> list[dict[str, Any]]:
            return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

        eventually(lambda: len(lines()) == 3, "all lines are written", seconds=20)
        routed, suspended, missing = lines()
        assert "s3cret" not in log.read_text()
    expected = {
        "cell": "cell-2",
        "pool": "default",
        "tenant": "acme",
        "reason": "assignment",
        "epoch": "7",
        "status": 200,
    }
    assert expected.items() <= routed.items()
    assert (routed["path"], routed["method"], routed["details"]) == ("/x", "GET", "via_upstream")
    assert (suspended["status"], suspended["details"], suspended["cell"]) == (403, "cellplane_tenant_suspended", None)
    assert (missing["status"], missing["details"]) == (400, "cellplane_missing_key")


def test_failures_have_a_line_where_others_are_sampled_and_a_large_log_is_moved_aside(
    tmp_path: Path, cells: dict[str, StubCell]
) -> None:
    log = tmp_path / "access.log"
    options: dict[str, Any] = {"access_log": log, "access_log_share": 0.0, "max_access_log_bytes": 100}
    with start_edge(tmp_path / "router", stored_table(tmp_path, cells), **options) as edge:
        for _ in range(3):
            edge.ask([("x-tenant-id", "acme")])
        edge.ask([("x-tenant-id", "gone")])
        eventually(lambda: log.exists() and log.read_text().count("\n") == 1, "the failure is written", seconds=20)
        assert edge.runner.run(edge.engine.rotate_logs())
        assert not edge.runner.run(edge.engine.rotate_logs())
        edge.ask([("x-tenant-id", "gone")])
        eventually(lambda: log.exists() and log.read_text().count("\n") == 1, "the next one too", seconds=20)
        assert (tmp_path / "access.log.1").read_text().count("\n") == 1
