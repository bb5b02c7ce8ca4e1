"""Subjects that name a tenant and a cell, and which subjects a stream takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.moves.carriers.subjects import SubjectPattern, covers
from cellplane.moves.errors import MoveError, NotMovableError

WORDS = st.sampled_from(["a", "b", "c"])
SUBJECTS = st.lists(WORDS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.tuples(st.lists(st.sampled_from(["a", "b", "*"]), max_size=3), st.sampled_from(["a", "b", "*", ">"])).map(
    lambda parts: ".".join([*parts[0], parts[1]])
)


def fits(pattern: str, subject: str) -> bool:
    """As NATS says it, of a subject without wildcards."""
    wanted, words = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted, words = wanted[:-1], words[: len(wanted) - 1] if len(words) >= len(wanted) else ["none"] * 9
    return len(wanted) == len(words) and all(each in {"*", word} for each, word in zip(wanted, words, strict=True))


@given(PATTERNS, PATTERNS, SUBJECTS)
def test_what_covers_a_pattern_takes_all_that_fits_it(wide: str, narrow: str, subject: str) -> None:
    if covers(wide, narrow) and fits(narrow, subject):
        assert fits(wide, subject)


@given(PATTERNS, SUBJECTS)
def test_it_covers_just_the_subjects_that_fit(pattern: str, subject: str) -> None:
    assert covers(pattern, subject) == fits(pattern, subject)


@pytest.mark.parametrize(
    ("text", "filtered", "subject", "there"),
    [
        ("deliveries.{cell}", "deliveries.cell-1", "deliveries.cell-1", "deliveries.cell-2"),
        ("orders.{tenant}.>", "orders.acme.>", "orders.acme.new.cell-1", "orders.acme.new.cell-1"),
        ("{cell}.*.{tenant}", "cell-1.*.acme", "cell-1.x.acme", "cell-2.x.acme"),
    ],
)
def test_a_pattern_names_a_tenants_subjects_at_each_cell(text: str, filtered: str, subject: str, there: str) -> None:
    pattern = SubjectPattern(text)
    assert pattern.of("acme", "cell-1") == filtered
    assert pattern.at(subject, "cell-2") == there
    assert pattern.names_tenant == ("{tenant}" in text)


@pytest.mark.parametrize("text", ["", "a..b", "a.>.b", "a b", "a.{tenant}x", "{who}", ".a"])
def test_what_is_no_subject_is_refused(text: str) -> None:
    with pytest.raises(MoveError, match="expected a subject of words"):
        SubjectPattern(text)


@pytest.mark.parametrize("tenant", ["a.b", "*", ">", "a b", ""])
def test_a_tenant_whose_id_is_no_word_needs_a_header(tenant: str) -> None:
    with pytest.raises(NotMovableError, match="let a header name it instead"):
        SubjectPattern("orders.{tenant}").of(tenant, "cell-1")
    assert SubjectPattern("deliveries.{cell}").of(tenant, "cell-1") == "deliveries.cell-1"
