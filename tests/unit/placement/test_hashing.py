"""Hashing many keys at once gives what hashing each gives."""

import numpy as np

from cellplane.model import MAX_KEY_BYTES
from cellplane.placement import key_hash
from cellplane.placement.hashing import _CHUNK_ROWS, _FEW, hash_keys

DATA = np.random.default_rng(1).integers(0, 256, 4096, np.uint8)


def hashed(offsets: list[int], lengths: list[int]) -> list[int]:
    values: list[int] = hash_keys(DATA, np.array(offsets, np.uint32), np.array(lengths, np.uint8)).tolist()
    return values


def test_keys_of_every_length_at_any_place() -> None:
    lengths = [*range(MAX_KEY_BYTES + 1), 16, 15, 0]
    offsets = [number * 29 for number in range(len(lengths))]
    keys = [DATA[offset : offset + length].tobytes() for offset, length in zip(offsets, lengths, strict=True)]
    assert hashed(offsets, lengths) == [key_hash(key) for key in keys]


def test_more_keys_than_are_hashed_in_one_go() -> None:
    count = _CHUNK_ROWS + 3
    offsets = [number % 4000 for number in range(count)]
    values = hashed(offsets, [7] * count)
    assert values[:4000] == [key_hash(DATA[offset : offset + 7].tobytes()) for offset in range(4000)]
    assert values[-1] == values[(count - 1) % 4000]


def test_many_keys_of_several_lengths() -> None:
    lengths = [11] * (4 * _FEW) + [10] * (2 * _FEW) + [0] * (_FEW + 1) + [23] * (_FEW + 1) + [9] * _FEW
    np.random.default_rng(2).shuffle(lengths)
    offsets = [len(DATA) - length - number % 64 for number, length in enumerate(lengths)]
    keys = [DATA[offset : offset + length].tobytes() for offset, length in zip(offsets, lengths, strict=True)]
    assert hashed(offsets, lengths) == [key_hash(key) for key in keys]


def test_no_keys() -> None:
    assert hashed([], []) == []
