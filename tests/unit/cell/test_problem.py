"""The document of a refusal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.cell import Problem


def test_document_has_the_members_of_the_specification() -> None:
    document = json.loads(Problem("wrong-cell", 421, "Title", "Detail", {"cell": "cell-a"}).encode())
    assert document == {
        "type": "urn:cellplane:problem:wrong-cell",
        "title": "Title",
        "status": 421,
        "detail": "Detail",
        "code": "wrong-cell",
        "cell": "cell-a",
    }


def test_members_cannot_hide_the_documents_own() -> None:
    with pytest.raises(AssertionError):
        Problem("a", 400, "b", "c", {"status": 200})


def test_success_is_no_problem() -> None:
    with pytest.raises(AssertionError):
        Problem("a", 200, "b", "c")


@given(detail=st.text(st.characters(), max_size=20))
def test_any_text_can_be_told(detail: str) -> None:
    assert json.loads(Problem("a", 400, "b", detail).encode())["detail"] == detail
