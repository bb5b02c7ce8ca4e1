"""Whose certificate a connection came with, for the app behind the server: uvicorn does not tell."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PEER_NAMES = "peer_names"
"""Where a request's state has the names of its certificate; not there where it came with none."""


class PeerProtocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, with the names of the client's certificate in each request's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take note of who connects; the handshake has verified it."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = None if tls is None else tls.getpeercert()
        if certificate:
            self.app_state = {**self.app_state, PEER_NAMES: frozenset(names_of(certificate))}


def names_of(certificate: Mapping[str, Any]) -> Iterator[str]:
    """The host names of a certificate and its common name, as ``ssl.SSLSocket.getpeercert`` gives it."""
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "DNS":
            yield value
    for part in certificate.get("subject", ()):
        for name, value in part:
            if name == "commonName":
                yield value
