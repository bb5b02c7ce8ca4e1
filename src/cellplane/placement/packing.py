"""How many shards there can be when any two may share only so many cells."""

from math import comb

from cellplane.errors import ValidationError


def most_shards(cell_count: int, shard_size: int, max_overlap: int) -> int:
    """No more shards than this can exist side by side.

    The Johnson bound ⌊N/K ⌊(N−1)/(K−1) … ⌊(N−o)/(K−o)⌋ … ⌋⌋ (S. M. Johnson, A new upper bound for error-correcting
    codes, IRE Transactions on Information Theory 8(3), 1962; for packings: Schönheim, 1966). It is reached where a
    Steiner system exists, and a search finds fewer.

    Args:
        cell_count: N ≥ 1.
        shard_size: K, 1 to N.
        max_overlap: o, 0 to K: most cells that two shards share. K allows the same shard twice: then the number of
            different shards, N over K, is returned.

    Raises:
        ValidationError: with the name of the argument out of its range.
    """
    if cell_count < 1:
        raise ValidationError("cell_count", f"expected at least 1, found {cell_count}")
    if not 1 <= shard_size <= cell_count:
        raise ValidationError("shard_size", f"expected 1 to {cell_count}, found {shard_size}")
    if not 0 <= max_overlap <= shard_size:
        raise ValidationError("max_overlap", f"expected 0 to {shard_size}, found {max_overlap}")
    if max_overlap == shard_size:
        return comb(cell_count, shard_size)
    bound = 1
    for place in range(max_overlap, -1, -1):
        bound = bound * (cell_count - place) // (shard_size - place)
    return bound
