"""`cellplane doctor` against control planes that really serve, each with something wrong."""

import json
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cellplane.cli.commands import cli
from cellplane.publishing.guard_rails import GuardRails
from cellplane.publishing.keys import KeyUse, create_key
from unit.control.certificates import Authority
from unit.control.serving import Api, eventually, serving


def doctor(url: str, *arguments: str, token: str = "") -> Result:
    """Run it, against nobody's state folder."""
    options = [*arguments] if "--state" in arguments else [*arguments, "--state", "/nonexistent"]
    return CliRunner().invoke(
        cli, ["doctor", "--control", url, *options], env={"CELLPLANE_TOKEN": token, "CELLPLANE_TOKEN_FILE": None}
    )


def examined(api: Api, *arguments: str, scheme: str = "http", token: str | None = None) -> dict[str, list[str]]:
    """What it found, by severity and code."""
    url = f"{scheme}://127.0.0.1:{api.port}"
    result = doctor(url, "--json", *arguments, token=api.token if token is None else token)
    return findings_of(result)


def findings_of(result: Result) -> dict[str, list[str]]:
    answer = json.loads(result.stdout)
    found: dict[str, list[str]] = {}
    for each in answer["findings"]:
        found.setdefault(f"{each['severity']} {each['code']}", []).append(f"{each['about']}: {each['found']}")
    assert result.exit_code == (1 if answer["error"] else 0)
    return found


def wrong(found: dict[str, list[str]]) -> set[str]:
    return {name for name in found if name.split()[0] in {"warning", "error"}}


def report(api: Api, **changed: Any) -> None:
    body = {"epoch": 4, "sha256": "", "proxy": "fake", "ready": True, "at": time.time(), **changed}
    api.http.post("/v1/routers/router-1/report", json=body).raise_for_status()


def cells_by_name(api: Api) -> None:
    """Give both cells a name."""
    for cell in ("cell-1", "cell-2"):
        api.put_epoch(f"/v1/cells/{cell}", {"address": "localhost", "port": api.port})


def test_a_control_plane_without_a_fleet_is_told_what_it_lacks(api: Api) -> None:
    eventually(lambda: bool(api.get("/v1/status").json()["leads"]), "it leads")
    found = examined(api)
    assert wrong(found) == {"error CPD03", "warning CPD30", "warning CPD40"}
    assert "no fleet yet" in found["skipped CPD22"][0]


def test_what_is_well_is_said_to_be_and_unsigned_tables_are_not(shop: Api) -> None:
    cells_by_name(shop)
    well = {"hosts": 1, "healthy_hosts": 1}
    report(shop, epoch=shop.published(6).epoch, cells={"cell-1": well, "cell-2": well})
    found = examined(shop)
    assert wrong(found) == {"warning CPD40"}
    assert {
        "ok CPD01",
        "ok CPD02",
        "ok CPD10",
        "ok CPD20",
        "ok CPD31",
        "ok CPD70",
        "ok CPD80",
        "ok CPD81",
    } <= found.keys()
    assert found["skipped CPD71"][0].startswith(": localhost: its time to live could not be read"), found


def test_warnings_fail_only_where_that_is_asked_for(shop: Api) -> None:
    url = f"http://127.0.0.1:{shop.port}"
    assert doctor(url, "--only", "CPD40", token=shop.token).exit_code == 0
    strict = doctor(url, "--only", "cpd40", "--strict", token=shop.token)
    assert strict.exit_code == 1
    assert "0 errors, 1 warning, 0 fine, 0 skipped" in strict.stdout
    assert "cellplane keys create" in strict.stdout


def test_a_router_that_refuses_or_whose_clock_is_off_is_found(shop: Api) -> None:
    report(shop, epoch=3, at=time.time() + 300, rejected={"epoch": 4, "reason": "[no] trusted key"})
    found = examined(shop)
    assert found["error CPD32"] == ["router-1: it refused a table, and runs epoch 3: [no] trusted key"]
    assert "router router-1: its clock is" in found["error CPD10"][0]
    # What others say is no markup of ours.
    assert "[no] trusted key" in doctor(f"http://127.0.0.1:{shop.port}", token=shop.token).stdout


def test_an_expired_token_is_found_and_one_that_was_renewed_is_not(shop: Api) -> None:
    for name, days in (("old", 1e-9), ("renewed", 1e-9)):
        shop.holder(name=name, role="router", subject=name, days=days)
    shop.holder(name="other", role="router", subject="renewed", days=30)
    (found,) = examined(shop, "--only", "CPD51")["error CPD51"]
    assert "'old' (router of old)" in found


def test_a_viewers_token_does_but_for_tokens(shop: Api) -> None:
    viewer = shop.holder(name="eve", role="viewer")
    found = examined(shop, token=viewer)
    assert "tokens:manage" in found["skipped CPD51"][0]
    assert "ok CPD01" in found


def test_a_token_that_does_not_count_is_the_finding(shop: Api) -> None:
    found = examined(shop, token="cpt-none")
    assert "(401)" in found["error CPD01"][0]
    assert found["skipped CPD80"]


def test_where_nobody_answers_the_rest_is_checked_all_the_same(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    create_key(key, KeyUse(not_after=int(time.time()) - 5))
    key.chmod(0o644)
    found = findings_of(doctor("http://127.0.0.1:1", "--json", "--key", str(key), "--key", str(tmp_path / "none")))
    assert wrong(found) == {"error CPD01", "error CPD50", "error CPD60"}
    assert len(found["error CPD50"]) == 2, "one has expired, the other is not there"


@pytest.mark.parametrize("url", ["nonsense", "http://[", "https://127.0.0.1:1"])
def test_a_url_that_leads_nowhere_is_a_finding_too(url: str) -> None:
    assert "error CPD01" in findings_of(doctor(url, "--json"))


def test_an_expired_certificate_is_the_reason_why_nobody_can_ask(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    pair = authority.sign("control", days=60 / 86_400)
    context = ssl.create_default_context(cafile=authority.file)
    files = {"tls_certificate": pair.certificate, "tls_key": pair.key}
    with serving(tmp_path / "state", **files, client_tls=context, tls_watch_seconds=0.05) as api:
        ca = ("--control-ca", str(authority.file))
        early = examined(api, *ca, scheme="https")
        assert "ok CPD01" in early
        assert "warning CPD52" in early, "of a life of days, seconds are left"
        authority.sign("control", days=-1)
        eventually(lambda: "error CPD01" in examined(api, *ca, "--only", "CPD01", scheme="https"), "it is shown")
        late = examined(api, *ca, scheme="https")
    assert "has expired" in late["error CPD52"][0]
    assert "expired" in late["error CPD01"][0]


def test_files_of_certificates_and_addresses_that_show_one_are_checked(shop: Api, tmp_path: Path) -> None:
    pair = Authority(tmp_path, "ca").sign("edge", days=-1)
    found = examined(shop, "--certificate", str(pair.certificate), "--tls", f"127.0.0.1:{shop.port}")
    assert len(found["error CPD52"]) == 2, "one has expired, and the other address speaks no TLS"
    assert doctor("http://127.0.0.1:1", "--tls", "nowhere").exit_code == 2


def test_a_target_that_takes_nothing_and_a_table_that_is_held_are_found(tmp_path: Path) -> None:
    bad = tmp_path / "file"
    bad.write_text("a file, where a folder was meant")
    with serving(tmp_path / "state", publish_to=(str(bad),), guard_rails=GuardRails()) as api:
        api.fill()
        for number in range(20):
            api.put_epoch(f"/v1/tenants/t-{number}", {"cell": "cell-1"})
        api.published(24)
        api.put_epoch("/v1/cells/cell-1", {"address": "127.0.0.1", "port": 8001, "status": "maintenance"})
        eventually(lambda: api.get("/v1/epochs").json()["held"] is not None, "it is held")
        found = examined(api)
    assert str(bad) in found["error CPD41"][0]
    assert "waits, and the one before goes on" in found["warning CPD03"][0]


def test_the_folder_of_another_fleet_is_not_taken_for_this_ones(
    shop: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / ".cellplane" / "demo"
    state.mkdir(parents=True)
    (state / "endpoints.json").write_text(json.dumps({"control": "http://127.0.0.1:9"}))
    monkeypatch.chdir(tmp_path)
    arguments = ["doctor", "--control", f"http://127.0.0.1:{shop.port}", "--json", "--only", "CPD62"]
    other = findings_of(CliRunner().invoke(cli, arguments))
    assert "is of the fleet at http://127.0.0.1:9" in other["skipped CPD62"][0]
    named = findings_of(CliRunner().invoke(cli, [*arguments, "--state", str(state)]))
    assert "no state folder is here" in named["skipped CPD62"][0]
