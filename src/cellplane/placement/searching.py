"""Searching shuffle sharding: explicit shards of which no two share more than a given number of cells.

The idea is that of Infima's stateful searching shuffle sharder: two shards share more than o cells exactly when they
share a set of o + 1 cells, so it is enough to know which sets of o + 1 cells are taken. A shard of K cells is
C(K, o + 1) taken sets, to check and to keep, whatever the number of tenants.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import xxhash

from cellplane.errors import PlacementError, ValidationError
from cellplane.model.key import check_key
from cellplane.model.pool import MAX_SHARD_SIZE
from cellplane.placement import race
from cellplane.placement.member import Member, check_seed, check_shard_size, sorted_members
from cellplane.placement.packing import most_shards
from cellplane.placement.shard_search import Limits, ShardSearch
from cellplane.placement.spread import Alike

MAX_SEARCH_STEPS = 100_000
"""Cells tried for one tenant before the search gives up: about a tenth of a second."""


class SearchingAssigner:
    """Assigns tenants to shards so that any two of them share at most ``max_overlap`` cells.

    Invariant: no set of max_overlap + 1 cells is part of two tenants' shards, apart from sets that two of those given
    as ``assigned`` share: what is there stays, and counts. It holds after every call, also one that raises, and for
    shards of different sizes. What ``assign`` answers follows from the members, the seed, the tenant and the shards
    assigned now; how they came about does not count.

    Args:
        members: the cells; more weight, more shards.
        shard_size: K, 1 to MAX_SHARD_SIZE, where a tenant has no size of its own.
        max_overlap: 0 to K − 1.
        seed: 0 to 2**64 - 1.
        assigned: shards of tenants that are already there: ids of members.
        closed: ids of members that get no new tenants (locked, draining …); shards that are there keep them.
        alike: members of which a new shard may have only so many.
        max_steps: cells that a search may try.

    Raises:
        ValidationError: with the path of the first field that breaks a rule.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        shard_size: int,
        max_overlap: int,
        seed: int = 0,
        assigned: Mapping[str, Sequence[str]] | None = None,
        closed: Collection[str] = (),
        alike: Sequence[Alike] = (),
        max_steps: int = MAX_SEARCH_STEPS,
    ) -> None:
        self._members = sorted_members(members)
        check_shard_size("shard_size", shard_size, len(self._members))
        if not 0 <= max_overlap < shard_size:
            raise ValidationError("max_overlap", f"expected 0 to {shard_size - 1}, found {max_overlap}")
        check_seed("seed", seed)
        if max_steps < 1:
            raise ValidationError("max_steps", f"expected at least 1, found {max_steps}")
        self._shard_size = shard_size
        self._max_overlap = max_overlap
        self._seed = seed
        self._max_steps = max_steps
        self._runners = race.entrants(self._members, seed)
        self._index = {member.id: index for index, member in enumerate(self._members)}
        self._taken: dict[tuple[int, ...], int] = {}
        self._shards: dict[str, tuple[int, ...]] = {}
        self._open = (1 << len(self._members)) - 1
        for cell in sorted(closed):
            if cell not in self._index:
                raise ValidationError("closed", f"no member is named {cell!r}")
            self._open &= ~(1 << self._index[cell])
        self._alike = self._limits(alike)
        for tenant, cells in (assigned or {}).items():
            self._load(tenant, cells)

    @property
    def assigned(self) -> dict[str, tuple[str, ...]]:
        """The shard of each tenant, ids of cells in order of preference."""
        return {tenant: self._names(shard) for tenant, shard in self._shards.items()}

    @property
    def most_shards(self) -> int:
        """No more tenants than this can have shards of the usual size."""
        return most_shards(len(self._members), self._shard_size, self._max_overlap)

    def assign(self, tenant: str, *, shard_size: int | None = None) -> tuple[str, ...]:
        """Give a tenant the shard that is best by its own weighted race and keeps the overlap.

        Args:
            tenant: a tenant id without a shard.
            shard_size: its own K, where it is not the usual one. One of at most max_overlap cells always fits.

        Returns:
            Ids of its cells, the preferred first.

        Raises:
            ValidationError: the tenant has a shard, or a value breaks a rule.
            PlacementError: no shard is left, or none was found within the steps.
        """
        check_key("tenant", tenant)
        if tenant in self._shards:
            raise ValidationError("tenant", f"{tenant!r} already has a shard: release it first")
        size = self._shard_size if shard_size is None else shard_size
        check_shard_size("shard_size", size, len(self._members))
        place = np.array([xxhash.xxh64_intdigest(tenant.encode(), self._seed)], np.uint64)
        order: list[int] = race.first(place, self._runners, len(self._members)).indexes[0].tolist()
        search = ShardSearch(self._taken, self._max_overlap, order, self._alike, self._max_steps)
        shard = search.best(size, self._open)
        if shard is None:
            raise PlacementError(self._no_shard(tenant, size, exhausted=search.steps < self._max_steps))
        taken = (self._taken.get(rest, 0) >> cell & 1 for rest, cell in _parts(shard, self._max_overlap))
        assert not any(taken), "a set of max_overlap + 1 cells would be taken twice"
        self._keep(tenant, shard)
        return self._names(shard)

    def release(self, tenant: str) -> tuple[str, ...]:
        """Take a tenant's shard back and return it.

        Raises:
            ValidationError: the tenant has none.
        """
        if tenant not in self._shards:
            raise ValidationError("tenant", f"{tenant!r} has no shard")
        shard = self._shards.pop(tenant)
        for rest, cell in _parts(shard, self._max_overlap):
            self._taken[rest] &= ~(1 << cell)
            if not self._taken[rest]:
                del self._taken[rest]
        # Shards that shared too much from the beginning go on counting.
        for other, there in self._shards.items():
            if len({*there} & {*shard}) > self._max_overlap:
                self._keep(other, there)
        return self._names(shard)

    def _limits(self, groups: Sequence[Alike]) -> list[Limits]:
        """The limits that each member counts for; nothing where there are none."""
        limits: list[list[tuple[int, int]]] = [[] for _ in self._members] if groups else []
        for place, group in enumerate(groups):
            for cell in group.cells:
                if cell not in self._index:
                    raise ValidationError(f"alike[{place}].cells", f"no member is named {cell!r}")
            if group.most < 1:
                raise ValidationError(f"alike[{place}].most", f"expected at least 1, found {group.most}")
            mask = sum(1 << self._index[cell] for cell in {*group.cells})
            for cell in {*group.cells}:
                limits[self._index[cell]].append((mask, group.most))
        return [*limits]

    def _load(self, tenant: str, cells: Sequence[str]) -> None:
        field = f"assigned[{tenant}]"
        check_key(field, tenant)
        for place, cell in enumerate(cells):
            if cell not in self._index:
                raise ValidationError(f"{field}[{place}]", f"no member is named {cell!r}")
        if not 1 <= len(cells) <= MAX_SHARD_SIZE or len(set(cells)) != len(cells):
            raise ValidationError(field, f"expected 1 to {MAX_SHARD_SIZE} distinct cells, found {', '.join(cells)}")
        self._keep(tenant, tuple(self._index[cell] for cell in cells))

    def _keep(self, tenant: str, shard: tuple[int, ...]) -> None:
        for rest, cell in _parts(shard, self._max_overlap):
            self._taken[rest] = self._taken.get(rest, 0) | 1 << cell
        self._shards[tenant] = shard

    def _names(self, shard: Iterable[int]) -> tuple[str, ...]:
        return tuple(self._members[cell].id for cell in shard)

    def _no_shard(self, tenant: str, size: int, *, exhausted: bool) -> str:
        cells = len(self._members)
        most = most_shards(cells, size, min(self._max_overlap, size))
        found = "is left" if exhausted else f"was found in {self._max_steps} steps"
        spread = ", spread as asked," if self._alike else ""
        return (
            f"tenant {tenant!r}: no shard of {size} cells{spread} that shares at most {self._max_overlap} with every "
            f"other {found}. {cells} cells ({self._open.bit_count()} open) give at most {most} such shards, and a "
            f"search finds fewer; {len(self._shards)} tenants have one. "
            "Add cells, lower the shard size, raise the maximum overlap, or release shards"
        )


def _parts(shard: Iterable[int], max_overlap: int) -> Iterable[tuple[tuple[int, ...], int]]:
    """Every set of max_overlap + 1 cells of a shard, each split into one cell and the sorted rest, in every way."""
    for together in combinations(sorted(shard), max_overlap + 1):
        for place, cell in enumerate(together):
            yield together[:place] + together[place + 1 :], cell
