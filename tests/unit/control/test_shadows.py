"""What routers say of shadows: summed, bounded, and shown by one command."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from cellplane.cli.shadow import shadow
from cellplane.control.registry import RouterRegistry
from cellplane.control.schemas import RouterReport
from cellplane.control.settings import ControlSettings
from cellplane.shadow.report import MAX_SAMPLES_OF_ONE, MAX_TENANTS_OF_ONE
from unit.control.serving import Api

DIFFERENCE = {"path": "/total", "cell": "number", "shadow": "text of 4"}


def sample(at: float, **changes: Any) -> dict[str, Any]:
    known = {"at": at, "tenant": "acme", "method": "GET", "path": "/orders/*", "cell_status": 200}
    return {**known, "shadow_status": 200, "differences": [DIFFERENCE], **changes}


def counts(cell: str = "cell-1", **changes: Any) -> dict[str, Any]:
    none = dict.fromkeys(("match", "mismatch", "unanswered", "too_large", "skipped"), 0)
    return {"cell": cell, "shadow": "cell-9", **none, "samples": [], "tenants": [], **changes}


def of_tenant(tenant: str, **changes: int) -> dict[str, Any]:
    return {"tenant": tenant, "match": 0, "mismatch": 0, "unanswered": 0, "too_large": 0, "skipped": 0, **changes}


def total(tenant: str, **changes: int) -> dict[str, Any]:
    """Of all routers."""
    return {**of_tenant(tenant, **changes), "routers": []}


def report(*shadows: dict[str, Any]) -> dict[str, Any]:
    return {"epoch": 4, "sha256": "ab", "proxy": "envoy/1.40", "ready": True, "shadows": list(shadows)}


def post(api: Api, router_id: str, *shadows: dict[str, Any]) -> Any:
    return api.http.post(f"/v1/routers/{router_id}/report", json=report(*shadows))


def test_what_routers_counted_is_summed_and_the_last_samples_are_kept() -> None:
    registry = RouterRegistry(ControlSettings(state_dir=Path("unused"), port=1), lambda: 0.0)
    for router, first in (("a", 0), ("b", 1)):
        samples = [sample(first + 2 * number) for number in range(4)]
        shadows = (counts(match=first + 1, mismatch=4, skipped=1, samples=samples), counts(f"cell-{router}", match=1))
        registry.report(router, RouterReport.model_validate(report(*shadows)))
    one, *others = registry.shadows().items
    assert (one.match, one.mismatch, one.unanswered, one.skipped) == (3, 8, 0, 2)
    assert [found.at for found in one.samples] == [3, 4, 5, 6, 7]
    assert [other.cell for other in others] == ["cell-a", "cell-b"]


def test_what_routers_counted_of_tenants_is_summed_and_none_is_left_out() -> None:
    registry = RouterRegistry(ControlSettings(state_dir=Path("unused"), port=1), lambda: 0.0)
    for router in ("a", "b"):
        mine = [of_tenant(f"{router}-{number:02}", skipped=1) for number in range(MAX_TENANTS_OF_ONE - 1)]
        shared = of_tenant("acme", match=2, mismatch=1, unanswered=3, too_large=4, skipped=5)
        registry.report(router, RouterReport.model_validate(report(counts(tenants=[*mine, shared]))))
    registry.report("c", RouterReport.model_validate(report(counts("cell-2", tenants=[of_tenant("acme", match=7)]))))
    one, other = registry.shadows().items
    assert len(one.tenants) == 2 * MAX_TENANTS_OF_ONE - 1
    (acme,) = (counts for counts in one.tenants if counts.tenant == "acme")
    assert acme.model_dump() == total("acme", match=4, mismatch=2, unanswered=6, too_large=8, skipped=10)
    assert [counts.model_dump() for counts in other.tenants] == [total("acme", match=7)]


def test_an_agent_of_an_older_release_says_nothing_of_tenants(api: Api) -> None:
    before = counts(match=3)
    del before["tenants"]
    assert post(api, "router-1", before).status_code == 200
    assert post(api, "router-2", counts(match=1, tenants=[of_tenant("acme", match=1)])).status_code == 200
    (told,) = api.get("/v1/shadows").json()["items"]
    assert told == counts(match=4, tenants=[total("acme", match=1)])


def test_one_tenant_is_shown_by_router_and_alone(api: Api) -> None:
    others = [sample(at, tenant="globex") for at in range(1, MAX_SAMPLES_OF_ONE + 1)]
    busy = counts(match=9, tenants=[of_tenant("globex", match=9)], samples=others)
    acme = counts(match=1, mismatch=1, tenants=[of_tenant("acme", match=1, mismatch=1)], samples=[sample(0)])
    for router, said in (("router-1", [busy]), ("router-2", [acme]), ("router-3", [acme]), ("router-4", [])):
        assert post(api, router, *said).status_code == 200
    told = api.get("/v1/shadows?tenant=acme").json()
    by_router = [{**of_tenant("acme", match=1, mismatch=1), "router": router} for router in ("router-2", "router-3")]
    for each in by_router:
        del each["tenant"]
    tenants = [{**total("acme", match=2, mismatch=2), "routers": by_router}]
    assert told["items"] == [counts(match=11, mismatch=2, tenants=tenants, samples=[sample(0), sample(0)])]
    assert [(each["id"], each["at"], each["lost"]) for each in told["routers"]] == [
        (f"router-{number}", None, False) for number in range(1, 5)
    ]
    assert api.get("/v1/shadows").json()["routers"] == []
    assert api.get(f"/v1/shadows?tenant={'a' * 129}").status_code == 422


def test_a_report_says_no_more_of_shadows_than_may_be(api: Api) -> None:
    assert post(api, "router-1", counts(samples=[sample(1)])).status_code == 200
    for wrong in (
        counts(samples=[sample(1)] * (MAX_SAMPLES_OF_ONE + 1)),
        counts(samples=[sample(1, path="/" * 201)]),
        counts(samples=[sample(1, body="secret")]),
        counts(match=-1),
        counts(tenants=[of_tenant("acme")] * (MAX_TENANTS_OF_ONE + 1)),
        counts(tenants=[of_tenant("a" * 129)]),
        counts(tenants=[of_tenant("acme", match=-1)]),
        counts(tenants=[{**of_tenant("acme"), "body": "secret"}]),
    ):
        assert post(api, "router-1", wrong).status_code == 422
    assert post(api, "router-1", *[counts()] * 33).status_code == 422
    assert "samples" not in api.get("/v1/routers").text


def test_one_command_shows_counts_and_where_answers_differ(api: Api) -> None:
    control = ["--control", str(api.http.base_url)]
    assert CliRunner().invoke(shadow, control).output == "Nothing has been compared yet.\n"
    post(api, "router-1", counts(match=10, mismatch=2, samples=[sample(0), sample(1, tenant="")]), counts("cell-2"))
    shown = CliRunner().invoke(shadow, control).output.splitlines()
    assert shown[0].split()[:5] == ["CELL", "SHADOW", "COMPARED", "MATCHES", "MISMATCHES"]
    assert shown[1].split() == ["cell-1", "cell-9", "12", "10", "2", "0", "0", "0"]
    assert shown[3:] == [
        "",
        "cell-1 and cell-9: GET /orders/* of acme, 1970-01-01 00:00:00 UTC",
        "  /total: number, shadow text of 4",
        "",
        "cell-1 and cell-9: GET /orders/*, 1970-01-01 00:00:01 UTC",
        "  /total: number, shadow text of 4",
    ]
    found = json.loads(CliRunner().invoke(shadow, [*control, "--json", "cell-2"]).output)
    assert found == {"items": [counts("cell-2")]}


def test_one_command_shows_what_was_compared_of_one_tenant(api: Api) -> None:
    control = ["--control", str(api.http.base_url)]
    tenants = [of_tenant("acme", match=4, mismatch=1, too_large=3), of_tenant("globex", match=6, mismatch=1)]
    samples = [sample(0), sample(1, tenant="globex")]
    first = counts(match=10, mismatch=2, too_large=3, samples=samples, tenants=tenants)
    second = counts("cell-2", skipped=2, tenants=[of_tenant("acme", skipped=2)])
    post(api, "router-1", first, second, counts("cell-3", match=1))
    shown = CliRunner().invoke(shadow, [*control, "--tenant", "acme"]).output.splitlines()
    assert [line.split() for line in shown[1:3]] == [
        ["cell-1", "cell-9", "5", "4", "1", "0", "3", "0"],
        ["cell-2", "cell-9", "0", "0", "0", "0", "0", "2"],
    ]
    assert shown[3:] == [
        "",
        "cell-1 and cell-9: GET /orders/* of acme, 1970-01-01 00:00:00 UTC",
        "  /total: number, shadow text of 4",
    ]
    one = CliRunner().invoke(shadow, [*control, "--tenant", "acme", "cell-2"]).output.splitlines()
    assert [line.split()[0] for line in one] == ["CELL", "cell-2"]
    nothing = CliRunner().invoke(shadow, [*control, "--tenant", "initech"])
    assert (nothing.output, nothing.exit_code) == ("Nothing of initech has been compared lately.\n", 0)
    found = json.loads(CliRunner().invoke(shadow, [*control, "--tenant", "globex", "--json"]).output)
    assert found == {"items": [{**first, "tenants": [{**each, "routers": []} for each in tenants]}]}
