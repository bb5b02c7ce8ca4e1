"""The demo's analytics: outside of all cells they count what these tell, and nobody needs them to be served."""

import json
from typing import Any

import pytest

from e2e.harness import Demo, eventually
from support import plain_http

BODY = {"channel": "push", "to": "device", "body": "Grüße"}
TENANT = "tenant-007"


def send(demo: Demo, times: int) -> list[str]:
    headers = {"X-Tenant-Id": TENANT}
    answers = [
        plain_http.post(f"{demo.router}/notifications", json=BODY, headers=headers, timeout=30) for _ in range(times)
    ]
    assert {answer.status_code for answer in answers} == {202}
    return [answer.json()["id"] for answer in answers]


def status(demo: Demo, id_: str) -> str:
    found: str = demo.ask(TENANT, f"/notifications/{id_}").json()["status"]
    return found


def counted(demo: Demo) -> dict[str, Any]:
    """By type: how many of the tenant's events its one cell told, and their bytes."""
    arguments = ("--tenant", TENANT, "--by", "cell", "--by", "type", "--json")
    rows = json.loads(demo.run("analytics", "query", *arguments))
    assert {row["cell"] for row in rows} <= {demo.placed()[TENANT]}
    return {row["type"]: (row["events"], row["sums"].get("bytes", 0)) for row in rows}


def more(before: dict[str, Any], times: int) -> dict[str, Any]:
    accepted, delivered = (before.get(f"notification.{what}", (0, 0)) for what in ("accepted", "delivered"))
    return {
        "notification.accepted": (accepted[0] + times, accepted[1] + times * len(BODY["body"].encode())),
        "notification.delivered": (delivered[0] + times, 0),
    }


def test_what_cells_tell_is_shown_while_it_is_counted(demo: Demo) -> None:
    before = counted(demo)
    send(demo, 3)
    eventually(lambda: counted(demo) == more(before, 3), "all three are counted")


@pytest.mark.long
def test_without_analytics_cells_serve_and_what_they_tell_is_counted_later(demo: Demo) -> None:
    before = counted(demo)
    demo.run("chaos", "kill", "analytics")
    sent = send(demo, 2)
    eventually(lambda: all(status(demo, id_) == "delivered" for id_ in sent), "both are delivered")
    assert counted(demo) == before, "nobody counts"
    assert "up again" in demo.run("chaos", "restore", "analytics")
    eventually(lambda: counted(demo) == more(before, 2), "what waited is counted")
