"""Placement: how a pool's slots are spread over its cells, one strategy a file."""

from cellplane.placement.slots import SLOT_COUNT, key_hash, slot_of
from cellplane.placement.strategy import place

__all__ = ["SLOT_COUNT", "key_hash", "place", "slot_of"]
