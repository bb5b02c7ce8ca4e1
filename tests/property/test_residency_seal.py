"""A seal comes from whoever hands in a report: whatever it says, it is read as what it is, or refused."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cellplane.errors import SignatureError
from cellplane.planning.residency_files import KIND
from cellplane.residency_seal import MAX_SEAL_BYTES, Seal

VALID: dict[str, Any] = {
    "statement": {
        "kind": KIND, "fleet": "shop", "jurisdiction": "eu", "epoch": 7, "at": "2026-01-01T00:00:00Z", "form": "csv",
        "tenants": 3, "violations": 0, "sha256": "0" * 64,
    },
    "signatures": [{"key": "0" * 16, "signature": "A" * 86 + "=="}],
}  # fmt: skip

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def nearly_seals(draw: st.DrawFn) -> object:
    """A valid seal with something else in one place, or one place less or more."""
    seal = json.loads(json.dumps(VALID))
    part = draw(st.sampled_from([seal, seal["statement"], seal["signatures"][0]]))
    name = draw(st.sampled_from([*part, "more"]))
    if draw(st.booleans()):
        part[name] = draw(values)
    else:
        part.pop(name, None)
    return seal


def read(data: bytes) -> None:
    """What is read is whole: it can be written and read again, and every word for people be shown."""
    with suppress(SignatureError):
        seal = Seal.parse(data)
        assert Seal.parse(seal.to_header().encode()) == seal
        said = seal.statement
        shown = f"{said.fleet} {said.jurisdiction} {said.epoch or '-'} {said.at} {said.tenants:,} {said.violations:,}"
        assert shown.isascii()
        assert shown.isprintable()


def test_a_seal_is_read() -> None:
    seal = Seal.parse(json.dumps(VALID).encode())
    assert json.loads(seal.to_header()) == VALID
    assert json.loads(seal.statement.to_bytes()) == VALID["statement"]


@given(values | nearly_seals())
@example({**VALID, "statement": {**VALID["statement"], "tenants": "abc"}})
@example({**VALID, "statement": {**VALID["statement"], "tenants": True}})
@example({**VALID, "statement": {**VALID["statement"], "fleet": "\x1b[2J"}})
@example({**VALID, "statement": {**VALID["statement"], "form": []}})
@example({**VALID, "signatures": {"key": 1}})
def test_any_json_is_a_seal_or_refused(said: object) -> None:
    read(json.dumps(said).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_seal_or_refused(data: bytes) -> None:
    read(data)


@pytest.mark.parametrize("opening", [b"[", b'{"statement":', b'{"signatures":[', b'{"statement":{"tenants":['])
def test_what_is_nested_too_deeply_is_refused(opening: bytes) -> None:
    with pytest.raises(SignatureError):
        Seal.parse(opening * (MAX_SEAL_BYTES // len(opening)))


@given(nearly_seals())
def test_a_field_counts_only_as_it_is_meant(said: Any) -> None:
    try:
        seal = Seal.parse(json.dumps(said).encode())
    except SignatureError:
        return
    assert json.loads(seal.to_header()) == said, "nothing was dropped or taken for something else"
