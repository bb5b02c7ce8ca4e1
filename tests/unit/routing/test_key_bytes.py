"""Many keys in one buffer are the keys they were, whatever bytes they have."""

from hypothesis import example, given
from hypothesis import strategies as st

from cellplane.model import is_key
from cellplane.routing.key_bytes import are_keys, joined

ANY_KEY = st.binary(max_size=6) | st.lists(st.sampled_from([b"a", b"7", b"-", b"~", b"\n", b"\xff"])).map(b"".join)


@given(st.lists(ANY_KEY, min_size=1))
@example([b"acme", b"globex"])
@example([b"acme", b"", b""])
@example([b""])
@example([b"acme~globex"])
@example([b"~"])
@example([b"~a", b"b"])
def test_each_is_found_again_and_checked_as_if_alone(keys: list[bytes]) -> None:
    data, offsets, lengths = joined(keys)
    ends = (offsets + lengths).tolist()
    assert [data[start:end].tobytes() for start, end in zip(offsets.tolist(), ends, strict=True)] == keys
    assert are_keys(data, offsets, lengths).tolist() == [is_key(key) for key in keys]


def test_no_keys() -> None:
    assert [part.tolist() for part in joined([])] == [[], [], []]
