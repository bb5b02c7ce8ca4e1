"""Tokens and rate limits: what holds for all of them."""

import random
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from cellplane.control.access.buckets import Buckets
from cellplane.control.access.roles import Role
from cellplane.control.access.settings import AccessSettings
from cellplane.control.access.tokens import Token, TokenOrder, mint

NOW = datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)
ORDER = TokenOrder(name="ci", role=Role.VIEWER)


TOKEN, RECORD = mint(ORDER, by="ann", now=NOW, random_bytes=random.Random(1).randbytes, settings=AccessSettings())

near = st.builds(
    lambda place, character: TOKEN.text[:place] + character + TOKEN.text[place + 1 :],
    st.integers(0, len(TOKEN.text)),
    st.characters(),
)
cut = st.builds(lambda start, end: TOKEN.text[start:end], st.integers(0, 90), st.integers(0, 90))
padded = st.builds(lambda before, after: before + TOKEN.text + after, st.text(max_size=3), st.text(max_size=3))
alike = st.from_regex(r"cp_[0-9a-fA-F]{16}_[0-9a-fA-F]{64}", fullmatch=True)


@example(f"cp_{'0' * 16}_{TOKEN.secret}")
@given(st.one_of(st.text(), near, cut, padded, alike, st.just(TOKEN.text.upper()), st.just(TOKEN.text + "\n")))
def test_no_text_but_the_token_itself_is_accepted(text: str) -> None:
    token = Token.parse(text)
    assert (token is not None and token.is_of(RECORD)) == (text == TOKEN.text)


@given(st.integers(), st.integers())
def test_tokens_of_other_randomness_are_others(one: int, other: int) -> None:
    first, record = mint(ORDER, by="", now=NOW, random_bytes=random.Random(one).randbytes, settings=AccessSettings())
    second, _ = mint(ORDER, by="", now=NOW, random_bytes=random.Random(other).randbytes, settings=AccessSettings())
    assert second.is_of(record) == (first.text == second.text)
    assert not first.is_of(None)
    assert first.secret not in repr((first, record))
    assert record.digest != first.secret


@given(
    st.floats(0.5, 1000),
    st.integers(1, 50),
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 2)), max_size=200),
)
def test_nobody_gets_more_than_the_burst_and_the_rate(rps: float, burst: int, asked: list[tuple[str, float]]) -> None:
    now = 0.0
    buckets = Buckets(rps, burst, 10, lambda: now)
    taken = dict.fromkeys("abc", 0)
    for key, pause in asked:
        now += pause
        looked, wait = buckets.look(key), buckets.take(key)
        assert looked == wait
        assert wait >= 0
        taken[key] += not wait
        assert taken[key] <= burst + rps * now + 1e-6
        if wait:
            now += wait * 1.000_001 + 1e-9
            assert buckets.take(key) == 0, "after the time that it says"
            taken[key] += 1


@given(st.integers(1, 20), st.lists(st.integers(0, 100), max_size=300))
def test_no_more_callers_are_remembered_than_the_limit(limit: int, keys: list[int]) -> None:
    buckets = Buckets(1.0, 2.0, limit, lambda: 0.0)
    for key in keys:
        buckets.take(str(key))
        assert len(buckets._levels) <= limit
