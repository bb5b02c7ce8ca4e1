"""What a manifest says of a table, and who takes it."""

import pytest

from cellplane.errors import SignatureError
from cellplane.publishing.keys import KeyUse
from cellplane.publishing.manifest import Manifest, Statement, from_header, to_header
from cellplane.publishing.signer import Signer
from cellplane.publishing.trust import Trust
from unit.publishing.tables import NOW, base_of, key_of, overlaid, signed


def test_a_manifest_is_of_the_very_bytes_of_its_table() -> None:
    for table in (base_of(3), overlaid(3, 5)):
        statement = signed(table, 1).statement
        statement.check_describes(table)
        assert statement.tag == table.tag
        assert [part.size_bytes for part in statement.parts] == [
            len(layer.data) for layer in (table.base, table.overlay) if layer is not None
        ]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (base_of(4), "epoch"),
        (base_of(3, cells=3), "base"),
        (base_of(3, fleet="shoe"), "fleet"),
        (overlaid(3, 5, "cell-2"), "epoch"),
    ],
)
def test_another_table_is_refused_and_it_is_said_what_differs(other: object, what: str) -> None:
    statement = signed(base_of(3), 1).statement
    with pytest.raises(SignatureError, match=f"its {what} is"):
        statement.check_describes(other)  # type: ignore[arg-type]  # of a parameter
    with pytest.raises(SignatureError, match="its overlay is"):
        signed(overlaid(3, 5), 1).statement.check_describes(overlaid(3, 5, "cell-2"))


def test_a_manifest_vouches_for_its_table_and_for_the_base_of_it() -> None:
    statement = signed(overlaid(3, 5), 1).statement
    assert statement.vouches_for(overlaid(3, 5))
    assert statement.vouches_for(base_of(3))
    assert not statement.vouches_for(base_of(4))
    assert not statement.vouches_for(overlaid(3, 6))
    assert not signed(base_of(3), 1).statement.vouches_for(overlaid(3, 5))


def test_another_fleet_is_refused() -> None:
    with pytest.raises(SignatureError, match="is of fleet 'shop', expected 'shoe'"):
        signed(base_of(3), 1).statement.check_fleet("shoe")


def test_a_key_counts_until_its_end_and_a_table_on_disk_for_longer() -> None:
    key = key_of(1, KeyUse("eu", NOW + 10))
    manifest = Signer([key], lambda: NOW).manifest(base_of(3))
    trust = Trust([key.public])
    assert trust.verify(manifest, now=NOW + 10) == key.id
    with pytest.raises(SignatureError, match="has expired"):
        trust.verify(manifest, now=NOW + 11)
    assert trust.verify(manifest, now=None) == key.id


def test_what_was_signed_after_the_end_of_a_key_never_counts() -> None:
    statement = Statement.of(base_of(3), published_at=NOW)
    past = key_of(1, KeyUse("eu", NOW - 1))
    manifest = Signer([key_of(1)], lambda: NOW).manifest(base_of(3))
    assert manifest.statement == statement
    with pytest.raises(SignatureError, match="has expired"):
        Trust([past.public]).verify(manifest, now=None)


def test_the_signer_signs_once_with_every_key_that_counts() -> None:
    times = iter([NOW, NOW + 100, NOW + 200])
    keys = [key_of(1), key_of(2, KeyUse("us", NOW + 50)), key_of(1)]
    signer = Signer(keys, lambda: next(times))
    first = signer.manifest(base_of(3))
    assert [each.key_id for each in first.signatures] == sorted([key_of(1).id, key_of(2).id])
    assert signer.manifest(base_of(3)) is first
    assert [each.key_id for each in signer.manifest(overlaid(3, 5)).signatures] == [key_of(1).id]


def test_without_keys_a_manifest_is_unsigned() -> None:
    manifest = Signer([], lambda: NOW).manifest(base_of(3))
    assert Manifest.parse(manifest.encode()) == manifest
    with pytest.raises(SignatureError, match="is not signed"):
        Trust([key_of(1).public]).verify(manifest, now=NOW)


def test_a_manifest_fits_into_a_header() -> None:
    data = signed(overlaid(3, 5), 1, 2, 3, 4, 5, 6, 7, 8).encode()
    header = to_header(data)
    assert from_header(header) == data
    assert len(header) < 2000
    for value in ("a", "ä", "a b", "+/"):
        with pytest.raises(SignatureError, match="base64url"):
            from_header(value)
