"""httpx2 for loopback: no proxies, and no authorities, which take 30 ms of CPU for each client to read."""

import ssl
from typing import Any

import httpx2

_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts no authority: of plain HTTP there is nothing to verify, and anything else fails."""

PATIENCE_SECONDS = 30.0
"""Longest wait for an answer where a test does not say; a busy machine takes its time."""


def request(method: str, url: str, **options: Any) -> httpx2.Response:
    return httpx2.request(method, url, trust_env=False, verify=_NOBODY, **{"timeout": PATIENCE_SECONDS, **options})


def get(url: str, **options: Any) -> httpx2.Response:
    return request("GET", url, **options)


def post(url: str, **options: Any) -> httpx2.Response:
    return request("POST", url, **options)


def put(url: str, **options: Any) -> httpx2.Response:
    return request("PUT", url, **options)


def client(base_url: str = "", **options: Any) -> httpx2.Client:
    return httpx2.Client(base_url=base_url, trust_env=False, verify=_NOBODY, **{"timeout": PATIENCE_SECONDS, **options})


def async_client(base_url: str = "", **options: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=base_url, trust_env=False, verify=_NOBODY, **{"timeout": PATIENCE_SECONDS, **options}
    )
