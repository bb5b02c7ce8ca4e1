"""The gate: what it remembers of tokens, how often callers may ask, and what it puts on record."""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cellplane.control.access.admin import ensure_admin_token
from cellplane.control.access.buckets import Buckets
from cellplane.control.access.callers import Caller
from cellplane.control.access.roles import Permission, Role
from cellplane.control.access.settings import AccessSettings
from cellplane.control.access.tokens import Token, TokenOrder, mint
from cellplane.control.access.verifier import TokenVerifier
from cellplane.directory.audit import AuditEntry, AuditFilter
from cellplane.directory.tokens import TokenRecord
from cellplane.errors import ConflictError, DirectoryError, ForbiddenError, NotFoundError, UnauthenticatedError
from support import plain_http
from support.directory import Directory
from unit.control.serving import Api, as_holder, assert_problem, eventually, serving

BEGAN = datetime(2026, 1, 31, tzinfo=UTC)
SETTINGS = AccessSettings()
CALL = AuditEntry("ann", "admin", "127.0.0.1", "POST", "/v1/tokens", 201, "")


@dataclass
class Book:
    """A directory's tokens that can be lost, and counts how often it is asked."""

    records: dict[str, TokenRecord] = field(default_factory=dict)
    is_lost: bool = False
    asked: int = 0

    def token(self, token_id: str) -> TokenRecord | None:
        self.asked += 1
        if self.is_lost:
            raise DirectoryError("lost")
        return self.records.get(token_id)


class World:
    """A verifier, its book, and its time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.book = Book()
        self.verifier = TokenVerifier(
            self.book,  # type: ignore[arg-type]  # the one method that it calls
            SETTINGS,
            lambda: self.seconds,
            lambda: BEGAN + timedelta(seconds=self.seconds),
        )

    def make(self, seed: int = 1, days: float | None = None) -> Token:
        order = TokenOrder(name="ci", role=Role.VIEWER, days=days)
        token, record = mint(order, by="ann", now=BEGAN, random_bytes=random.Random(seed).randbytes, settings=SETTINGS)
        self.book.records[token.id] = record
        return token

    def verify(self, token: Token) -> TokenRecord:
        return self.verifier.find(token) or self.verifier.look_up(token)


def test_the_directory_is_asked_every_few_seconds_and_not_for_each_request() -> None:
    world = World()
    token = world.make()
    for _ in range(100):
        assert world.verify(token).name == "ci"
    assert world.book.asked == 1
    world.seconds = SETTINGS.token_cache_seconds + 0.1
    world.verify(token)
    assert world.book.asked == 2


def test_a_revocation_counts_when_the_directory_is_asked_again() -> None:
    world = World()
    token = world.make()
    world.verify(token)
    world.book.records[token.id] = replace(world.book.records[token.id], revoked_at=BEGAN)
    assert world.verify(token).name == "ci"
    world.seconds = SETTINGS.token_cache_seconds + 0.1
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            world.verify(token)


def test_without_the_directory_those_who_were_here_go_on_for_a_while_and_others_do_not() -> None:
    world = World()
    token, stranger = world.make(1), world.make(2)
    world.verify(token)
    world.book.is_lost = True
    for seconds in (10.0, 3_600.0, SETTINGS.token_offline_seconds):
        world.seconds = seconds
        assert world.verify(token).name == "ci"
    with pytest.raises(DirectoryError):
        world.verify(stranger)
    with pytest.raises(DirectoryError):
        world.verify(Token(token.id, "0" * 64))
    world.seconds = SETTINGS.token_offline_seconds + 1
    with pytest.raises(DirectoryError):
        world.verify(token)


def test_a_token_expires_also_while_it_is_remembered() -> None:
    world = World()
    token = world.make(days=1 / 86_400)
    world.verify(token)
    world.seconds = 1.0
    with pytest.raises(UnauthenticatedError):
        world.verify(token)
    world.book.is_lost = True
    with pytest.raises(UnauthenticatedError):
        world.verify(token)


def test_a_wrong_secret_of_a_remembered_token_is_refused() -> None:
    world = World()
    token = world.make()
    world.verify(token)
    wrong = Token(token.id, "0" * 64)
    assert not world.verifier.was_known(wrong)
    with pytest.raises(UnauthenticatedError):
        world.verify(wrong)
    assert world.verifier.was_known(token)


def test_no_more_tokens_are_remembered_than_the_limit() -> None:
    world = World()
    world.verifier._settings = replace(SETTINGS, max_cached_tokens=3)
    tokens = [world.make(seed) for seed in range(5)]
    for token in tokens:
        world.verify(token)
    assert [world.verifier.was_known(token) for token in tokens] == [False, False, True, True, True]


def test_the_last_use_is_noted_coarsely() -> None:
    world = World()
    token = world.make()
    for _ in range(3):
        world.verify(token)
    assert world.verifier.take_uses() == {token.id: BEGAN}
    assert world.verifier.take_uses() == {}


def test_tokens_and_calls_are_kept_in_either_database(location: Path | str) -> None:
    directory = Directory(location)
    book = directory.access
    now = directory.now()
    order = TokenOrder(name="ci", role=Role.OPERATOR, permissions=frozenset())
    token, record = mint(order, by="ann", now=now, random_bytes=random.Random(1).randbytes, settings=SETTINGS)
    book.create_token(record, CALL, 1)
    assert book.token(token.id) == record
    with pytest.raises(ConflictError, match="1 tokens, which is the limit"):
        book.create_token(replace(record, id="0" * 16), None, 1)
    used = record.created_at + timedelta(seconds=5)
    book.note([replace(CALL, status=403, at=used)], {token.id: used})
    assert [each.last_used_at for each in book.tokens(limit=5)] == [used]
    revoked = book.revoke_token(token.id, CALL)
    assert revoked.revoked_at is not None
    assert book.revoke_token(token.id, CALL).revoked_at is not None, "twice is once"
    with pytest.raises(NotFoundError):
        book.revoke_token("nobody", CALL)
    calls = book.calls(AuditFilter(), limit=10)
    assert [each.status for each in calls] == [201, 201, 403, 201]
    assert [each.id for each in calls] == sorted((each.id for each in calls), reverse=True)
    assert len(book.calls(AuditFilter(refused=True, caller="ann", source="127.0.0.1"), limit=10)) == 1
    assert book.calls(AuditFilter(since=now + timedelta(days=1)), limit=10) == ()
    book.forget(audit_days=1, audit_rows=2, dead_token_days=1)
    assert len(book.calls(AuditFilter(), limit=10)) == 2
    assert len(book.tokens(limit=5)) == 1
    book.forget(audit_days=-1, audit_rows=2, dead_token_days=-1)
    assert book.calls(AuditFilter(), limit=10) == ()
    assert book.tokens(limit=5) == ()
    directory.close()


def test_an_admin_token_near_its_end_is_replaced(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "directory.sqlite3")
    rng = random.Random(1)

    def ensure(days: float) -> str:
        now = BEGAN + timedelta(days=days)
        ensure_admin_token(tmp_path, directory.access, now=now, random_bytes=rng.randbytes, settings=SETTINGS)
        return (tmp_path / "admin-token").read_text()

    first = ensure(0)
    assert ensure(300) == first
    second = ensure(340)
    assert second != first
    (tmp_path / "admin-token").write_text("damaged")
    assert ensure(341) not in {first, second}
    directory.close()


def test_a_caller_that_asks_too_often_is_told_when_to_come_again_and_others_go_on(tmp_path: Path) -> None:
    # A bucket that fills in a year: only what is at once counts.
    access = AccessSettings(writes_rps=1e-7, burst_seconds=3e7, reads_rps=1000.0)
    with serving(tmp_path / "state", access=access) as api:
        other = as_holder(api.holder(name="other", role="operator"))
        for name in ("a", "b"):
            assert api.http.put(f"/v1/tenants/{name}", json={}).status_code == 200
        problem = api.http.put("/v1/tenants/c", json={})
        assert_problem(problem, 429, "too-many-requests")
        assert int(problem.headers["retry-after"]) > 0
        assert api.get("/v1/tenants").status_code == 200, "reads are counted apart"
        assert api.http.put("/v1/tenants/c", json={}, headers=other).status_code == 200
        assert 'refused_callers_total{reason="rate-limited"} 1.0' in api.get("/metrics").text


def test_an_address_that_names_wrong_tokens_waits_and_whoever_was_known_there_goes_on(tmp_path: Path) -> None:
    access = AccessSettings(failures_rps=1e-7, failures_burst=3, token_cache_seconds=0.0)
    with serving(tmp_path / "state", access=access) as api:
        assert api.get("/v1/cells").status_code == 200
        wrong = as_holder("cp_" + "0" * 16 + "_" + "0" * 64)
        statuses = [api.http.get("/v1/cells", headers=wrong).status_code for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        assert api.get("/v1/cells").status_code == 200


def test_refusals_cannot_fill_the_disk(tmp_path: Path) -> None:
    access = AccessSettings(refusals_rps=1e-7, refusals_burst=5, note_seconds=0.05)
    with serving(tmp_path / "state", access=access) as api:
        for _ in range(50):
            plain_http.get(f"http://127.0.0.1:{api.port}/v1/cells")
        eventually(lambda: len(refused(api)) == 5, "five are on record")
        assert "cellplane_audit_dropped_total 45.0" in api.get("/metrics").text
        assert len(refused(api)) == 5


def test_a_thousand_routers_of_one_token_are_not_limited() -> None:
    now = 0.0
    buckets = Buckets(SETTINGS.reads_rps, SETTINGS.reads_rps * SETTINGS.burst_seconds, 10, lambda: now)
    for second in range(30):
        now = float(second)
        # All at once: a report each, and a table that each had waited for.
        assert [buckets.take("token:1") for _ in range(2_000)] == [0.0] * 2_000


def test_whoever_is_a_cell_or_a_router_speaks_for_no_other() -> None:
    for role, permission in ((Role.CELL, Permission.REPORT_CELL), (Role.ROUTER, Permission.REPORT_ROUTER)):
        order = TokenOrder(name="one", role=role, subject="one")
        _, record = mint(order, by="", now=BEGAN, random_bytes=random.Random(1).randbytes, settings=SETTINGS)
        caller = Caller.of_token(record)
        caller.require(permission, "one")
        with pytest.raises(ForbiddenError, match="that of 'one'"):
            caller.require(permission, "other")
        with pytest.raises(ForbiddenError, match="needs the permission read"):
            caller.require(Permission.READ)


def test_two_control_planes_of_one_database_know_the_same_tokens(tmp_path: Path, database_url: str) -> None:
    access = AccessSettings(token_cache_seconds=0.2)
    with (
        serving(tmp_path / "one", database_url=database_url, access=access) as one,
        serving(tmp_path / "two", database_url=database_url, access=access) as two,
    ):
        token = one.holder(name="ci", role="viewer")
        assert two.http.get("/v1/cells", headers=as_holder(token)).status_code == 200
        assert one.http.delete(f"/v1/tokens/{token.split('_')[1]}").status_code == 200
        assert one.http.get("/v1/cells", headers=as_holder(token)).status_code == 401
        eventually(
            lambda: two.http.get("/v1/cells", headers=as_holder(token)).status_code == 401, "the other knows too"
        )
        assert two.http.get("/v1/tokens", headers=as_holder(one.token)).status_code == 200


def refused(api: Api) -> list[object]:
    items: list[object] = api.get("/v1/audit", refused="true").json()["items"]
    return items
