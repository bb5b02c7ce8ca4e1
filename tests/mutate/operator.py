"""A real control plane refuses what an operator must not publish; its router goes on, and takes what is sound."""

import json
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from cellplane.control.access.settings import ADMIN_TOKEN
from cellplane.signed_cookie import new_secret
from e2e.edge import stub_cells
from e2e.harness import eventually
from fuzz.town import Router
from mutate import api
from mutate.findings import ALARM_SECONDS, Findings
from support import plain_http
from unit.control.serving import Api, serving

CELLS = ("cell-1", "cell-2", "cell-3", "cell-4")
BATCH = 10
"""Changes that are refused between two that are taken."""


def _fill(control: Api, ports: dict[str, int]) -> None:
    control.put_epoch("/v1/fleet", api.FLEET)
    for cell in CELLS:
        law = "us" if cell == CELLS[-1] else "eu"
        control.put_epoch(f"/v1/cells/{cell}", {"address": "127.0.0.1", "port": ports[cell], "jurisdiction": law})
    control.put_epoch("/v1/pools/default", api.POOL)


def _epoch(control: Api) -> int:
    return int(control.get("/v1/table").headers["x-cellplane-epoch"])


def _refused(control: Api, change: api.Change) -> str | None:
    """Why a change was not refused as it must be; None where it was."""
    path, body = change
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    method = "POST" if path == "apply" else "PUT"
    response = control.http.request(method, f"/v1/{path}", content=data, headers=headers)
    if not 400 <= response.status_code < 500:
        return f"answered {response.status_code}: {response.text}"
    if response.headers["content-type"] != "application/problem+json":
        return f"no problem document: {response.text}"
    document = response.json()
    if response.status_code == 422 and not document.get("field"):
        return f"the field is not said: {response.text}"
    return None if document.get("detail") else f"no detail: {response.text}"


def attack_as_operator(folder: Path, numbers: Sequence[int], seed: int) -> Findings:
    """Play so many ways, in turn; after each batch a sound change must be live, and be served, in time."""
    findings = Findings()
    cookie_keys = folder / "cookie-keys"
    cookie_keys.write_text(f"a {new_secret()}\n")
    with ExitStack() as stack:
        stubs = stack.enter_context(stub_cells(CELLS))
        control = stack.enter_context(serving(folder / "control"))
        _fill(control, {cell: stub.port for cell, stub in stubs.items()})
        token_file = folder / "control" / ADMIN_TOKEN
        router = Router(folder / "router", f"http://127.0.0.1:{control.port}", cookie_keys, token_file=token_file)
        stack.callback(router.end)
        router.wait_until_ready(lambda: any(item["ready"] for item in control.get("/v1/routers").json()["items"]))
        for start in range(0, len(numbers), BATCH):
            before = _epoch(control)
            for number in numbers[start : start + BATCH]:
                kind = list(api.WAYS)[number % len(api.WAYS)]
                why = _refused(control, api.WAYS[kind](random.Random(f"{seed}.{number}")))
                findings.count(kind, "nobody" if why else "the control plane")
                if why is not None:
                    findings.fail(number, kind, why)
            if _epoch(control) != before:
                findings.fail(start, "a batch", f"epoch {_epoch(control)} was published after {before}")
            cell = CELLS[start // BATCH % 3]
            began = time.monotonic()
            control.put_epoch("/v1/tenants/acme", {"cell": cell})
            try:
                eventually(lambda: _served_by(router) == cell, f"acme is served by {cell}", seconds=ALARM_SECONDS)  # noqa: B023
            except AssertionError as error:
                findings.fail(start, "a sound change", str(error))
            findings.slowest_sound_s = max(findings.slowest_sound_s, time.monotonic() - began)
        for fault in router.faults():
            findings.fail(-1, "the router", fault)
    return findings


def _served_by(router: Router) -> str:
    response = plain_http.get(f"http://127.0.0.1:{router.port}/x", headers={"x-tenant-id": "acme"}, timeout=10)
    return response.headers.get("x-cell-id", "") if response.status_code == 200 else ""
