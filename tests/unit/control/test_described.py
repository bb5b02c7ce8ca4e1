"""The API does what its OpenAPI description says, whoever asks and whatever: `make fuzz-api` asks for longer."""

from pathlib import Path

import pytest

from fuzz_api.asking import ask
from unit.control.serving import serving

SEED = 1
EXAMPLES = 1
PER_ROUTE = 2
ROLES = {
    "viewer": {},
    "operator": {},
    "cell": {"subject": "cell-1"},
    "router": {"subject": "router-1"},
}


def test_an_admin_gets_what_is_described(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as api:
        api.fill()
        url = str(api.http.base_url)
        found = ask("admin", url, api.token, tmp_path, seed=SEED, examples=PER_ROUTE, phases=("fuzzing",))
        assert found.passed, found.output
        assert found.cases > PER_ROUTE


@pytest.mark.long
def test_an_admin_gets_what_is_described_by_every_mistake_in_turn(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as api:
        api.fill()
        found = ask("admin", str(api.http.base_url), api.token, tmp_path, seed=SEED, examples=EXAMPLES)
        assert found.passed, found.output
        assert found.cases > 1_000


@pytest.mark.long
def test_an_admin_gets_it_from_postgresql_too(database_url: str, tmp_path: Path) -> None:
    with serving(tmp_path / "state", database_url=database_url) as api:
        api.fill()
        url = str(api.http.base_url)
        found = ask("admin", url, api.token, tmp_path, seed=SEED, examples=PER_ROUTE, phases=("fuzzing",))
        assert found.passed, found.output
        assert found.cases > PER_ROUTE


@pytest.mark.long
@pytest.mark.parametrize("role", list(ROLES))
def test_every_role_gets_what_is_described(role: str, tmp_path: Path) -> None:
    with serving(tmp_path / "state") as api:
        api.fill()
        token = api.holder(name=role, role=role, **ROLES[role])
        found = ask(role, str(api.http.base_url), token, tmp_path, seed=SEED, examples=1, phases=("fuzzing",))
        assert found.passed, found.output
        assert found.cases


def test_text_that_no_database_holds_is_a_mistake_of_the_request(location: Path | str, tmp_path: Path) -> None:
    with serving(tmp_path / "state", database_url=location if isinstance(location, str) else None) as api:
        api.fill()
        for path in (
            "/v1/tenants?prefix=%00",
            "/v1/events?actor=a%00b",
            "/v1/audit?source=%00",
            "/v1/tokens?after=%00",
        ):
            assert api.get(path).status_code == (422 if isinstance(location, str) else 200), path
        assert api.put("/v1/tenants/%00", {}).status_code == 422
        lines = api.http.post("/v1/bulk/tenants", content=b'{"id":"a\\u0000b"}')
        assert lines.status_code == 422
        surrogate = api.put_bytes("/v1/tenants/acme", b'{"attributes":{"\\ud800":"gold"}}')
        assert surrogate.status_code == 422
        assert surrogate.json()["field"] == "tenant.attributes.\ud800"
        assert api.get("/v1/events/watch?kind=%00&after=x").status_code == 422
