"""Subjects of events: every id is one token, and back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.events import InvalidEventError
from cellplane.events.subjects import check_type, name_of, parts_of, subject_of, token_of
from cellplane.model.key import KEY_BYTES, KEY_FIRST_BYTES

KEYS = st.builds(
    lambda first, rest: first + rest,
    st.sampled_from(KEY_FIRST_BYTES.decode()),
    st.text(st.sampled_from(KEY_BYTES.decode()), max_size=127),
)
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)
TYPES = st.from_regex(r"[A-Za-z0-9_-]{1,20}(\.[A-Za-z0-9_-]{1,20}){0,3}", fullmatch=True)
TOKEN = re.compile(r"[^\s.*>\x00-\x20]+")


@given(st.one_of(KEYS, VISIBLE))
def test_an_id_is_one_token_and_comes_back(name: str) -> None:
    token = token_of(name)
    assert TOKEN.fullmatch(token)
    assert name_of(token) == name


@given(VISIBLE, VISIBLE)
def test_two_ids_never_share_a_token(one: str, other: str) -> None:
    assert (token_of(one) == token_of(other)) == (one == other)


@given(st.text(max_size=20))
def test_a_token_that_stands_for_an_id_is_the_only_one(token: str) -> None:
    try:
        name = name_of(token)
    except InvalidEventError:
        return
    assert token_of(name) == token


@given(VISIBLE, KEYS, TYPES)
def test_a_subject_says_cell_tenant_and_type(cell: str, tenant: str, type_: str) -> None:
    assert parts_of(subject_of(cell, tenant, type_)) == (cell, tenant, type_)


def test_plain_ids_can_be_read() -> None:
    assert subject_of("cell-3", "acme", "order.created") == "events.cell-3.acme.order.created"
    assert subject_of("cell-3", "acme.eu@x", "order.created") == "events.cell-3.acme=2Eeu=40x.order.created"


@pytest.mark.parametrize("token", ["", "a.b", "=2e", "=41", "a=", "=2", "é", "a b", "*", ">", "=00", "x" * 129, "=20"])
def test_other_tokens_are_refused(token: str) -> None:
    with pytest.raises(InvalidEventError):
        name_of(token)


@pytest.mark.parametrize(
    "subject", ["", "events", "events.a", "events.a.b", "other.a.b.c", "events.a.b.c.", "events..b.c"]
)
def test_other_subjects_are_refused(subject: str) -> None:
    with pytest.raises(InvalidEventError):
        parts_of(subject)


@pytest.mark.parametrize("type_", ["", ".", "a..b", "a.", "order created", "a*", ">", "é", "x" * 101])
def test_other_types_are_refused(type_: str) -> None:
    with pytest.raises(InvalidEventError, match="type: expected"):
        check_type(type_)


@pytest.mark.parametrize("tenant", ["", "a b", "é", "a\n", "x" * 129])
def test_other_tenants_are_refused(tenant: str) -> None:
    with pytest.raises(InvalidEventError, match="visible ASCII"):
        token_of(tenant)
