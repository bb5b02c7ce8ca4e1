"""Modulo: a slot's hash, modulo the cells. Even and plain; a change of the cells moves most slots."""

from cellplane.placement.slots import SLOT_COUNT

_FNV_OFFSET = 0x811C9DC5
_FNV_PRIME = 0x01000193


def fnv1a32(data: bytes) -> int:
    """FNV-1a, 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/)."""
    value = _FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return value


def place(weights: tuple[tuple[str, float], ...]) -> tuple[str, ...]:
    """The cell of each slot.

    Args:
        weights: (cell id, weight) sorted by id. A cell counts as often as its weight rounds to, at least once.
    """
    places = [cell for cell, weight in weights for _ in range(max(1, round(weight)))]
    return tuple(places[fnv1a32(slot.to_bytes(2, "little")) % len(places)] for slot in range(SLOT_COUNT))
