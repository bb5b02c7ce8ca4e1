"""Whose signatures count."""

from collections.abc import Iterable, Mapping

from cellplane.errors import SignatureError
from cellplane.publishing.keys import PublicKey
from cellplane.publishing.manifest import Manifest


class Trust:
    """Keys that are trusted.

    Args:
        keys: at least one; what stands twice counts once.
    """

    def __init__(self, keys: Iterable[PublicKey]) -> None:
        self.keys: Mapping[str, PublicKey] = {key.id: key for key in keys}
        assert self.keys, "who trusts nobody takes no table"

    def verify(self, manifest: Manifest, *, now: int | None) -> str:
        """Check that a trusted key signed a manifest, and that no signature in the name of one is wrong.

        Args:
            now: Unix seconds; None for what was verified before, when it came: a router that starts again years later
                still has its table.

        Returns:
            The id of such a key.

        Raises:
            SignatureError: unsigned, by keys that are not trusted or have expired, or not what the key signed.
        """
        if not manifest.signatures:
            raise SignatureError(f"the table is not signed, and this router trusts {_list(self.keys)} alone")
        statement = manifest.statement
        signed = statement.encode()
        good: list[str] = []
        expired: list[str] = []
        for signature in manifest.signatures:
            key = self.keys.get(signature.key_id)
            if key is None:
                continue
            if not key.verifies(signature.value, signed):
                raise SignatureError(f"the signature of key {key.id} is wrong: somebody changed the manifest")
            at = max(statement.published_at, now or 0)
            (expired if key.use.expired_at(at) else good).append(key.id)
        if good:
            return good[0]
        if expired:
            raise SignatureError(f"key {_list(expired)} has expired: sign with a newer one, and let routers trust it")
        found = [signature.key_id for signature in manifest.signatures]
        raise SignatureError(
            f"signed by key {_list(found)}, which this router does not trust: it trusts {_list(self.keys)}"
        )


def _list(ids: Iterable[str]) -> str:
    return ", ".join(ids)
