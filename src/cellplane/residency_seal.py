"""The seal of a residency report: the statement about it, and who signed that."""

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from cellplane.errors import SignatureError, ValidationError
from cellplane.planning.residency_files import Statement
from cellplane.publishing.keys import PublicKey
from cellplane.publishing.manifest import Signature

SEAL_HEADER = "X-Cellplane-Seal"
"""Of an answer that is a report: its seal, as one line of JSON."""

MAX_SEAL_BYTES = 64 * 1024
"""Longest seal that is read."""

_SIGNATURE_BYTES = 64
_KEY_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Seal:
    """A statement and the signatures over its bytes; none where nobody signed."""

    statement: Statement
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a seal.

        Raises:
            SignatureError: these bytes are none.
        """
        if len(data) > MAX_SEAL_BYTES:
            raise SignatureError(f"expected a seal of at most {MAX_SEAL_BYTES:,} bytes, found {len(data):,}")
        try:
            said = json.loads(data)
            if not isinstance(said, dict) or said.keys() != {"statement", "signatures"}:
                raise ValidationError("seal", "expected a statement and its signatures")
            statement = Statement.parse(said["statement"])
            if not isinstance(said["signatures"], list):
                raise ValidationError("signatures", "expected a list")
            signatures = tuple(map(_signature, said["signatures"]))
        except (ValueError, RecursionError, ValidationError) as error:
            raise SignatureError(
                f"expected the seal of a residency report, as the control plane gives it: {error}"
            ) from error
        return cls(statement, signatures)

    def to_header(self) -> str:
        """One line of JSON, ASCII."""
        statement = json.loads(self.statement.to_bytes())
        signatures = [{"key": each.key_id, "signature": b64encode(each.value).decode()} for each in self.signatures]
        return json.dumps({"statement": statement, "signatures": signatures}, separators=(",", ":"))

    def require_digest(self, sha256: str) -> None:
        """Raise SignatureError unless this, hexadecimal, is of the file that the statement is about."""
        if sha256 != self.statement.sha256:
            raise SignatureError(
                f"the file is another than the one that was signed: expected sha256 {self.statement.sha256}, found "
                f"{sha256}; make the report anew"
            )

    def require(self, lines: Iterable[bytes], keys: Sequence[PublicKey], *, now: int) -> tuple[PublicKey, ...]:
        """The keys by which the statement counts, in the order of the signatures.

        One for a jurisdiction counts by any key of that, or of all. One for all tenants counts by a key of all, or by
        one of each jurisdiction that any trusted key has: no jurisdiction speaks for the tenants of another.

        Args:
            lines: of the file.
            keys: that are trusted.
            now: Unix seconds.

        Raises:
            SignatureError: the file is not the one that is spoken of, or not enough of those who are trusted signed.
        """
        digest = hashlib.sha256()
        for line in lines:
            digest.update(line)
        self.require_digest(digest.hexdigest())
        data, law = self.statement.to_bytes(), self.statement.jurisdiction
        by_id = {key.id: key for key in keys}
        found: dict[str, PublicKey] = {}
        for each in self.signatures:
            key = by_id.get(each.key_id)
            if key is not None and key.use.signs_for(law) and not key.use.expired_at(now):
                if not key.verifies(each.value, data):
                    raise SignatureError(f"the signature of key {each.key_id} is not of this statement")
                found[key.id] = key
        signers = ", ".join(each.key_id for each in self.signatures) or "nobody"
        if not found:
            whose = f" for {law}" if law else ""
            raise SignatureError(f"it is signed by {signers}; none of the keys that are trusted{whose} is among them")
        missing = set() if law else _silent(found.values(), keys)
        if missing:
            raise SignatureError(
                f"it is about all tenants, and signed by {signers}: expected a key of all jurisdictions, or one of "
                f"each that is trusted; none of {', '.join(sorted(missing))} is among them"
            )
        return tuple(found.values())


def _silent(signers: Iterable[PublicKey], trusted: Iterable[PublicKey]) -> set[str]:
    """The jurisdictions that have a key among those trusted, and none among the signers; none where one is of all."""
    said = {key.use.jurisdiction for key in signers}
    return set() if "" in said else {key.use.jurisdiction for key in trusted} - said - {""}


def _signature(said: object) -> Signature:
    match said:
        case {"key": str(key_id), "signature": str(text), **rest} if _KEY_ID.fullmatch(key_id) and not rest:
            # Not to be read as base64: a ValueError too.
            value = b64decode(text, validate=True)
            if len(value) == _SIGNATURE_BYTES:
                return Signature(key_id, value)
    raise ValidationError("signatures", f"expected each with the id of a key and {_SIGNATURE_BYTES} bytes in base64")
