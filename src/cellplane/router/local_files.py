"""What a router reads from its own disk beside tables: the keys that verify tokens and cookies, and that sign proofs.

Each file is checked and copied when it is read. Where it is damaged or gone later, the copy goes on.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import structlog

from cellplane.cell.proof import parse_keys
from cellplane.durable import write_durably
from cellplane.errors import RouterError, ValidationError
from cellplane.model import KeySourceKind
from cellplane.router.settings import RouterSettings
from cellplane.routing import RoutingTable
from cellplane.signed_cookie import Keyring

log = structlog.get_logger()

MAX_LOCAL_FILE_BYTES = 1024 * 1024
"""Largest file of keys."""

_DIGEST_CHARS = 12
_JWKS = "jwks"
_COOKIE_KEYS = "cookie-keys"
_PROOF_KEYS = "proof-keys"


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """Checked contents.

    Attributes:
        jwks: by provider, its JWK Set; without those whose keys were never fetched.
        cookie_keys: a copy of the keys of routing cookies, named by its content; None where no source is a cookie.
        proof_keys: one of the keys by which cells know a router; None where it has none.
    """

    jwks: Mapping[str, str] = field(default_factory=dict, repr=False)
    cookie_keys: Path | None = None
    proof_keys: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """The copies that a proxy reads."""
        return [path for path in (self.cookie_keys, self.proof_keys) if path is not None]


class LocalFolder:
    """Reads the files that a table asks for, and keeps their last good copies.

    Args:
        folder: of the copies; created when missing, readable by its owner only.
        cookie_keys: the file of keys of routing cookies; None where this router has none.
        proof_keys: the file of keys by which cells know this router; None where it has none.
    """

    def __init__(self, folder: Path, cookie_keys: Path | None, proof_keys: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder.absolute()
        self._cookie_keys = cookie_keys
        self._proof_keys = proof_keys
        self._said: dict[Path, str] = {}

    @classmethod
    def of(cls, settings: RouterSettings) -> Self:
        """The router's."""
        return cls(settings.state_dir.absolute() / "keys", settings.cookie_keys, settings.proof_keys)

    def read(self, table: RoutingTable) -> LocalFiles:
        """What this table needs.

        Raises:
            RouterError: a file cannot be used and has no copy, or the table needs one that this router has not.
        """
        jwks: dict[str, str] = {}
        for provider in table.edge.jwt:
            if provider.jwks_file:
                jwks[provider.name] = self._read(Path(provider.jwks_file), _JWKS, _check_jwks)
            elif self.has_jwks(provider.jwks_url):
                jwks[provider.name] = self._copy(_JWKS, provider.jwks_url).read_text()
        proof_keys = None
        if self._proof_keys is not None:
            proof_keys = self._named_copy(self._proof_keys, _PROOF_KEYS, _check_proof_keys)
        if all(source.kind is not KeySourceKind.COOKIE for source in table.key_sources):
            return LocalFiles(jwks, proof_keys=proof_keys)
        if self._cookie_keys is None:
            raise RouterError("a key source is a signed cookie, and this router was started without --cookie-keys")
        return LocalFiles(jwks, self._named_copy(self._cookie_keys, _COOKIE_KEYS, _check_cookie_keys), proof_keys)

    def forget_others(self, files: LocalFiles) -> None:
        """Remove the keys that no proxy reads any more."""
        for what in (_COOKIE_KEYS, _PROOF_KEYS):
            for copy in self._folder.glob(f"{what}-of-*"):
                if copy not in files.paths:
                    copy.unlink(missing_ok=True)

    def keep_jwks(self, url: str, text: str) -> None:
        """Keep the JWK Set that was fetched from a URL.

        Raises:
            ValidationError: it is none.
        """
        _check_jwks(text)
        _write_where_changed(self._copy(_JWKS, url), text)

    def has_jwks(self, url: str) -> bool:
        """Whether the keys of this URL were ever fetched."""
        return self._copy(_JWKS, url).exists()

    def _named_copy(self, path: Path, what: str, check: Callable[[str], None]) -> Path:
        """A copy of keys that is named by its content: other keys are another file, which a proxy reads anew."""
        text = self._read(path, what, check)
        copy = self._folder / f"{what}-of-{_digest(text)}"
        if not copy.exists():
            write_durably(copy, text.encode())
        return copy

    def _copy(self, what: str, of: str) -> Path:
        return self._folder / f"{what}-at-{_digest(of)}"

    def _read(self, path: Path, what: str, check: Callable[[str], None]) -> str:
        copy = self._copy(what, str(path))
        try:
            text = _text(path)
            check(text)
        except (OSError, ValidationError) as error:
            return self._last_good(path, copy, str(error))
        if self._said.pop(path, None) is not None:
            log.info("local_file_usable", path=str(path))
        _write_where_changed(copy, text)
        return text

    def _last_good(self, path: Path, copy: Path, error: str) -> str:
        """The copy, and a word about it, but not the same one all the time."""
        if self._said.get(path) != error:
            self._said[path] = error
            log.error("local_file_unusable", path=str(path), error=error, copy_goes_on=copy.exists())
        try:
            return copy.read_text()
        except OSError:
            raise RouterError(f"{path}: {error}") from None


def _write_where_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        write_durably(path, text.encode())


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_LOCAL_FILE_BYTES + 1)
    if len(data) > MAX_LOCAL_FILE_BYTES:
        raise ValidationError(str(path), f"expected at most {MAX_LOCAL_FILE_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValidationError(str(path), f"expected UTF-8: {error.reason} at byte {error.start}") from None


def _check_cookie_keys(text: str) -> None:
    Keyring.parse(text)


def _check_proof_keys(text: str) -> None:
    parse_keys(text)


def _check_jwks(text: str) -> None:
    """Raise ValidationError unless this looks like a JWK Set (RFC 7517, 5). The proxy would take anything, and then
    refuse every token.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValidationError("jwks", f"expected a JWK Set: {error}") from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not keys:
        raise ValidationError("jwks.keys", "expected at least one key")
    for place, key in enumerate(keys):
        if not isinstance(key, dict) or not isinstance(key.get("kty"), str):
            raise ValidationError(f"jwks.keys[{place}].kty", "expected a key type such as RSA, EC or OKP")
        if "d" in key or key["kty"] == "oct":
            raise ValidationError(f"jwks.keys[{place}]", "a secret key does not belong into a set of public ones")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]
