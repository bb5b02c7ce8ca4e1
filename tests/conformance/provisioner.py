"""What every provisioner has to do, whatever its cells are made of: a class of tests for each to inherit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import pytest

from cellplane.errors import CellTakenError, LimitReachedError, ProvisionError, ValidationError
from cellplane.model import Capacity, Cell, CellStatus
from cellplane.provision import CellInstance, CellRequest, InstanceState, Provisioner
from cellplane.provision.settings import ProvisionLimits
from cellplane.provision.siblings import one_more

LIMITS = ProvisionLimits(max_cells=3, max_total=Capacity(rps=300))
"""Of the provisioner that is tested. One cell is there from the start, and declares nothing."""

FIRST = "cell-1"
SECOND = CellRequest("cell-2", region="eu-1", zone="eu-1a", jurisdiction="eu", capacity=Capacity(rps=100), release="r1")
THIRD = replace(SECOND, id="cell-3", zone="eu-1b")


class Trial(Protocol):
    """A provisioner on trial, and what a test needs beside it."""

    provisioner: Provisioner
    statuses: dict[str, CellStatus]
    """What the control plane has the cells as."""

    def keep(self, instance: CellInstance, text: str) -> None:
        """Have a running cell keep something."""

    def kept(self, instance: CellInstance) -> list[str]:
        """What a running cell has kept."""

    def told_release(self, instance: CellInstance) -> str:
        """Which release a running cell says that it runs."""


class ProvisionerContract:
    """Inherit, and give a fixture ``fresh``: a Trial with LIMITS whose one cell is FIRST."""

    @pytest.fixture
    def trial(self, fresh: Trial) -> Iterator[Trial]:
        """The trial; whatever a test made is gone after it."""
        fresh.statuses.clear()
        yield fresh
        for instance in fresh.provisioner.describe_all():
            if instance.id != FIRST:
                fresh.provisioner.destroy(instance.id, force=True)

    def test_a_cell_that_is_created_runs_and_is_described(self, trial: Trial) -> None:
        made = trial.provisioner.create(SECOND)
        assert made.request == SECOND
        assert (made.id, made.release, made.state) == ("cell-2", "r1", InstanceState.RUNNING)
        assert made.address
        assert made.port > 0
        assert trial.provisioner.describe("cell-2") == made
        assert [each.id for each in trial.provisioner.describe_all()] == [FIRST, "cell-2"]
        assert trial.told_release(made) == "r1"

    def test_asking_twice_is_asking_once(self, trial: Trial) -> None:
        made = trial.provisioner.create(SECOND)
        trial.keep(made, "here")
        assert trial.provisioner.create(SECOND) == made
        assert trial.kept(made) == ["here"]
        assert len(trial.provisioner.describe_all()) == 2

    def test_two_who_ask_at_once_get_one_cell(self, trial: Trial) -> None:
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(trial.provisioner.create, [SECOND, SECOND])
        assert first == second

    def test_a_cell_that_is_there_is_not_taken_for_another(self, trial: Trial) -> None:
        trial.provisioner.create(SECOND)
        with pytest.raises(CellTakenError, match="cell-2 is there with region eu-1, not us-1: ask for it as it is"):
            trial.provisioner.create(replace(SECOND, region="us-1"))
        found = trial.provisioner.describe("cell-2")
        assert found is not None
        assert found.request == SECOND

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            (replace(SECOND, id="Cell 2"), "cell.id"),
            (replace(SECOND, id="../cell"), "cell.id"),
            (replace(SECOND, zone="a b"), "cell.zone"),
            (replace(SECOND, capacity=Capacity(rps=-1)), "cell.capacity.rps"),
            (replace(SECOND, ask_id="\n"), "cell.ask_id"),
        ],
    )
    def test_what_breaks_a_rule_is_refused(self, trial: Trial, wrong: CellRequest, field: str) -> None:
        with pytest.raises(ValidationError) as caught:
            trial.provisioner.create(wrong)
        assert caught.value.field == field
        assert len(trial.provisioner.describe_all()) == 1

    def test_a_cell_that_is_stopped_keeps_its_data_until_it_is_started(self, trial: Trial) -> None:
        made = trial.provisioner.create(SECOND)
        trial.keep(made, "here")
        for _ in range(2):
            assert trial.provisioner.stop("cell-2").state is InstanceState.STOPPED
        for _ in range(2):
            assert trial.provisioner.start("cell-2").state is InstanceState.RUNNING
        assert trial.kept(made) == ["here"]

    def test_create_starts_what_was_stopped(self, trial: Trial) -> None:
        trial.provisioner.create(SECOND)
        trial.provisioner.stop("cell-2")
        assert trial.provisioner.create(SECOND).state is InstanceState.RUNNING

    def test_another_release_is_run_with_the_same_data_and_create_does_not_take_it_back(self, trial: Trial) -> None:
        made = trial.provisioner.create(SECOND)
        trial.keep(made, "here")
        deployed = trial.provisioner.deploy("cell-2", "r2")
        assert (deployed.release, deployed.state) == ("r2", InstanceState.RUNNING)
        assert trial.provisioner.deploy("cell-2", "r2") == deployed
        assert trial.told_release(deployed) == "r2"
        assert trial.kept(deployed) == ["here"]
        assert trial.provisioner.create(SECOND).release == "r2"

    def test_a_release_of_a_stopped_cell_is_run_once_it_starts(self, trial: Trial) -> None:
        trial.provisioner.create(SECOND)
        trial.provisioner.stop("cell-2")
        deployed = trial.provisioner.deploy("cell-2", "r3")
        assert (deployed.release, deployed.state) == ("r3", InstanceState.STOPPED)
        assert trial.told_release(trial.provisioner.start("cell-2")) == "r3"
        with pytest.raises(ValidationError, match=r"cell\.release"):
            trial.provisioner.deploy("cell-2", "R 4")

    def test_what_is_not_there_is_said_with_what_makes_it(self, trial: Trial) -> None:
        assert trial.provisioner.describe("cell-2") is None
        with pytest.raises(ProvisionError, match="there is no cell-2: `cellplane cell create cell-2` makes it"):
            trial.provisioner.start("cell-2")
        with pytest.raises(ProvisionError, match="there is no cell-2"):
            trial.provisioner.stop("cell-2")
        with pytest.raises(ProvisionError, match="there is no cell-2"):
            trial.provisioner.deploy("cell-2", "r2")
        trial.provisioner.destroy("cell-2")

    @pytest.mark.parametrize("status", [status for status in CellStatus if status is not CellStatus.RETIRED])
    def test_a_cell_that_the_control_plane_may_still_use_is_kept(self, trial: Trial, status: CellStatus) -> None:
        trial.statuses[FIRST] = status
        with pytest.raises(
            ProvisionError, match=f"cell-1 is {status.value} in the control plane.*retire cell-1` first"
        ):
            trial.provisioner.destroy(FIRST)
        found = trial.provisioner.describe(FIRST)
        assert found is not None
        assert found.state is InstanceState.RUNNING

    @pytest.mark.parametrize(
        ("status", "force"), [(CellStatus.RETIRED, False), (None, False), (CellStatus.ACTIVE, True)]
    )
    def test_a_cell_that_is_destroyed_is_gone_with_its_data(
        self, trial: Trial, status: CellStatus | None, force: bool
    ) -> None:
        made = trial.provisioner.create(SECOND)
        trial.keep(made, "here")
        if status is not None:
            trial.statuses["cell-2"] = status
        for _ in range(2):
            trial.provisioner.destroy("cell-2", force=force)
        assert trial.provisioner.describe("cell-2") is None
        assert trial.kept(trial.provisioner.create(SECOND)) == []

    def test_there_are_no_more_cells_than_allowed_until_one_is_destroyed(self, trial: Trial) -> None:
        trial.provisioner.create(SECOND)
        trial.provisioner.create(THIRD)
        trial.provisioner.stop("cell-3")
        with pytest.raises(LimitReachedError, match="cell-4 would be cell number 4, and there may be 3"):
            trial.provisioner.create(replace(SECOND, id="cell-4"))
        assert trial.provisioner.describe("cell-4") is None
        trial.provisioner.destroy("cell-3")
        assert trial.provisioner.create(replace(SECOND, id="cell-4")).state is InstanceState.RUNNING

    def test_there_is_no_more_capacity_than_allowed(self, trial: Trial) -> None:
        trial.provisioner.create(SECOND)
        with pytest.raises(LimitReachedError, match=r"the cells that are there have 100 of 300\. Ask for at most 200"):
            trial.provisioner.create(replace(THIRD, capacity=Capacity(rps=201)))
        with pytest.raises(LimitReachedError, match="cell-3 declares no capacity of rps"):
            trial.provisioner.create(replace(THIRD, capacity=Capacity(tenants=5)))
        trial.provisioner.create(replace(THIRD, capacity=Capacity(rps=200)))

    def test_an_ask_gets_one_cell_however_often_it_is_asked(self, trial: Trial) -> None:
        siblings = [Cell("cell-1", "127.0.0.1", 1, capacity=Capacity(rps=50), release="r1")]

        def ask(ask_id: str) -> CellInstance:
            return one_more(trial.provisioner, siblings, ["cell-1"], pool="default", ask_id=ask_id)

        first = ask("headroom-1")
        assert (first.id, first.release, first.request.capacity) == ("cell-2", "r1", Capacity(rps=50))
        assert ask("headroom-1") == first
        assert ask("headroom-2").id == "cell-3"
        with pytest.raises(LimitReachedError):
            ask("headroom-3")
        assert ask("headroom-1") == first
        with pytest.raises(CellTakenError):
            trial.provisioner.create(replace(first.request, ask_id="headroom-9"))

    def test_asks_at_once_get_a_cell_each_and_one_asked_twice_at_once_gets_one(self, trial: Trial) -> None:
        siblings = [Cell("cell-1", "127.0.0.1", 1, capacity=Capacity(rps=50))]

        def ask(ask_id: str) -> str:
            return one_more(trial.provisioner, siblings, ["cell-1"], pool="default", ask_id=ask_id).id

        with ThreadPoolExecutor(4) as pool:
            ids = list(pool.map(ask, ["a", "b", "a", "b"]))
        assert ids[:2] == ids[2:]
        assert set(ids) == {"cell-2", "cell-3"}
        assert len(trial.provisioner.describe_all()) == 3
