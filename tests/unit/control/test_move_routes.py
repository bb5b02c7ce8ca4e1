"""What a move asks of the control plane is of the tenant as it was looked at: what comes late is refused."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cellplane.client import Client
from cellplane.errors import PreconditionError
from cellplane.moves.errors import ChangedError, MoveError, NotInTimeError
from cellplane.moves.routes import ControlPlaneRoutes, Placed
from unit.control.serving import Api

TENANT = "acme"
PATH = f"/v1/tenants/{TENANT}"


@pytest.fixture
def client(shop: Api) -> Iterator[Client]:
    shop.put_epoch(PATH, {"cell": "cell-1"})
    with Client(f"http://127.0.0.1:{shop.port}", "test", shop.token) as client:
        yield client


def test_a_flip_that_comes_late_is_refused_once_writes_were_let_again(client: Client) -> None:
    routes = ControlPlaneRoutes(client)
    held = routes.hold_writes(TENANT)
    assert routes.placed(TENANT) == Placed(("cell-1",), True, "moving", held)
    let = routes.let_writes(TENANT)
    with pytest.raises(PreconditionError, match="412"):
        client.put(PATH, {"cell": "cell-2", "state": "active"}, version=held)
    assert routes.placed(TENANT) == Placed(("cell-1",), True, "active", let)


def test_a_hold_that_comes_late_is_refused_also_where_writes_were_not_held(client: Client) -> None:
    routes = ControlPlaneRoutes(client)
    seen = routes.placed(TENANT)
    assert seen.state == "active"
    assert routes.let_writes(TENANT) > seen.epoch
    with pytest.raises(PreconditionError):
        client.put(PATH, {"state": "moving"}, version=seen.epoch)
    assert routes.placed(TENANT).state == "active"


def test_a_tenant_that_was_just_given_back_to_its_slot_is_not_where_it_was(shop: Api, client: Client) -> None:
    routes = ControlPlaneRoutes(client)
    shop.published(shop.put_epoch(PATH, {}))
    home = shop.get(PATH).json()["placed"]
    (other,) = {"cell-1", "cell-2"} - {home}
    shop.published(routes.assign(TENANT, other, taken_from=home))
    epoch = routes.assign(TENANT, None, taken_from=other)
    assert shop.get(PATH).json()["placed_epoch"] < epoch, "what is published is of before"
    assert routes.placed(TENANT) == Placed((home,), False, "active", epoch)


def test_a_tenant_of_which_no_table_is_published_is_nowhere(shop: Api, client: Client) -> None:
    shop.published(shop.put_epoch(PATH, {}))
    shop.put_epoch(PATH, {"state": "moving"})
    with pytest.raises(NotInTimeError, match=r"no table of epoch \d+ is published.*`cellplane publish`"):
        ControlPlaneRoutes(client, publish_seconds=0.0).placed(TENANT)


@dataclass(frozen=True, slots=True)
class Overtaken(ControlPlaneRoutes):
    """Somebody else changes the tenant right behind each look at it."""

    def placed(self, tenant_id: str) -> Placed:
        found = ControlPlaneRoutes.placed(self, tenant_id)
        self.client.put(PATH, {"tier": f"seen-at-{found.epoch}"})
        return found


def test_a_change_of_what_was_changed_meanwhile_is_refused(client: Client) -> None:
    with pytest.raises(ChangedError, match="acme was changed while its move changed it"):
        Overtaken(client).assign(TENANT, "cell-2", taken_from="cell-1")
    assert ControlPlaneRoutes(client).placed(TENANT).cells == ("cell-1",)
    ControlPlaneRoutes(client).assign(TENANT, "cell-2", taken_from="cell-1")
    assert ControlPlaneRoutes(client).placed(TENANT).cells == ("cell-2",)


def test_a_tenant_that_somebody_assigned_meanwhile_stays_there(client: Client) -> None:
    routes = ControlPlaneRoutes(client)
    routes.hold_writes(TENANT)
    client.put(PATH, {"cell": "cell-2"})
    with pytest.raises(ChangedError, match="acme was assigned to cell-2 while its move flipped it"):
        routes.assign(TENANT, "cell-1", taken_from="cell-1")
    assert routes.placed(TENANT).cells == ("cell-2",)


def test_one_that_somebody_suspended_stays_so_whatever_its_move_does(client: Client) -> None:
    routes = ControlPlaneRoutes(client)
    routes.hold_writes(TENANT)
    client.put(PATH, {"state": "suspended"})
    seen = routes.placed(TENANT)
    assert (seen.state, seen.is_ours) == ("suspended", False)
    with pytest.raises(MoveError, match="acme is suspended: only an active tenant is moved"):
        routes.hold_writes(TENANT)
    assert routes.let_writes(TENANT) == seen.epoch
    with pytest.raises(ChangedError, match="acme was made suspended while its writes were held"):
        routes.assign(TENANT, "cell-2", taken_from="cell-1", only_held=True)
    assert routes.placed(TENANT) == seen
    epoch = routes.assign(TENANT, "cell-2", taken_from="cell-1")
    assert routes.placed(TENANT) == Placed(("cell-2",), True, "suspended", epoch)


def test_one_that_its_slot_places_is_there_also_while_it_is_suspended(shop: Api, client: Client) -> None:
    shop.published(shop.put_epoch(PATH, {}))
    home = shop.get(PATH).json()["placed"]
    shop.published(shop.put_epoch(PATH, {"state": "suspended"}))
    assert shop.get(PATH).json()["placed"] is None
    seen = ControlPlaneRoutes(client).placed(TENANT)
    assert (seen.cells, seen.state, seen.slot_cell) == ((home,), "suspended", home)
    (other,) = {"cell-1", "cell-2"} - {home}
    shop.published(shop.put_epoch(PATH, {"cell": other, "state": "active"}))
    seen = ControlPlaneRoutes(client).placed(TENANT)
    assert (seen.cells, seen.slot_cell) == ((other,), home)
