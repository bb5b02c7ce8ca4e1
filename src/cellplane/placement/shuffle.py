"""Shuffle sharding: every slot has K cells of its own choice, so that few tenants share all their cells.

Source of the idea: MacCárthaigh, Workload isolation using shuffle-sharding, Amazon Builders' Library, 2019. Kubernetes
and Infima deal cards from a hash, which a change of the cells deals anew; here the K best of a weighted race are
taken, which one cell more or less changes in one place at most.
"""

from collections.abc import Sequence

from cellplane.placement import race
from cellplane.placement.member import Member, check_seed, check_shard_size, sorted_members
from cellplane.placement.slots import Shards, slot_hashes

DEFAULT_SHARD_SIZE = 2
"""Cells of a shard, where nobody says how many: one can fail, and a tenant's work is not spread further than needed."""


def place(members: Sequence[Member], *, shard_size: int = DEFAULT_SHARD_SIZE, seed: int = 0) -> Shards:
    """The shard of each slot: the ``shard_size`` members that come first in a race.

    One cell more or less changes at most one member of any shard. Proof: keys depend on the pair alone. A joining cell
    is among the first K or not; if it is, it pushes out exactly the last of them. Leaving is joining, backwards; a new
    weight is leaving and joining with the other members where they were, and so changes one member too.

    The first member of a shard is a given cell with the probability of its share of the weights; the others
    follow by the weights of who is left (sampling without replacement). With seed 0 the first member is that of
    ``rendezvous``.

    Args:
        members: the pool's.
        shard_size: K, 1 to MAX_SHARD_SIZE.
        seed: 0 to 2**64 - 1; another seed gives other, independent shards.

    Returns:
        Shape (SLOT_COUNT, shard_size): indexes of the members sorted by id, the preferred first.

    Raises:
        ValidationError: with the path of the first field that breaks a rule.
    """
    ordered = sorted_members(members)
    check_shard_size("shard_size", shard_size, len(ordered))
    check_seed("seed", seed)
    return race.first(slot_hashes(seed), race.entrants(ordered, seed), shard_size).indexes
