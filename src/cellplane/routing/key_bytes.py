"""Many keys in one buffer, and which of them are keys, as ``is_key`` says of one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellplane.model import MAX_KEY_BYTES
from cellplane.model.key import KEY_BYTES, KEY_FIRST_BYTES


def are_keys(
    data: NDArray[np.uint8], offsets: NDArray[np.integer[Any]], lengths: NDArray[np.integer[Any]]
) -> NDArray[np.bool_]:
    """Whether each is a key, shape (n,); all lie inside ``data``, and are checked quickest one behind the other."""
    ends = offsets + lengths
    sound: NDArray[np.bool_] = (lengths > 0) & (lengths <= MAX_KEY_BYTES)
    if not len(sound):
        return sound
    start = int(offsets.min())
    span = data[start : int(ends.max())]
    if span.tobytes().translate(None, KEY_BYTES):
        before = np.concatenate((np.zeros(1, np.int64), np.cumsum(~_ANY[span])))
        sound &= before[ends - start] == before[offsets - start]
    if sound.all() and not data[offsets].tobytes().translate(None, KEY_FIRST_BYTES):
        return sound
    places = np.flatnonzero(sound)
    sound[places] = _FIRST[data[offsets[places]]]
    return sound


def joined(keys: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """The bytes of all keys, one behind the other with a byte between, and of each its offset and its length."""
    data = np.frombuffer(_BETWEEN.join(keys), np.uint8)
    ends = np.append(np.flatnonzero(data == _BETWEEN[0]), len(data))
    if len(ends) == len(keys):
        offsets = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
        return data, offsets, ends - offsets
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    return data, np.cumsum(lengths + 1) - (lengths + 1), lengths


_BETWEEN = b"~"
"""What keys may have, so that all bytes can be checked in one go, but seldom have: then none is asked its length."""
_FIRST = np.zeros(256, bool)
_FIRST[list(KEY_FIRST_BYTES)] = True
_ANY = np.zeros(256, bool)
_ANY[list(KEY_BYTES)] = True
