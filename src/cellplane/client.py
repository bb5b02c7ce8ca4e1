"""A client of the control plane's API, for the CLI and for provisioning."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import httpx2

from cellplane.control_tls import ControlTls
from cellplane.errors import BusyControlPlaneError, ControlPlaneError, PreconditionError, UnreachableError

TIMEOUT_SECONDS = 10.0
"""How long the control plane may take to answer, seconds."""

WORK_TIMEOUT_SECONDS = 600.0
"""How long it may take to do what ``post`` asks for, seconds: an apply of a full manifest takes a minute or more."""

PAGE_ITEMS = 1000
"""Items of a list that are asked for at once."""

LIVE_TIMEOUT_SECONDS = 10.0
"""How long to wait until all routers run a change, seconds."""

BUSY = "directory-busy"
"""Code of the problem that others change the directory for longer than a change waits for them."""

BUSY_TRIES = 24
"""How often lines are sent to a control plane that is busy; it waits for five seconds itself each time."""

MAX_PAUSE_SECONDS = 5.0
"""Longest pause between two of these, seconds."""

HOW_TO_BE_KNOWN = (
    "give a token with --token-file, CELLPLANE_TOKEN or CELLPLANE_TOKEN_FILE; that of the control plane's own machine "
    "is the file admin-token in its state folder, and that of a local fleet is found where CELLPLANE_STATE names it"
)
"""What to do about a 401."""

LIVE_POLL_SECONDS = 0.02
"""Time between looks whether they do, seconds."""


class Client:
    """Talks to one control plane.

    Args:
        url: its base URL.
        actor: on whose behalf, for the change log; the token says who asks.
        token: says who asks (``credentials.find_token``); None asks for nothing that needs one.
        reason: why things are changed, for the change log.
        allow: whether what is changed is published whatever it does to tenants.
        tls: files of the TLS that it speaks, where the URL begins with https.
        pause: waits so many seconds.

    Raises:
        UnreachableError: the URL is none.
        ControlPlaneError: a file of the TLS cannot be used.
    """

    def __init__(
        self,
        url: str,
        actor: str,
        token: str | None = None,
        *,
        reason: str = "",
        allow: bool = False,
        tls: ControlTls | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url
        self._pause = pause
        self._allow = allow
        headers = {"X-Cellplane-Actor": actor, **({"X-Cellplane-Reason": reason} if reason else {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._http = httpx2.Client(
                base_url=url,
                timeout=TIMEOUT_SECONDS,
                trust_env=False,
                headers=headers,
                # Of plain HTTP there is nothing to verify.
                verify=(tls or ControlTls()).context() if url.startswith("https:") else False,
            )
        except httpx2.InvalidURL as error:
            raise UnreachableError(f"{url!r} is no URL ({error}): name one with --control") from error

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def answer(self, path: str) -> httpx2.Response:
        """What comes for a GET, also where that is an error.

        Raises:
            UnreachableError: nobody answers.
        """
        return self._send("GET", path)

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """Read a resource.

        Raises:
            UnreachableError: nobody answers.
            ControlPlaneError: the answer is an error; the message is its detail.
        """
        return self._ask("GET", path, params=params)

    def list(self, path: str, items: str = "items", **params: str | int) -> dict[str, Any]:
        """Read all pages of a list as one; raises as ``get`` does.

        Args:
            items: what the answer calls its items.
        """
        answer = page = self.get(path, limit=PAGE_ITEMS, **params)
        while page["next"] is not None:
            page = self.get(path, limit=PAGE_ITEMS, **{**params, "after": page["next"]})
            answer[items] += page[items]
        return {**answer, "next": None}

    def put(self, path: str, body: Mapping[str, Any], *, version: int | None = None) -> dict[str, Any]:
        """Create or replace a resource; raises as ``get`` does.

        Args:
            version: only as it is in this version; None: whatever it is.

        Raises:
            PreconditionError: it is of another version.
        """
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        return self._ask("PUT", path, json=dict(body), headers=headers)

    def delete(self, path: str, **params: str | float) -> dict[str, Any]:
        """Remove a resource; raises as ``get`` does."""
        return self._ask("DELETE", path, params=params)

    def post(
        self, path: str, body: Mapping[str, Any], *, timeout_seconds: float | None = None, **params: str | int
    ) -> dict[str, Any]:
        """Ask for something to be done; raises as ``get`` does.

        Args:
            timeout_seconds: longest that each step of it may take; None for as long as work may take.
        """
        timeout = httpx2.Timeout(TIMEOUT_SECONDS, read=WORK_TIMEOUT_SECONDS)
        if timeout_seconds is not None:
            timeout = httpx2.Timeout(timeout_seconds)
        return self._ask("POST", path, json=dict(body), params=params, timeout=timeout)

    def post_lines(self, path: str, body: bytes, *, key: str, more: bool) -> dict[str, Any]:
        """Send lines of JSON under an idempotency key, again where no answer comes, or others change the directory for
        long; raises as ``get`` does.
        """
        timeout = httpx2.Timeout(TIMEOUT_SECONDS, read=WORK_TIMEOUT_SECONDS)
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": key}
        options: dict[str, Any] = {"content": body, "headers": headers, "params": {"more": str(more).lower()}}
        unanswered = False
        for _ in range(BUSY_TRIES):
            try:
                return self._ask("POST", path, timeout=timeout, **options)
            except UnreachableError:
                if unanswered:
                    raise
                unanswered = True
            except BusyControlPlaneError as error:
                self._pause(min(error.retry_after_seconds, MAX_PAUSE_SECONDS))
        return self._ask("POST", path, timeout=timeout, **options)

    def lines(self, path: str) -> Iterator[bytes]:
        """Read lines of JSON, page by page; raises as ``get`` does."""
        after: str | None = ""
        while after is not None:
            response = self._send("GET", path, params={"after": after}, timeout=WORK_TIMEOUT_SECONDS)
            if response.is_error:
                raise ControlPlaneError(f"{_problem(response.json())} ({response.status_code})")
            after = response.headers.get("X-Cellplane-Next")
            yield response.content

    @contextmanager
    def download(self, path: str, **params: str) -> Iterator[tuple[Mapping[str, str], Iterator[bytes]]]:
        """An answer that may be long: its headers, and its bytes piece by piece; raises as ``get`` does."""
        timeout = httpx2.Timeout(TIMEOUT_SECONDS, read=WORK_TIMEOUT_SECONDS)
        try:
            with self._http.stream("GET", path, params=params, timeout=timeout) as response:
                if response.is_error:
                    response.read()
                    raise ControlPlaneError(f"{_problem(response.json())} ({response.status_code})")
                yield response.headers, response.iter_bytes()
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise UnreachableError(f"no control plane answers at {self.url} ({error}): is it running?") from error

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx2.ReadTimeout as error:
            raise ControlPlaneError(
                f"{self.url} took {method} {path} and has not answered in time: it may still be done, look before you "
                "ask again"
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise UnreachableError(
                f"no control plane answers at {self.url} ({error}): is it running? "
                "Name another with --control or CELLPLANE_CONTROL_URL"
            ) from error

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        if self._allow and method != "GET":
            options["params"] = {**options.get("params", {}), "allow": "true"}
        response = self._send(method, path, **options)
        try:
            answer = response.json()
        except ValueError as error:
            raise ControlPlaneError(f"{self.url}{path} is not a control plane: it answered with no JSON") from error
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            raise ControlPlaneError(f"{_problem(answer)} (401): {HOW_TO_BE_KNOWN}", response.status_code)
        if isinstance(answer, dict) and answer.get("code") == BUSY:
            retry_after = response.headers.get("Retry-After", "")
            raise BusyControlPlaneError(
                f"{_problem(answer)} (503)", float(retry_after) if retry_after.isdigit() else 1.0
            )
        if response.status_code == HTTPStatus.PRECONDITION_FAILED:
            raise PreconditionError(f"{_problem(answer)} (412)")
        if response.is_error or not isinstance(answer, dict):
            raise ControlPlaneError(f"{_problem(answer)} ({response.status_code})", response.status_code)
        return answer


def _problem(answer: Any) -> str:
    """What a problem document says: where, what, and for which cells why."""
    if not isinstance(answer, dict):
        return str(answer)
    where = f"{answer['field']}: " if answer.get("field") else ""
    cells = "".join(f"; {each['cell']}: {each['reason']}" for each in answer.get("cells", ()))
    return f"{where}{answer.get('detail', answer)}{cells}"
