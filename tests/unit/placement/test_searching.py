"""Searching shuffle sharding: what it promises for thousands of tenants, and what it says when it cannot."""

import time
from itertools import combinations

import pytest

from cellplane.errors import PlacementError, ValidationError
from cellplane.placement import Alike, Member, SearchingAssigner, most_shards
from unit.placement.fleets import ZONES, fleet


def fill(assigner: SearchingAssigner) -> None:
    """Assign tenants until there is no shard left."""
    for number in range(assigner.most_shards + 1):
        assigner.assign(f"filling-{number}")


def overlaps(assigner: SearchingAssigner) -> int:
    """The most cells that two tenants share."""
    shards = [set(shard) for shard in assigner.assigned.values()]
    return max((len(one & other) for one, other in combinations(shards, 2)), default=0)


@pytest.mark.parametrize(
    ("cells", "size", "overlap", "most"),
    [
        (8, 2, 1, 28),
        (50, 4, 3, 230_300),
        # A Steiner quadruple system of 50 points: Hanani, On quadruple systems, 1960.
        (50, 4, 2, 4_900),
        # The Fano plane, and the affine plane of order 3.
        (7, 3, 1, 7),
        (9, 3, 1, 12),
        (10, 3, 0, 3),
        (6, 3, 3, 20),
        (5, 1, 0, 5),
    ],
)
def test_how_many_shards_there_can_be(cells: int, size: int, overlap: int, most: int) -> None:
    assert most_shards(cells, size, overlap) == most


@pytest.mark.parametrize(
    ("cells", "size", "overlap", "field"),
    [
        (0, 1, 0, "cell_count"),
        (5, 0, 0, "shard_size"),
        (5, 6, 0, "shard_size"),
        (5, 2, 3, "max_overlap"),
        (5, 2, -1, "max_overlap"),
    ],
)
def test_a_bound_of_nothing_is_refused(cells: int, size: int, overlap: int, field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        most_shards(cells, size, overlap)
    assert refused.value.field == field


def test_thousands_of_tenants_in_seconds() -> None:
    assigner = SearchingAssigner(fleet(50), shard_size=4, max_overlap=2, seed=1)
    started = time.process_time()
    for number in range(3_000):
        assigner.assign(f"tenant-{number}")
    assert time.process_time() - started < 30  # generous: this is for what grows with the square
    assert overlaps(assigner) == 2
    assert assigner.most_shards == 4_900


def test_two_of_eight_fills_up_to_28_and_then_says_what_to_do() -> None:
    assigner = SearchingAssigner(fleet(8), shard_size=2, max_overlap=1)
    for number in range(28):
        assigner.assign(f"tenant-{number}")
    assert len({frozenset(shard) for shard in assigner.assigned.values()}) == 28
    with pytest.raises(PlacementError, match=r"is left.* at most 28 .*28 tenants have one\. Add cells"):
        assigner.assign("one-more")
    assert "one-more" not in assigner.assigned
    freed = assigner.release("tenant-5")
    assert set(assigner.assign("one-more")) == set(freed)


def test_without_overlap_shards_are_apart() -> None:
    assigner = SearchingAssigner(fleet(6), shard_size=2, max_overlap=0)
    cells = [cell for number in range(3) for cell in assigner.assign(f"tenant-{number}")]
    assert len(set(cells)) == 6
    with pytest.raises(PlacementError):
        assigner.assign("one-more")
    assigner.release("tenant-1")
    assert set(assigner.assign("one-more")) == set(cells[2:4])


def test_a_search_is_bounded() -> None:
    assigner = SearchingAssigner(fleet(12), shard_size=4, max_overlap=1, max_steps=6)
    with pytest.raises(PlacementError, match="was found in 6 steps"):
        fill(assigner)


def test_a_first_tenant_gets_its_own_preference_which_weight_bends() -> None:
    members = (*fleet(9), Member("cell-9", 9.0))
    firsts: list[str] = []
    for number in range(500):
        firsts += SearchingAssigner(members, shard_size=1, max_overlap=0).assign(f"tenant-{number}")
    assert firsts.count("cell-9") == pytest.approx(250, abs=60)


def test_what_is_answered_follows_from_the_shards_that_are_there() -> None:
    lived = SearchingAssigner(fleet(20), shard_size=3, max_overlap=1, seed=5)
    for number in range(30):
        lived.assign(f"tenant-{number}")
    for number in range(0, 30, 3):
        lived.release(f"tenant-{number}")
    loaded = SearchingAssigner(fleet(20)[::-1], shard_size=3, max_overlap=1, seed=5, assigned=lived.assigned)
    assert loaded.assigned == lived.assigned
    assert [loaded.assign(f"new-{number}") for number in range(20)] == [
        lived.assign(f"new-{number}") for number in range(20)
    ]


def test_another_seed_gives_other_shards() -> None:
    one, other = (SearchingAssigner(fleet(50), shard_size=4, max_overlap=2, seed=seed) for seed in (0, 1))
    assert [one.assign(f"tenant-{number}") for number in range(5)] != [
        other.assign(f"tenant-{number}") for number in range(5)
    ]


def test_a_tenant_may_have_a_size_of_its_own() -> None:
    assigner = SearchingAssigner(fleet(10), shard_size=2, max_overlap=1)
    sizes = {"small": 1, "usual": None, "large": 5}
    assert [len(assigner.assign(tenant, shard_size=size)) for tenant, size in sizes.items()] == [1, 2, 5]
    assert [len(assigner.assign(f"small-{number}", shard_size=1)) for number in range(20)] == [1] * 20
    assert overlaps(assigner) == 1


def test_a_closed_cell_keeps_its_tenants_and_gets_no_other() -> None:
    there = {"old": ("cell-0", "cell-1", "cell-2")}
    assigner = SearchingAssigner(fleet(8), shard_size=3, max_overlap=1, assigned=there, closed={"cell-0", "cell-7"})
    assert assigner.assigned == there
    for number in range(4):
        shard = set(assigner.assign(f"tenant-{number}"))
        assert not shard & {"cell-0", "cell-7"}
        assert not {"cell-1", "cell-2"} <= shard
    with pytest.raises(PlacementError, match=r"8 cells \(6 open\)"):
        fill(assigner)


def test_shards_that_share_too_much_from_the_beginning_stay_and_count() -> None:
    there = {"old": ("cell-0", "cell-1"), "twin": ("cell-1", "cell-0"), "other": ("cell-1", "cell-2")}
    assigner = SearchingAssigner(fleet(3), shard_size=2, max_overlap=1, assigned=there)
    assert assigner.assigned == there
    assert set(assigner.assign("new")) == {"cell-0", "cell-2"}
    assigner.release("old")
    with pytest.raises(PlacementError):
        assigner.assign("one-more")
    assigner.release("twin")
    assert set(assigner.assign("one-more")) == {"cell-0", "cell-1"}


def test_no_new_shard_has_too_many_cells_alike() -> None:
    members = fleet(9)
    zones = [Alike([member.id for member in members if member.zone == zone], 1) for zone in ZONES]
    assigner = SearchingAssigner(members, shard_size=3, max_overlap=1, alike=zones)
    for number in range(9):
        shard = assigner.assign(f"tenant-{number}")
        assert len({int(cell[5:]) % 3 for cell in shard}) == 3
    # 9 = 3 · 3 pairs of cells of two zones, each in one shard: a Latin square.
    with pytest.raises(PlacementError, match=r"no shard of 3 cells, spread as asked, that shares at most 1"):
        assigner.assign("one-more")
    assert overlaps(assigner) == 1


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"shard_size": 9}, "shard_size"),
        ({"shard_size": 0}, "shard_size"),
        ({"shard_size": 7}, "shard_size"),
        ({"max_overlap": 2}, "max_overlap"),
        ({"max_overlap": -1}, "max_overlap"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"max_steps": 0}, "max_steps"),
        ({"closed": {"cell-9"}}, "closed"),
        ({"assigned": {"a b": ("cell-1", "cell-2")}}, "assigned[a b]"),
        ({"assigned": {"a": ("cell-1", "cell-9")}}, "assigned[a][1]"),
        ({"assigned": {"a": ("cell-1", "cell-1")}}, "assigned[a]"),
        ({"assigned": {"a": ()}}, "assigned[a]"),
        ({"alike": [Alike(("cell-1",), 1), Alike(("cell-9",), 1)]}, "alike[1].cells"),
        ({"alike": [Alike(("cell-1",), 0)]}, "alike[0].most"),
        ({"members": ()}, "members"),
    ],
)
def test_bad_settings_are_refused_with_their_path(options: dict[str, object], field: str) -> None:
    settings = {"members": fleet(6), "shard_size": 2, "max_overlap": 1, **options}
    with pytest.raises(ValidationError) as refused:
        SearchingAssigner(**settings)  # type: ignore[arg-type]
    assert refused.value.field == field


def test_bad_tenants_are_refused() -> None:
    assigner = SearchingAssigner(fleet(6), shard_size=2, max_overlap=1)
    assigner.assign("acme")
    for tenant, size, field in (("acme", None, "tenant"), ("a b", None, "tenant"), ("globex", 7, "shard_size")):
        with pytest.raises(ValidationError) as refused:
            assigner.assign(tenant, shard_size=size)
        assert refused.value.field == field
    with pytest.raises(ValidationError, match="'globex' has no shard"):
        assigner.release("globex")
    assert set(assigner.assigned) == {"acme"}
