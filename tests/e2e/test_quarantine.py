"""Poison tenants, from the first failed request to the quarantine cell and home again: real Envoy, agent and control
plane, in front of cells that fail one tenant alone.
"""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from e2e.acting_cell import acting_cells
from e2e.harness import Answer, eventually
from e2e.site import Site

HOMES = ("cell-1", "cell-2", "cell-3")
FOUND_SECONDS = 60.0
"""How long it may take on a busy machine until a poison tenant is away."""

MOST_SERVED = 0.9
"""Share of the other tenants' requests that are answered well, also on a machine that is busy."""

SECONDS = 20
POISON_RPS, NEIGHBOUR_RPS = 10.0, 12.0


def fleet(**quarantine: Any) -> tuple[str, str, dict[str, Any]]:
    spec = {
        "keySources": [{"kind": "header", "name": "x-tenant-id", "trusted": True}],
        "quarantine": {"cells": ["away"], "seconds": SECONDS, "maxTenants": 2, "holdSeconds": 3600, **quarantine},
    }
    return "Fleet", "shop", spec


def tenant(name: str, cell: str) -> tuple[str, str, dict[str, Any]]:
    return "Tenant", name, {"cells": [cell]}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with acting_cells([*HOMES, "away", "us-1"]) as cells:
        site = Site(tmp_path_factory.mktemp("quarantine"), cells)
        try:
            site.start_control()
            site.start_router()
            laws = {cell: "us" if cell == "us-1" else "eu" for cell in cells}
            site.apply(
                fleet(),
                *(
                    ("Cell", cell, {"address": "127.0.0.1", "port": acting.port, "jurisdiction": laws[cell]})
                    for cell, acting in cells.items()
                ),
                ("Pool", "default", {"cells": list(HOMES)}),
                ("Pool", "us", {"cells": ["us-1"]}),
                *(tenant(f"well-{number}", cell) for number, cell in enumerate(HOMES, 1)),
                *(tenant(f"poison-{number}", cell) for number, cell in enumerate(HOMES, 1)),
                tenant("released-2", "cell-2"),
                tenant("slow-1", "cell-1"),
                ("Tenant", "well-us", {"pool": "us"}),
                ("Tenant", "poison-us", {"pool": "us"}),
            )
            yield site
        finally:
            site.end()


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    yield running
    for cell in running.cells.values():
        cell.reset()
    # Each release makes room for another that routers still report; whoever was released is held.
    eventually(lambda: send_home(running) == [], "all are home")


def away(site: Site) -> list[str]:
    return [each["tenant"] for each in site.ask("GET", "/v1/quarantine")["items"]]


def send_home(site: Site) -> list[str]:
    """End all quarantines, and return whose there were."""
    found = away(site)
    for each in found:
        site.ask("DELETE", f"/v1/quarantine/{each}")
    return found


def left_alone(site: Site) -> dict[str, str]:
    return {each["tenant"]: each["by"] for each in site.ask("GET", "/v1/quarantine")["left_alone"]}


def is_served(site: Site, name: str, cell: str, status: int = 200) -> bool:
    try:
        return site.send(name) == (status, cell)
    except httpx2.HTTPError:
        return False


def check_others(answers: list[Answer], **homes: str) -> None:
    """The other tenants were served at home: nobody failed them, and no breaker was opened. A busy machine may fail a
    health check of a cell that is well, and costs a few.
    """
    found = [each for each in answers if each.tenant.startswith("well") and each.status]
    assert {(each.tenant.replace("-", "_"), each.cell) for each in found} == set(homes.items())
    assert {each.status for each in found} <= {200, 503}
    assert sum(each.status == 200 for each in found) >= MOST_SERVED * len(found)


def test_a_poison_tenant_alone_is_sent_away_and_comes_back_by_itself(site: Site) -> None:
    with site.load({"well-1": NEIGHBOUR_RPS, "poison-1": POISON_RPS}) as answers:
        eventually(lambda: len(answers) > 20, "requests are answered")
        site.cells["cell-1"].failing = frozenset({"poison-1"})
        eventually(lambda: away(site) == ["poison-1"], "it is in quarantine", seconds=FOUND_SECONDS)
        eventually(lambda: is_served(site, "poison-1", "away"), "its requests go there")
        (found,) = site.ask("GET", "/v1/quarantine")["items"]
        assert found["figures"]["cell"] == "cell-1"
        assert found["figures"]["share"] > 0.8
        assert found["figures"]["level_without"] <= 0.01
        route = site.ask("GET", "/v1/route", tenant="poison-1")
        assert (route["cell"], route["quarantine"]["tenant"]) == ("away", "poison-1")
        assert site.ask("GET", "/v1/tenants/poison-1")["cells"] == ["cell-1"], "its home stays"
        site.kill_control()
        assert is_served(site, "poison-1", "away"), "routers need no control plane to keep it away"
        site.start_control()
        (after,) = site.ask("GET", "/v1/quarantine")["items"]
        assert after == found
        site.cells["cell-1"].failing = frozenset()
        eventually(lambda: is_served(site, "poison-1", "cell-1"), "it is home again", seconds=SECONDS + 30)
        assert away(site) == []
    check_others(answers, well_1="cell-1")
    log = (site.logs / "control.log").read_text()
    assert "tenant_quarantined" in log
    assert "tenant_released" in log


@pytest.mark.long
def test_who_was_released_by_hand_is_not_sent_back_until_the_hold_is_over(site: Site) -> None:
    site.cells["cell-2"].failing = frozenset({"released-2"})
    with site.load({"well-2": NEIGHBOUR_RPS, "released-2": POISON_RPS}) as answers:
        eventually(lambda: away(site) == ["released-2"], "it is in quarantine", seconds=FOUND_SECONDS)
        released = site.ask("DELETE", "/v1/quarantine/released-2")
        assert released["held_until"] > released["ended"]
        eventually(lambda: is_served(site, "released-2", "cell-2", 500), "it is home again")
        eventually(lambda: left_alone(site) == {"released-2": "held"}, "it is held", seconds=FOUND_SECONDS)
        assert is_served(site, "released-2", "cell-2", 500)
        assert [each["tenant"] for each in site.ask("GET", "/v1/quarantine")["held"]] == ["released-2"]
        ordered = site.ask("PUT", "/v1/quarantine/released-2", {"seconds": 600, "reason": "the payload of last night"})
        assert ordered["reason"] == "the payload of last night"
        eventually(lambda: is_served(site, "released-2", "away"), "a person may send it back at once")
        site.ask("DELETE", "/v1/quarantine/released-2", hold=0)
        eventually(lambda: is_served(site, "released-2", "cell-2", 500), "it is home again")
        eventually(lambda: away(site) == ["released-2"], "new evidence counts", seconds=FOUND_SECONDS)
    check_others(answers, well_2="cell-2")


@pytest.mark.long
def test_of_many_poison_tenants_only_so_many_are_away_at_once_and_none_goes_under_another_law(site: Site) -> None:
    most = 0

    def has_settled() -> bool:
        nonlocal most
        most = max(most, len(away(site)))
        return most == 2 and {"bound", "no-cell"} <= set(left_alone(site).values())

    rates = {f"well-{number}": NEIGHBOUR_RPS for number in (1, 2, 3, "us")}
    rates |= {f"poison-{number}": POISON_RPS for number in (1, 2, 3, "us")}
    site.apply(fleet(seconds=600))
    for number, cell in ((1, "cell-1"), (2, "cell-2"), (3, "cell-3"), ("us", "us-1")):
        site.cells[cell].failing = frozenset({f"poison-{number}"})
    with site.load(rates) as answers:
        eventually(has_settled, "two are away, one is over the bound, one has nowhere to go", seconds=FOUND_SECONDS)
        assert left_alone(site)["poison-us"] == "no-cell"
        gone = away(site)
        eventually(lambda: all(is_served(site, name, "away") for name in gone), "they go there")
    assert most == len(gone) == 2
    check_others(answers, well_1="cell-1", well_2="cell-2", well_3="cell-3", well_us="us-1")
    assert {each.cell for each in answers if each.tenant == "poison-us"} == {"us-1"}


@pytest.mark.long
def test_a_tenant_that_takes_nearly_all_that_a_cell_can_do_is_sent_away(site: Site) -> None:
    cell = site.cells["cell-1"]
    spec = {"address": "127.0.0.1", "port": cell.port, "jurisdiction": "eu", "capacity": {"concurrency": 20}}
    well = {"cells": ["cell-1"], "policy": {"priority": "high"}}
    site.apply(fleet(seconds=600), ("Cell", "cell-1", spec), ("Tenant", "well-1", well))
    cell.slow = {"slow-1": 2.0}
    # Eighteen of twenty at once: the last tenth is kept for those of high priority.
    with site.load({"well-1": NEIGHBOUR_RPS, "slow-1": 50.0}, at_once={"slow-1": 18}) as answers:
        eventually(lambda: away(site) == ["slow-1"], "it is in quarantine", seconds=FOUND_SECONDS)
        (found,) = site.ask("GET", "/v1/quarantine")["items"]
        assert found["figures"]["harm"] == "busy time"
        eventually(lambda: is_served(site, "slow-1", "away"), "its requests go there")
    check_others(answers, well_1="cell-1")
