"""The golden manifests against the reference, and against themselves."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cellplane.errors import SignatureError
from cellplane.publishing.keys import KeyUse, PublicKey
from cellplane.publishing.manifest import Manifest
from cellplane.publishing.trust import Trust
from conformance.manifests import vectors

FILE = Path(__file__).parent / "vectors" / "manifests.json"
GOLDEN: dict[str, Any] = json.loads(FILE.read_text())
TRUST = Trust(
    PublicKey(Ed25519PublicKey.from_public_bytes(bytes.fromhex(key["public"])), KeyUse("", key["not_after"]))
    for key in GOLDEN["trusted"]
)


@pytest.mark.parametrize("case", GOLDEN["manifests"], ids=lambda case: case["name"])
def test_a_manifest_is_taken_or_refused_as_written_down(case: dict[str, Any]) -> None:
    data = case["manifest"].encode("latin-1")
    if case["error"] is None:
        manifest = Manifest.parse(data)
        assert manifest.encode() == data
        assert TRUST.verify(manifest, now=GOLDEN["now"]) == case["key"]
        return
    with pytest.raises(SignatureError, match=case["error"]):
        TRUST.verify(Manifest.parse(data), now=GOLDEN["now"])


def test_the_ids_of_keys_are_as_written_down() -> None:
    assert list(TRUST.keys) == [key["id"] for key in GOLDEN["trusted"]]


def test_the_file_is_what_the_generator_writes() -> None:
    assert vectors() == GOLDEN
