"""Golden manifests: what each says, and why each of the others is refused (docs/publishing.md)."""

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cellplane.publishing.keys import KeyUse, SigningKey
from cellplane.publishing.manifest import Manifest, Part, Signature, Statement

NOW = 1_800_000_000
EARLIER = NOW - 86_400


def _key(seed: int, use: KeyUse) -> SigningKey:
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)), use)


EU = _key(1, KeyUse("eu"))
US = _key(2, KeyUse("us", NOW + 60))
EXPIRED = _key(3, KeyUse("eu", EARLIER))
STRANGER = _key(4, KeyUse())
BASE = Part("base", 17, "0f" * 32, 263_232)
OVERLAY = Part("overlay", 21, "a1" * 32, 448)
ALONE = Statement("shop", 17, NOW - 5, BASE)
TOGETHER = Statement("shop", 21, NOW - 5, BASE, OVERLAY)


def signed(statement: Statement, *keys: SigningKey) -> Manifest:
    """A statement signed by these keys."""
    data = statement.encode()
    return Manifest(statement, tuple(sorted((Signature(k.id, k.sign(data)) for k in keys), key=lambda s: s.key_id)))


def _case(name: str, text: bytes, error: str | None = None, by: SigningKey | None = None) -> dict[str, Any]:
    """A manifest, whom it is taken from, or a part of the reason why it is not."""
    return {"name": name, "manifest": text.decode("latin-1"), "key": None if by is None else by.id, "error": error}


def vectors() -> dict[str, Any]:
    """All of them."""
    good = signed(TOGETHER, EU).encode()
    head, line = TOGETHER.encode(), good[len(TOGETHER.encode()) :]
    forged = signed(ALONE, EU).encode()[len(ALONE.encode()) :]
    return {
        "description": "A router trusts the keys of `trusted` at `now`. Each manifest is latin-1 text. It is taken, by "
        "the signature of `key`, or refused: `error` is a part of what the reference says.",
        "now": NOW,
        "trusted": [
            {
                "id": key.id,
                "public": key.public.key.public_bytes_raw().hex(),
                "jurisdiction": key.use.jurisdiction,
                "not_after": key.use.not_after,
            }
            for key in (EU, US, EXPIRED)
        ],
        "manifests": [
            _case("a base", signed(ALONE, EU).encode(), by=EU),
            _case("a base and an overlay", good, by=EU),
            _case("another trusted key", signed(TOGETHER, US).encode(), by=US),
            _case("beside a key that nobody knows", signed(TOGETHER, EU, STRANGER).encode(), by=EU),
            _case("beside a key that has expired", signed(TOGETHER, EU, EXPIRED).encode(), by=EU),
            _case("unsigned", TOGETHER.encode(), "is not signed"),
            _case("a key that nobody knows", signed(TOGETHER, STRANGER).encode(), "does not trust"),
            _case("a key that has expired", signed(TOGETHER, EXPIRED).encode(), "has expired"),
            _case("the signature of another statement", head + forged, "is wrong"),
            _case("a changed epoch", good.replace(b"epoch 21", b"epoch 22"), "is wrong"),
            _case("a changed fleet", good.replace(b"fleet shop", b"fleet shoe"), "is wrong"),
            _case("a changed checksum", good.replace(b"a1a1", b"a1a2", 1), "is wrong"),
            _case("a changed size", good.replace(b" 448", b" 449"), "is wrong"),
            _case("of another version", good.replace(b"publication-1", b"publication-2"), "begins with"),
            _case("a number with a zero in front", good.replace(b"epoch 21", b"epoch 021"), "begins with"),
            _case("a line too many", head + b"note 1\n" + line, "begins with"),
            _case("line ends of others", good.replace(b"\n", b"\r\n"), "begins with"),
            _case("cut short", good[:-1], "begins with"),
            _case("something behind it", good + b"\n", "begins with"),
            _case("the same signature twice", good + line, "each once"),
            _case("an epoch before its base's", good.replace(b"epoch 21", b"epoch 16"), "out of range"),
            _case("an overlay of its base's epoch", good.replace(b"epoch 21", b"epoch 17"), "or neither"),
            _case("a name that is none", good.replace(b"fleet shop", b"fleet -hop"), "is no name"),
            _case("nothing", b"", "begins with"),
            _case("too large", good + line * 60, "at most 4096 bytes"),
        ],
    }
