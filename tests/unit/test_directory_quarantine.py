"""Quarantines in the directory: beside the assignment of a tenant, through restarts, and never under another law."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cellplane.directory.records import Entry
from cellplane.errors import ConflictError, NotFoundError, ValidationError
from cellplane.model import (
    Cell,
    Fleet,
    KeySource,
    Policy,
    Pool,
    Quarantine,
    QuarantinePolicy,
    Reads,
    StrategyName,
    Tenant,
    TenantState,
    UnknownTenant,
)
from cellplane.placement.quarantine import Asked, LeftAlone, LeftAloneBy
from support.directory import Directory

FLEET = Fleet(
    "shop",
    key_sources=(KeySource.trusted_header("x-tenant-id"),),
    quarantine=QuarantinePolicy(("away-eu", "away-us"), max_tenants=2, seconds=60),
)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(location: Path | str, clock: Clock) -> Iterator[Directory]:
    directory = Directory(location, clock)
    laws = {"eu-1": "eu", "eu-2": "eu", "us-1": "us", "away-eu": "eu", "away-us": "us"}
    resources = [Cell(name, "127.0.0.1", 1, jurisdiction=law) for name, law in laws.items()]
    pools = [Pool("default", ("eu-1", "eu-2")), Pool("us", ("us-1",)), Pool("mixed", ("eu-2", "us-1"))]
    directory.apply([FLEET, *resources, *pools, Tenant("acme", ("eu-2",))], actor="test")
    yield directory
    directory.close()


def send_away(directory: Directory, tenant: str = "acme", seen_epoch: int | None = None) -> Quarantine:
    found = directory.quarantine(Asked(tenant, "it fails", seen_epoch=seen_epoch), actor="test")
    assert isinstance(found, Quarantine), found
    return found


def left_by(directory: Directory, tenant: str) -> LeftAloneBy:
    found = directory.quarantine(Asked(tenant, "it fails"), actor="test")
    assert isinstance(found, LeftAlone), found
    return found.by


def said(directory: Directory) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What a table says of tenants: of a whole base, which must be what its changes say one by one."""
    entries = {entry.id: entry for entry in directory.entries()}
    with directory.snapshot() as snapshot:
        changed = {each.id: each.entry for each in snapshot.changed_tenants(0)}
    assert {name: entry for name, entry in changed.items() if entry is not None} == entries
    return {entry.id: (entry.state.value, entry.shard) for entry in entries.values()}


def ended(directory: Directory, tenant: str = "acme") -> str:
    return directory.quarantines()[tenant].end_reason


def test_a_tenant_is_away_and_its_home_stays(directory: Directory) -> None:
    found = send_away(directory)
    assert (found.cell, found.until - found.since) == ("away-eu", timedelta(seconds=60))
    assert found.epoch == directory.epoch()
    assert said(directory) == {"acme": ("quarantined", ("away-eu",))}
    assert directory.tenant("acme").tenant == Tenant("acme", ("eu-2",))
    directory.put_tenant(Tenant("acme", ("eu-1",), policy=Policy(rps=5)), actor="test")
    assert list(directory.entries()) == [Entry("acme", "default", ("away-eu",), TenantState.QUARANTINED, Policy(rps=5))]
    directory.release("acme", "well again", actor="test")
    assert said(directory) == {"acme": ("active", ("eu-1",))}


def test_a_change_of_a_quarantine_is_no_change_of_the_topology(directory: Directory) -> None:
    before = directory.topology_epoch()
    send_away(directory)
    directory.release("acme", "well again", actor="test")
    assert directory.topology_epoch() == before


def test_beginning_and_end_stand_in_the_change_log(directory: Directory) -> None:
    epoch = directory.epoch()
    send_away(directory)
    directory.release("acme", "well again", hold_seconds=30, actor="test")
    began, over = directory.changes(limit=10, after=epoch)
    assert [(each.kind, each.id, each.action) for each in (began, over)] == [("quarantine", "acme", "put")] * 2
    assert began.after is not None
    assert (began.after["cell"], began.after["reason"], began.after["ended"]) == ("away-eu", "it fails", None)
    assert over.after is not None
    assert (over.after["end_reason"], over.after["held_until"]) == ("well again", "2026-01-01T00:00:30.000+00:00")


def test_it_is_over_in_time_also_after_a_restart(location: Path | str, clock: Clock, directory: Directory) -> None:
    found = send_away(directory)
    directory.close()
    again = Directory(location, clock)
    assert again.quarantines() == {"acme": found}
    clock.pass_seconds(59.9)
    assert again.release_due(actor="test") == ()
    epoch = again.epoch()
    clock.pass_seconds(0.1)
    (over,) = again.release_due(actor="test")
    assert (over.tenant, over.ended, over.epoch) == ("acme", clock.now, epoch + 1)
    assert again.release_due(actor="test") == ()
    assert said(again) == {"acme": ("active", ("eu-2",))}
    again.close()


def test_what_a_router_finds_twice_changes_nothing(directory: Directory) -> None:
    found = send_away(directory, seen_epoch=directory.epoch())
    assert send_away(directory, seen_epoch=found.epoch + 1) == found
    assert directory.epoch() == found.epoch


def test_only_who_is_away_can_be_released(directory: Directory) -> None:
    with pytest.raises(NotFoundError, match="'acme' is not in quarantine"):
        directory.release("acme", "why not", actor="test")
    send_away(directory)
    directory.release("acme", "well again", actor="test")
    with pytest.raises(NotFoundError):
        directory.release("acme", "again", actor="test")


def test_a_tenant_that_nobody_lists_is_sent_away_where_the_fleet_places_it(directory: Directory) -> None:
    assert send_away(directory, "stranger").cell == "away-eu"
    assert said(directory)["stranger"] == ("quarantined", ("away-eu",))
    directory.put_fleet(replace(FLEET, unknown_tenant=UnknownTenant.REJECT), actor="test")
    assert ended(directory, "stranger") == "tenants that nobody lists are not placed any more"
    assert "stranger" not in said(directory)
    assert left_by(directory, "other") is LeftAloneBy.UNKNOWN


def test_a_tenant_of_a_slot_goes_by_the_law_of_its_cell(directory: Directory) -> None:
    for number in range(20):
        directory.put_tenant(Tenant(f"t-{number}", pool="mixed"), actor="test")
    directory.put_fleet(replace(FLEET, quarantine=replace(FLEET.quarantine, max_tenants=20)), actor="test")
    found = {send_away(directory, f"t-{number}").cell for number in range(20)}
    assert found == {"away-eu", "away-us"}
    directory.put_cell(Cell("eu-2", "127.0.0.1", 1, jurisdiction="us"), actor="test")
    assert {each.cell for each in directory.quarantines().values() if each.lasts} == {"away-us"}


def test_a_tenant_that_routers_refuse_anyway_is_left_alone_and_stays_what_it_is(directory: Directory) -> None:
    directory.put_tenant(Tenant("gone", ("eu-1",), TenantState.SUSPENDED), actor="test")
    assert left_by(directory, "gone") is LeftAloneBy.STATE
    send_away(directory)
    directory.put_tenant(Tenant("acme", ("eu-2",), TenantState.SUSPENDED), actor="test")
    assert said(directory)["acme"] == ("suspended", ("eu-2",))
    directory.put_tenant(Tenant("acme", ("eu-2",)), actor="test")
    assert said(directory)["acme"] == ("quarantined", ("away-eu",))


def test_who_is_removed_or_comes_under_another_law_is_away_no_more(directory: Directory) -> None:
    send_away(directory)
    directory.put_tenant(Tenant("acme", ("us-1",)), actor="test")
    assert ended(directory) == "it is at home under us, and away-eu is under another law"
    assert said(directory) == {"acme": ("active", ("us-1",))}
    assert send_away(directory).cell == "away-us"
    directory.delete_tenant("acme", actor="test")
    assert ended(directory) == "the tenant was removed"
    assert said(directory) == {}


def test_a_cell_that_takes_nobody_any_more_sends_all_home(directory: Directory) -> None:
    send_away(directory)
    with pytest.raises(ConflictError, match="cell 'away-eu' is named by the fleet's quarantine: change that first"):
        directory.delete_cell("away-eu", actor="test")
    directory.put_fleet(replace(FLEET, quarantine=QuarantinePolicy(("away-us",))), actor="test")
    assert ended(directory) == "away-eu is no quarantine cell any more"


def test_a_change_that_is_only_tried_ends_nothing(directory: Directory) -> None:
    send_away(directory)
    directory.apply([replace(FLEET, quarantine=QuarantinePolicy())], actor="test", dry_run=True)
    assert directory.quarantines()["acme"].lasts
    assert said(directory) == {"acme": ("quarantined", ("away-eu",))}


def test_a_lower_bound_sends_nobody_home(directory: Directory) -> None:
    send_away(directory)
    send_away(directory, "beta")
    assert left_by(directory, "gamma") is LeftAloneBy.BOUND
    directory.put_fleet(replace(FLEET, quarantine=replace(FLEET.quarantine, max_tenants=1)), actor="test")
    assert all(each.lasts for each in directory.quarantines().values())


def test_what_is_long_over_is_forgotten(directory: Directory, clock: Clock) -> None:
    send_away(directory)
    directory.release("acme", "well again", actor="test")
    clock.pass_seconds(7_200)
    send_away(directory, "beta")
    assert set(directory.quarantines()) == {"beta"}


@pytest.mark.parametrize(
    ("fleet", "field"),
    [
        (replace(FLEET, quarantine=QuarantinePolicy(("eu-1",))), "fleet.quarantine.cells[0]"),
        (
            replace(FLEET, default_cell="away-eu", unknown_tenant=UnknownTenant.DEFAULT_CELL),
            "fleet.quarantine.cells[0]",
        ),
        (replace(FLEET, policy=Policy(shadow="away-eu")), "fleet.policy.shadow"),
        (replace(FLEET, quarantine=QuarantinePolicy(("away-eu", "nowhere"))), "fleet.quarantine.cells[1]"),
    ],
)
def test_a_quarantine_cell_takes_nobody_else(directory: Directory, fleet: Fleet, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        directory.put_fleet(fleet, actor="test")
    assert caught.value.field == field
    with pytest.raises(ValidationError, match="is in pool 'default', and would bring ordinary tenants together"):
        directory.put_pool(Pool("default", ("eu-1", "eu-2", "away-eu")), actor="test")
    with pytest.raises(ValidationError, match="'away-eu' is a quarantine cell"):
        directory.put_tenant(Tenant("acme", policy=Policy(reads=Reads.STANDBY, standby="away-eu")), actor="test")


def test_in_a_pool_without_slots_only_who_has_a_cell_has_a_law(directory: Directory) -> None:
    directory.put_pool(Pool("own", ("us-1",), StrategyName.EXPLICIT), actor="test")
    directory.put_tenant(Tenant("placed", pool="own"), actor="test")
    assert send_away(directory, "placed").cell == "away-us"
