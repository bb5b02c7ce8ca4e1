"""Which cells are locked when they fill, and unlocked when they do not any more."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cellplane.capacity.locks import OPEN, Hold, Lock, Step, Watched, held, step
from cellplane.capacity.metrics import Resource, Utilisation
from cellplane.capacity.settings import CapacitySettings
from cellplane.model import CellStatus
from support.depth import examples

USUAL = CapacitySettings(unlock_seconds=100)
ACTIVE, LOCKED = CellStatus.ACTIVE, CellStatus.LOCKED


def cell(share: float | None, status: CellStatus = ACTIVE, name: str = "cell-1", pools: Sequence[str] = ()) -> Watched:
    return Watched(name, tuple(pools), status, None if share is None else Utilisation(share, Resource.STORAGE))


def said(found: Step) -> list[tuple[str, CellStatus]]:
    return [(change.cell, change.status) for change in found.changes]


def test_a_cell_is_locked_at_the_mark() -> None:
    assert said(step([cell(0.699)], {}, 0, USUAL)) == []
    found = step([cell(0.7)], {}, 0, USUAL)
    assert said(found) == [("cell-1", LOCKED)]
    assert found.changes[0].reason == "uses 70% of its storage, from 70% on it is full"
    assert found.locks["cell-1"] == Lock(is_locked=True)


def test_it_is_unlocked_after_it_was_low_for_long_enough() -> None:
    locks = {"cell-1": Lock(is_locked=True)}
    for now, share in ((0, 0.5), (50, 0.61), (60, 0.5), (159, 0.5)):
        found = step([cell(share, LOCKED)], locks, now, USUAL)
        assert said(found) == []
        locks = dict(found.locks)
    found = step([cell(0.5, LOCKED)], locks, 160, USUAL)
    assert said(found) == [("cell-1", ACTIVE)]
    assert found.locks["cell-1"] == OPEN


def test_a_cell_of_which_nobody_knows_anything_stays_as_it_is() -> None:
    assert said(step([cell(None)], {}, 0, USUAL)) == []
    locks = {"cell-1": Lock(is_locked=True, low_since_seconds=0)}
    assert said(step([cell(None, LOCKED)], locks, 1_000, USUAL)) == []


def test_what_a_person_locked_stays_locked() -> None:
    locks = {"cell-1": held(OPEN, Hold.LOCKED)}
    for now in (0, 1_000):
        found = step([cell(0.1, LOCKED)], locks, now, USUAL)
        assert said(found) == []
        locks = dict(found.locks)
    assert said(step([cell(0.1, LOCKED)], {}, 0, USUAL)) == []
    released = {"cell-1": held(locks["cell-1"], Hold.NONE)}
    found = step([cell(0.1, LOCKED)], released, 2_000, USUAL)
    assert said(step([cell(0.1, LOCKED)], found.locks, 2_100, USUAL)) == [("cell-1", ACTIVE)]


def test_what_a_person_opened_stays_open() -> None:
    found = step([cell(0.9, ACTIVE)], {"cell-1": Lock(is_locked=True)}, 0, USUAL)
    assert said(found) == []
    assert found.locks["cell-1"].hold is Hold.OPEN


def test_the_last_open_cell_of_a_pool_is_kept_and_named() -> None:
    full = [cell(0.9, name="cell-1", pools=("a",)), cell(0.8, name="cell-2", pools=("a",))]
    found = step(full, {}, 0, USUAL)
    assert said(found) == [("cell-1", LOCKED)]
    assert [(each.cell, each.pool) for each in found.kept] == [("cell-2", "a")]
    assert "last cell of pool 'a'" in found.kept[0].reason


def test_a_cell_that_drains_is_no_other_cell_and_is_not_locked() -> None:
    watched = [cell(0.9, name="cell-1", pools=("a",)), cell(0.9, CellStatus.DRAINING, "cell-2", ("a",))]
    found = step(watched, {"cell-2": Lock(is_locked=True)}, 0, USUAL)
    assert said(found) == []
    assert [each.cell for each in found.kept] == ["cell-1"]
    assert found.locks["cell-2"] == OPEN


@given(
    st.booleans(),
    st.lists(st.floats(0.6, 0.7, exclude_max=True), min_size=1, max_size=50),
    st.sampled_from([1.0, 100.0, 10_000.0]),
)
def test_a_load_between_the_marks_changes_nothing(is_locked: bool, shares: list[float], seconds: float) -> None:
    locks = {"cell-1": Lock(is_locked=is_locked)}
    for tick, share in enumerate(shares):
        found = step([cell(share, LOCKED if is_locked else ACTIVE)], locks, tick * seconds, USUAL)
        assert found.changes == ()
        locks = dict(found.locks)


@settings(max_examples=examples(17), stateful_step_count=40)
class Fleet(RuleBasedStateMachine):
    """Four cells in two pools whose loads go up and down, while people lock and unlock them."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.status = dict.fromkeys(("a", "b", "c", "d"), ACTIVE)
        self.pools = {"a": ("one",), "b": ("one", "two"), "c": ("two",), "d": ("two",)}
        self.shares: dict[str, float | None] = dict.fromkeys(self.status, 0.0)
        self.locks: dict[str, Lock] = {}
        self.ordered: dict[str, CellStatus] = {}
        self.low_since: dict[str, float] = {}

    def _low(self, cell_id: str) -> bool:
        share = self.shares[cell_id]
        return self.status[cell_id] is LOCKED and share is not None and share < USUAL.unlock_at

    @rule(name=st.sampled_from("abcd"), share=st.one_of(st.none(), st.floats(0, 1)))
    def load(self, name: str, share: float | None) -> None:
        self.shares[name] = share

    @rule(name=st.sampled_from("abcd"), status=st.sampled_from([ACTIVE, LOCKED]))
    def order(self, name: str, status: CellStatus) -> None:
        if self.status[name] is not status:
            self.status[name] = self.ordered[name] = status
            self.locks[name] = held(self.locks.get(name, OPEN), Hold.LOCKED if status is LOCKED else Hold.OPEN)

    @rule(seconds=st.sampled_from([1.0, 60.0, 200.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        before = dict(self.status)
        watched = [cell(self.shares[name], self.status[name], name, self.pools[name]) for name in self.status]
        found = step(watched, self.locks, self.now, USUAL)
        for name in self.status:
            if not self._low(name):
                self.low_since.pop(name, None)
            else:
                self.low_since.setdefault(name, self.now)
        for change in found.changes:
            assert change.cell not in self.ordered
            share = self.shares[change.cell]
            assert share is not None
            if change.status is LOCKED:
                assert before[change.cell] is ACTIVE
                assert share >= USUAL.lock_at
            else:
                assert before[change.cell] is LOCKED
                assert self.now - self.low_since[change.cell] >= USUAL.unlock_seconds
            self.status[change.cell] = change.status
        self.locks = dict(found.locks)
        for pool in ("one", "two"):
            was = any(before[name] is ACTIVE for name in before if pool in self.pools[name])
            assert not was or any(self.status[name] is ACTIVE for name in self.status if pool in self.pools[name])
        for kept in found.kept:
            assert self.status[kept.cell] is ACTIVE

    @invariant()
    def orders_stand(self) -> None:
        for name, status in getattr(self, "ordered", {}).items():
            assert self.status[name] is status


TestFleet = Fleet.TestCase
