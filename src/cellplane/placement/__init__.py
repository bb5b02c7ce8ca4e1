"""Placement: how a pool's slots are spread over its cells, one strategy a file; and who serves an explicit tenant."""

from cellplane.model.pool import MAX_SHARD_SIZE
from cellplane.placement.assignment import Assigned, assign
from cellplane.placement.fitting import CellState
from cellplane.placement.least_loaded import CellChoice, least_loaded
from cellplane.placement.member import Member
from cellplane.placement.packing import most_shards
from cellplane.placement.refusal import CellReason, NoCell
from cellplane.placement.searching import SearchingAssigner
from cellplane.placement.share_guard import check_share
from cellplane.placement.slots import SLOT_COUNT, Shards, key_hash, slot_of
from cellplane.placement.spread import Alike
from cellplane.placement.strategy import Placed, place

__all__ = [
    "MAX_SHARD_SIZE",
    "SLOT_COUNT",
    "Alike",
    "Assigned",
    "CellChoice",
    "CellReason",
    "CellState",
    "Member",
    "NoCell",
    "Placed",
    "SearchingAssigner",
    "Shards",
    "assign",
    "check_share",
    "key_hash",
    "least_loaded",
    "most_shards",
    "place",
    "slot_of",
]
