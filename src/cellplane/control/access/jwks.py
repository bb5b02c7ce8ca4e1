"""The keys of an identity provider: fetched or read now and then, bounded, the last good ones kept."""

import json
import ssl
import threading
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from cellplane.control.access.settings import OidcSettings
from cellplane.errors import UnauthenticatedError, ValidationError

log = structlog.get_logger()

Key = RSAKey | ECKey | OKPKey

_KINDS: dict[str, tuple[type[RSAKey] | type[ECKey] | type[OKPKey], str | None]] = {
    "RS256": (RSAKey, None),
    "ES256": (ECKey, "P-256"),
    "EdDSA": (OKPKey, "Ed25519"),
}
"""By algorithm: what its keys are, and on which curve."""

MIN_RSA_BITS = 2048


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: whoever can redirect says whose keys count."""


class Jwks:
    """Public keys by id. Safe to share between threads: ``look`` alone waits for the provider.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, settings: OidcSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._keys: dict[str, Mapping[str, Any]] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._looks = False
        self._lock = threading.Lock()

    def needs_look(self, kid: str) -> bool:
        """Whether there may be newer keys: they are old, or this one is not known and may be under way."""
        return self._is_due(kid) or (self._looks and kid not in self._keys)

    def look(self, kid: str) -> None:
        """Read the keys again, where it is time for that. Blocks, also while another thread does."""
        with self._lock:
            if self._is_due(kid):
                self._looks = True
                try:
                    self._look()
                finally:
                    self._looks = False

    def key(self, kid: str, algorithm: str) -> Key:
        """The key of an id, for an algorithm.

        Raises:
            UnauthenticatedError: there is none, or it is for another algorithm, or none could be fetched for too long.
        """
        age = None if self._fetched_at is None else self._clock() - self._fetched_at
        found = None if age is None or age > self._settings.keys_kept_seconds else self._keys.get(kid)
        if found is None:
            raise UnauthenticatedError("the token is signed by a key that its issuer does not show")
        return _key(found, algorithm)

    def _is_due(self, kid: str) -> bool:
        now = self._clock()
        if self._tried_at is not None and now - self._tried_at < self._settings.keys_pause_seconds:
            return False
        is_old = self._fetched_at is None or now - self._fetched_at >= self._settings.keys_refresh_seconds
        return is_old or kid not in self._keys

    def _look(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = _parse(self._read())
        except (OSError, ValueError, RecursionError, ValidationError) as error:
            log.error("oidc_keys_not_read", source=self._settings.jwks, error=str(error), known=len(self._keys))
        else:
            self._fetched_at = self._clock()

    def _read(self) -> bytes:
        limit = self._settings.max_keys_bytes
        source = self._settings.jwks
        if not source.startswith(("https://", "http://")):
            with open(source, "rb") as file:  # noqa: PTH123  # a path as the operator wrote it
                data = file.read(limit + 1)
        else:
            context = ssl.create_default_context(cafile=self._settings.ca_file)
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirect()
            )
            with opener.open(source, timeout=self._settings.keys_timeout_seconds) as answer:
                data = answer.read(limit + 1)
        if len(data) > limit:
            raise ValidationError("jwks", f"expected at most {limit} bytes")
        return bytes(data)


def check_source(source: str) -> None:
    """Raise ValidationError unless keys may come from there: a file, or over TLS, or from this machine."""
    if source.startswith("http://") and urlsplit(source).hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise ValidationError(
            "--oidc-jwks", f"{source}: whoever is on the way could give other keys; expected https:// or a file"
        )


def _parse(data: bytes) -> dict[str, Mapping[str, Any]]:
    document = json.loads(data)
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValidationError("jwks", "expected a JWK Set (RFC 7517)")
    found: dict[str, Mapping[str, Any]] = {}
    for each in document["keys"]:
        if isinstance(each, dict) and isinstance(each.get("kid"), str) and each.get("use", "sig") == "sig":
            found[each["kid"]] = each
    if not found:
        raise ValidationError("jwks", "expected at least one key with a kid")
    return found


def _key(found: Mapping[str, Any], algorithm: str) -> Key:
    kind, curve = _KINDS[algorithm]
    wrong = UnauthenticatedError("the token's key is not for its algorithm")
    if found.get("kty") != kind.key_type or found.get("alg", algorithm) != algorithm:
        raise wrong
    if curve is not None and found.get("crv") != curve:
        raise wrong
    # The public half alone, whatever else the document has.
    if kind is RSAKey and _bits(found.get("n")) < MIN_RSA_BITS:
        raise wrong
    public = {name: found[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in found}
    try:
        return kind.import_key(public)
    except (JoseError, ValueError, TypeError) as error:
        raise wrong from error


def decode(text: str) -> bytes:
    """Base64url without padding (RFC 7515, 2).

    Raises:
        ValueError: it is none.
    """
    return b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)


def _bits(modulus: object) -> int:
    try:
        return int.from_bytes(decode(str(modulus))).bit_length()
    except ValueError:
        return 0
