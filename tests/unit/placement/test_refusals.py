"""What slot strategies refuse, and that they say where."""

from collections.abc import Callable, Sequence

import pytest

from cellplane.errors import ValidationError
from cellplane.placement import Member, lattice, modulo, rendezvous, ring, shuffle, zones
from unit.placement.fleets import STRATEGIES, ZONES, coordinates, fleet, on_lattice

GOOD = fleet(6)


def with_weight(weight: float) -> tuple[Member, ...]:
    return (GOOD[0], Member("cell-1", weight, ZONES[1]), *GOOD[2:])


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize(
    ("members", "field"),
    [
        ((), "members"),
        ([Member("x")] * 65_535, "members"),
        ((*GOOD, GOOD[2]), "members[6].id"),
        ((*GOOD, Member("Cell", 1.0, ZONES[0])), "members[6].id"),
        ((*GOOD, Member("cell-9", 1.0, "")), "members[6].zone"),
        (with_weight(0.0), "members[1].weight"),
        (with_weight(-1.0), "members[1].weight"),
        (with_weight(float("nan")), "members[1].weight"),
        (with_weight(float("inf")), "members[1].weight"),
        (with_weight(0.0009), "members[1].weight"),
    ],
)
def test_bad_members_are_refused_with_their_path(name: str, members: Sequence[Member], field: str) -> None:
    place = STRATEGIES[name]
    if name.startswith("lattice"):

        def place(members: Sequence[Member]) -> object:  # type: ignore[misc]
            return lattice.place(members, {})

    with pytest.raises(ValidationError) as refused:
        place(members)
    assert refused.value.field == field


SIZED: list[Callable[[int], object]] = [
    lambda size: modulo.place(fleet(10), shard_size=size),
    lambda size: ring.place(fleet(10), virtual_nodes=10, shard_size=size),
    lambda size: rendezvous.place(fleet(10), shard_size=size),
    lambda size: shuffle.place(fleet(10), shard_size=size),
    lambda size: zones.place(fleet(10), ZONES, shard_size=size),
    lambda size: on_lattice(fleet(12), size),
]


@pytest.mark.parametrize("place", SIZED)
@pytest.mark.parametrize("size", [-1, 0, 9, 2**32])
def test_a_shard_of_a_size_that_no_table_has_is_refused(place: Callable[[int], object], size: int) -> None:
    with pytest.raises(ValidationError, match="expected 1 to 8") as refused:
        place(size)
    assert refused.value.field == "shard_size"


@pytest.mark.parametrize("name", ["modulo of 4", "ring of 4", "rendezvous of 4", "shuffle of 4", "zones of 4"])
def test_a_shard_of_more_cells_than_there_are_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="needs as many members, found 3") as refused:
        STRATEGIES[name](fleet(3))
    assert refused.value.field == "shard_size"


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_no_hash_takes_is_refused(seed: int) -> None:
    places: list[Callable[[], object]] = [
        lambda: shuffle.place(GOOD, seed=seed),
        lambda: zones.place(GOOD, ZONES, seed=seed),
        lambda: lattice.place(GOOD, coordinates(GOOD), seed=seed),
    ]
    for place in places:
        with pytest.raises(ValidationError) as refused:
            place()
        assert refused.value.field == "seed"


@pytest.mark.parametrize(("virtual_nodes", "members"), [(0, GOOD), (4097, GOOD), (4096, fleet(3, weights=(100.0,)))])
def test_a_ring_without_or_with_too_many_points_is_refused(virtual_nodes: int, members: Sequence[Member]) -> None:
    with pytest.raises(ValidationError) as refused:
        ring.place(members, virtual_nodes=virtual_nodes)
    assert refused.value.field == "virtual_nodes"


@pytest.mark.parametrize(
    ("declared", "field"),
    [
        ((), "zones"),
        ([f"zone-{number}" for number in range(33)], "zones"),
        (("zone-a", "Zone"), "zones[1]"),
        (("zone-a", "zone-b", "zone-a"), "zones[2]"),
        (("zone-a", "zone-c"), "members[1].zone"),
        (("zone-a", "zone-b", "zone-c", "zone-d"), None),
    ],
)
def test_bad_zones_are_refused(declared: Sequence[str], field: str | None) -> None:
    if field is None:
        assert zones.place(GOOD, declared, shard_size=3).shape[1] == 3
        return
    with pytest.raises(ValidationError) as refused:
        zones.place(GOOD, declared)
    assert refused.value.field == field


def test_zones_with_too_few_cells_are_named() -> None:
    members = (*(Member(f"cell-{number}", 1.0, "zone-a") for number in range(9)), Member("cell-9", 1.0, "zone-b"))
    with pytest.raises(ValidationError, match=r"at most 2 cells a zone.*9 in zone-a, 1 in zone-b.*give 3") as refused:
        zones.place(members, ("zone-a", "zone-b"), shard_size=4)
    assert refused.value.field == "shard_size"


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"cell-3": None}, "coordinates[cell-3]", "missing"),
        ({"cell-3": ("zone-a",)}, "coordinates[cell-3]", "expected 2 dimensions"),
        ({"cell-0": ()}, "coordinates[cell-0]", "expected 1 to 8"),
        ({"cell-0": ("z",) * 9}, "coordinates[cell-0]", "expected 1 to 8"),
        ({"cell-2": ("zone-c", "R")}, "coordinates[cell-2][1]", "a name is"),
        ({"cell-2": ("zone-c", "r2")}, "coordinates", r"no cell is at \(zone-c, r1\), and 5 of 6 points"),
        ({f"cell-{number}": (ZONES[number % 3], "r1") for number in range(6)}, "shard_size", "dimension 1 has"),
    ],
)
def test_a_bad_lattice_is_refused(changes: dict[str, tuple[str, ...] | None], field: str, message: str) -> None:
    changed = {**coordinates(GOOD), **changes}
    at = {cell: point for cell, point in changed.items() if point is not None}
    with pytest.raises(ValidationError, match=message) as refused:
        lattice.place(GOOD, at)
    assert refused.value.field == field
