"""Rendezvous hashing: every member scores at every slot, and the best score wins; the fewest slots move.

Source: Thaler and Ravishankar, IEEE/ACM Transactions on Networking 6(1), 1998; weights: ``race``.
"""

from collections.abc import Sequence

from cellplane.placement import race
from cellplane.placement.member import Member, check_shard_size, sorted_members
from cellplane.placement.slots import Shards, slot_hashes


def place(members: Sequence[Member], *, shard_size: int = 1) -> Shards:
    """The shard of each slot: its best members by weighted score.

    A member that joins takes slots for itself and moves none between others; one that leaves gives up its own only; one
    that becomes heavier only takes, one that becomes lighter only gives. Nothing that keeps shares right can move less.

    Returns:
        Shape (SLOT_COUNT, shard_size): indexes of the members sorted by id, the preferred first.

    Raises:
        ValidationError: with the path of the first field that breaks a rule.
    """
    ordered = sorted_members(members)
    check_shard_size("shard_size", shard_size, len(ordered))
    return race.first(slot_hashes(), race.entrants(ordered, seed=0), shard_size).indexes
