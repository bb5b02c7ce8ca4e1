"""When two answers are the same, and what is said where they are not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.shadow.comparison import MAX_DIFFERENCES, Difference, Outcome, Verdict, compare, differences
from unit.shadow.answers import answer, zipped

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc/~", max_size=2), inner, max_size=3),
    max_leaves=12,
)


def compared(cell: Any, shadow: Any, *ignored: str) -> Verdict:
    return compare(answer(value=cell, ignored=ignored), answer("shadow", shadow))


def told(cell: Any, shadow: Any, *ignored: str) -> list[tuple[str, ...]]:
    return [tuple(difference) for difference in compared(cell, shadow, *ignored).differences]


def test_the_order_of_names_and_the_form_of_numbers_do_not_count() -> None:
    cell = answer(body=b'{"a": 1, "b": [1.0, "x"]}')
    shadow = answer("shadow", body=b'{ "b":[1,"x"],"a":1 }')
    assert compare(cell, shadow) == Verdict(Outcome.MATCH)


def test_a_difference_is_a_path_and_two_kinds() -> None:
    cell = {"a": "secret", "b": [1, {"c": None}], "same": 1, "gone": {"x": 1}, "t": True}
    shadow = {"a": "other!", "b": [1, {"c": False}, 3], "same": 1, "new": [1, 2], "t": 1}
    assert told(cell, shadow) == [
        ("/a", "text of 6", "text of 6"),
        ("/b/1/c", "null", "boolean"),
        ("/b/2", "nothing", "number"),
        ("/gone", "object of 1", "nothing"),
        ("/t", "boolean", "number"),
        ("/new", "nothing", "list of 2"),
    ]
    assert told([1], {"a": 1}) == [("/", "list of 1", "object of 1")]


def test_names_that_may_be_values_are_not_told() -> None:
    cell = {"bob@example.com": {"token8f3a": 1, "price": 2}, "v1": {"4711": "a"}}
    shadow = {"bob@example.com": {"token8f3a": 2, "price": 3}, "v1": {"4711": "b"}}
    assert [path for path, _, _ in told(cell, shadow)] == ["/*/*", "/*/price", "/v1/*"]


@pytest.mark.parametrize(
    ("ignored", "outcome"),
    [
        ((), Outcome.MISMATCH),
        (("/at",), Outcome.MISMATCH),
        (("/items/*/id",), Outcome.MISMATCH),
        (("/at", "/items/*/id"), Outcome.MATCH),
        (("/at", "/items/0/id", "/items/1/id"), Outcome.MATCH),
        (("/at", "/items"), Outcome.MATCH),
        (("/*",), Outcome.MATCH),
        (("/at", "/items/*/id/x"), Outcome.MISMATCH),
    ],
)
def test_what_is_ignored_may_differ_with_all_that_is_inside(ignored: tuple[str, ...], outcome: Outcome) -> None:
    cell = {"at": 1, "items": [{"id": 1, "n": 5}, {"id": [2], "n": 6}]}
    shadow = {"at": 2, "items": [{"id": 7, "n": 5}, {"n": 6}]}
    assert compared(cell, shadow, *ignored).outcome is outcome


def test_slashes_and_tildes_in_names_are_escaped_as_in_json_pointers() -> None:
    assert compared({"a/b": 1, "c~d": 1}, {"a/b": 2, "c~d": 2}, "/a~1b", "/c~0d") == Verdict(Outcome.MATCH)


@given(JSON, JSON)
def test_there_is_a_difference_exactly_where_json_differs(cell: Any, shadow: Any) -> None:
    found = list(differences(cell, shadow, ()))
    if json.dumps(cell, sort_keys=True) == json.dumps(shadow, sort_keys=True):
        assert not found
    assert not list(differences(cell, cell, ()))
    assert bool(found) == bool(list(differences(shadow, cell, ())))


def test_status_and_media_type_count_and_parameters_of_the_latter_do_not() -> None:
    cell = answer(value=1)
    assert compare(cell, answer("shadow", 1, content_type="Application/JSON; charset=utf-8")).outcome is Outcome.MATCH
    assert compare(cell, answer("shadow", 1, status=500)).differences == (Difference("status", "200", "500"),)
    other = compare(cell, answer("shadow", 1, content_type=""))
    assert other.differences == (Difference("content-type", "text of 16", "nothing"),)


def test_what_is_not_json_is_compared_byte_for_byte() -> None:
    one = answer(body=b"hello", content_type="text/plain")
    assert compare(one, answer("shadow", body=b"hello", content_type="text/plain")).outcome is Outcome.MATCH
    other = compare(one, answer("shadow", body=b"goodbye", content_type="text/plain"))
    assert other.differences == (Difference("body", "5 bytes", "7 bytes"),)


@pytest.mark.parametrize("body", [b"{", b"[" * 30_000, b"\xff", b"1" * 5_000])
def test_what_calls_itself_json_and_is_not_is_compared_byte_for_byte(body: bytes) -> None:
    found = compare(answer(body=body), answer("shadow", body=b"{}"))
    assert found.differences == (Difference("body", f"{len(body)} bytes", "2 bytes"),)


def test_compressed_bodies_are_compared_by_what_they_hold() -> None:
    cell = answer(body=zipped([1] * 100, 1), encoding="gzip")
    assert compare(cell, answer("shadow", body=zipped([1] * 100, 9), encoding="gzip")).outcome is Outcome.MATCH
    assert compare(cell, answer("shadow", [1] * 100)).outcome is Outcome.MATCH
    assert compare(cell, answer("shadow", [1] * 99)).outcome is Outcome.MISMATCH
    bomb = answer("shadow", body=zipped([1] * 1_000_000, 9), encoding="gzip")
    assert [difference.path for difference in compare(cell, bomb).differences] == ["body"]
    assert compare(answer(value=1, encoding="br"), answer("shadow", 2, encoding="br")).differences[0].path == "body"


def test_of_what_is_too_large_the_digest_counts() -> None:
    def large(side: str, digest: str, **fields: Any) -> Any:
        return answer(side, body=b"[1, ", length=90_000, digest=digest, **fields)

    assert compare(large("cell", "a"), large("shadow", "a")).outcome is Outcome.MATCH
    assert compare(large("cell", "a"), large("shadow", "b")) == Verdict(Outcome.TOO_LARGE)
    assert compare(large("cell", "a"), large("shadow", "b", status=404)).outcome is Outcome.MISMATCH
    text = {"content_type": "text/html"}
    assert compare(large("cell", "a", **text), large("shadow", "b", **text)).outcome is Outcome.MISMATCH


def test_what_gave_no_answer_is_not_compared() -> None:
    assert compare(answer(value=1), answer("shadow", 1, status=0)) == Verdict(Outcome.UNANSWERED)
    assert compare(answer(value=1, status=0), answer("shadow", 1)) == Verdict(Outcome.UNANSWERED)


def test_no_more_differences_are_told_than_may_be() -> None:
    found = compare(answer(value=list(range(100))), answer("shadow", [None] * 100, status=201))
    assert len(found.differences) == MAX_DIFFERENCES
    assert found.differences[0].path == "status"
