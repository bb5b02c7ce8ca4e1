"""Whose signatures it takes for a residency report to count."""

import hashlib
from itertools import product

import pytest

from cellplane.errors import SignatureError
from cellplane.planning.residency_files import Form, Statement
from cellplane.publishing.keys import KeyUse, SigningKey
from cellplane.publishing.manifest import Signature
from cellplane.residency_seal import Seal

NOW = 1_800_000_000
FILE = b"tenant\nacme\n"
ALL = ""
KEYS = {law: SigningKey.generate(KeyUse(law)) for law in (ALL, "eu", "us")}


def seal(jurisdiction: str, *keys: SigningKey) -> Seal:
    digest = hashlib.sha256(FILE).hexdigest()
    statement = Statement("shop", jurisdiction, 7, "2027-01-15T08:00:00Z", Form.CSV, 1, 0, digest)
    return Seal(statement, tuple(Signature(key.id, key.sign(statement.to_bytes())) for key in keys))


def counts(jurisdiction: str, signers: str, trusted: str) -> bool:
    """Whether a report counts; keys by their laws, divided by spaces, ``all`` for none."""

    def found(laws: str) -> list[SigningKey]:
        return [KEYS["" if law == "all" else law] for law in laws.split()]

    sealed = seal(jurisdiction, *found(signers))
    try:
        by = sealed.require([FILE], [key.public for key in found(trusted)], now=NOW)
    except SignatureError:
        return False
    assert [key.id for key in by] == [
        key.id for key in found(signers) if key in found(trusted) and key.use.signs_for(jurisdiction)
    ]
    return True


@pytest.mark.parametrize(
    ("signers", "trusted", "expected"),
    [
        ("us", "eu us", False),
        ("us", "all eu us", False),
        ("us", "all us", True),
        ("us", "us", True),
        ("us", "eu", False),
        ("us", "all", False),
        ("eu us", "eu us", True),
        ("eu us", "all eu us", True),
        ("us all", "all eu us", True),
        ("us all", "eu us", False),
        ("all", "all eu us", True),
        ("", "all eu us", False),
    ],
)
def test_no_jurisdiction_speaks_for_the_tenants_of_another(signers: str, trusted: str, expected: bool) -> None:
    assert counts(ALL, signers, trusted) == expected


def test_a_report_for_a_jurisdiction_counts_by_its_key_or_one_of_all() -> None:
    for signer, trusted in product(("eu", "us", "all"), repeat=2):
        assert counts("eu", signer, trusted) == (signer == trusted != "us")
    assert counts("eu", "us eu", "us eu")


def test_who_is_missing_is_told() -> None:
    with pytest.raises(SignatureError, match=r"one of each that is trusted; none of eu is among them"):
        seal(ALL, KEYS["us"]).require([FILE], [KEYS["eu"].public, KEYS["us"].public], now=NOW)


def test_a_key_that_has_expired_speaks_no_more_and_its_jurisdiction_is_still_asked_for() -> None:
    old, other = SigningKey.generate(KeyUse("eu", NOW - 1)), SigningKey.generate(KeyUse("us"))
    with pytest.raises(SignatureError, match="none of eu"):
        seal(ALL, old, other).require([FILE], [old.public, other.public], now=NOW)
    assert seal(ALL, old, other).require([FILE], [old.public, other.public], now=NOW - 1) == (old.public, other.public)


def test_one_wrong_signature_in_the_name_of_a_trusted_key_is_enough_to_refuse() -> None:
    right = seal(ALL, KEYS["eu"], KEYS["us"])
    wrong = Seal(right.statement, (right.signatures[0], Signature(KEYS["us"].id, bytes(64))))
    with pytest.raises(SignatureError, match="is not of this statement"):
        wrong.require([FILE], [KEYS["eu"].public, KEYS["us"].public], now=NOW)
