"""Which of many keys are keys, as ``is_key`` says of one."""

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


_FIRST = np.zeros(256, bool)
_FIRST[list(KEY_FIRST_BYTES)] = True
_ANY = np.zeros(256, bool)
_ANY[list(KEY_BYTES)] = True
