"""Invariants of signed publications: no changed byte, of a manifest or of its table, is ever taken."""

from contextlib import suppress
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.errors import SignatureError, TableError
from cellplane.publishing.manifest import Manifest, Part, Signature, Statement
from cellplane.publishing.trust import Trust
from cellplane.routing import RoutingTable
from unit.publishing.tables import NOW, key_of, overlaid, signed

checksums = st.binary(min_size=32, max_size=32).map(bytes.hex)
sizes = st.integers(0, 1 << 40)
signatures = st.dictionaries(
    st.binary(min_size=8, max_size=8).map(bytes.hex), st.binary(min_size=64, max_size=64), max_size=8
).map(lambda found: tuple(Signature(*each) for each in sorted(found.items())))


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    base_epoch = draw(st.integers(1, (1 << 64) - 2))
    base = Part("base", base_epoch, draw(checksums), draw(sizes))
    epoch = draw(st.integers(base_epoch, (1 << 64) - 1))
    overlay = None if epoch == base_epoch else Part("overlay", epoch, draw(checksums), draw(sizes))
    fleet = draw(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True))
    return Statement(fleet, epoch, draw(st.integers(0, 1 << 60)), base, overlay)


@given(statements(), signatures)
def test_a_manifest_has_one_form(statement: Statement, found: tuple[Signature, ...]) -> None:
    manifest = Manifest(statement, found)
    assert Manifest.parse(manifest.encode()) == manifest


@cache
def publication() -> tuple[bytes, bytes]:
    """A signed manifest, and the base and the overlay that it is about."""
    table = overlaid(3, 5)
    assert table.overlay is not None
    return signed(table, 1, 2).encode(), bytes(table.base.data) + bytes(table.overlay.data)


def is_taken(manifest: bytes, data: bytes) -> bool:
    try:
        found = Manifest.parse(manifest)
        Trust([key_of(1).public, key_of(2).public]).verify(found, now=NOW)
        found.statement.check_describes(RoutingTable.of_publication(data))
    except TableError:
        return False
    return True


def test_the_publication_is_taken() -> None:
    assert is_taken(*publication())


@settings(deadline=None)
@given(st.data())
def test_any_changed_byte_of_a_manifest_is_noticed(data: st.DataObject) -> None:
    manifest, table = publication()
    changed = bytearray(manifest)
    for place in data.draw(st.sets(st.integers(0, len(changed) - 1), min_size=1, max_size=4)):
        changed[place] ^= data.draw(st.integers(1, 255))
    # Of two signatures, one by a key that nobody knows is as if it were not there: what it signs is what it was.
    if is_taken(bytes(changed), table):
        assert Manifest.parse(bytes(changed)).statement == Manifest.parse(manifest).statement
        assert signers_of(bytes(changed)) != signers_of(manifest)


def signers_of(manifest: bytes) -> list[str]:
    return [signature.key_id for signature in Manifest.parse(manifest).signatures]


@settings(deadline=None)
@given(st.data())
def test_any_changed_byte_of_a_table_is_noticed(data: st.DataObject) -> None:
    manifest, table = publication()
    changed = bytearray(table)
    # Half of them in the overlay, which is a hundredth of the bytes.
    places = st.integers(0, len(changed) - 1) | st.integers(len(changed) - 448, len(changed) - 1)
    for place in data.draw(st.sets(places, min_size=1, max_size=4)):
        changed[place] ^= data.draw(st.integers(1, 255))
    assert not is_taken(manifest, bytes(changed))


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_nothing_else_is_a_manifest(data: bytes) -> None:
    with suppress(SignatureError):
        assert Manifest.parse(data).encode() == data
