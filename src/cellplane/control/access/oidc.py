"""Callers by tokens of an identity provider (OpenID Connect, RFC 9068): who they are, and what they may do."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from cellplane.control.access.callers import Caller
from cellplane.control.access.jwks import Jwks, check_source, decode
from cellplane.control.access.roles import PERMISSIONS, Role
from cellplane.control.access.settings import OidcSettings
from cellplane.errors import ForbiddenError, UnauthenticatedError, ValidationError

ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""What a token may be signed by. No `none`, and nothing whose key is a secret that others have too."""

# RFC 9864 calls it Ed25519; issuers still say EdDSA.
_VERIFIERS = {name: jws.JWSRegistry.algorithms["Ed25519" if name == "EdDSA" else name] for name in ALGORITHMS}

PREFIX = "oidc:"
"""Begins the names of these callers: no token of the control plane's own has such a one."""

MAX_OIDC_NAME_CHARS = 120
"""Longest name that is taken from a claim."""

_STRONGEST_FIRST = (Role.ADMIN, Role.OPERATOR, Role.VIEWER)


class Oidc:
    """Verifies tokens of one issuer. Safe to share between threads.

    Args:
        clock: seconds that only grow.
        now: the time, UTC.

    Raises:
        ValidationError: the settings cannot be.
    """

    def __init__(self, settings: OidcSettings, clock: Callable[[], float], now: Callable[[], datetime]) -> None:
        check_oidc(settings)
        self._settings = settings
        self._roles = {value: Role(role) for value, role in settings.roles}
        self._now = now
        self._keys = Jwks(settings, clock)

    def needs_look(self, credential: str) -> bool:
        """Whether ``look`` may find its key; raises UnauthenticatedError where it can have none."""
        _, kid = _header(credential)
        return self._keys.needs_look(kid)

    def look(self, credential: str) -> None:
        """Read the issuer's keys again, where it is time for that. Blocks."""
        _, kid = _header(credential)
        self._keys.look(kid)

    def verify(self, credential: str) -> Caller:
        """Whose token it is.

        Raises:
            UnauthenticatedError: its signature, issuer, audience or time is not right.
            ForbiddenError: it gives its holder no role.
        """
        algorithm, kid = _header(credential)
        key = self._keys.key(kid, algorithm)
        signed, _, signature = credential.rpartition(".")
        try:
            is_right = _VERIFIERS[algorithm].verify(signed.encode("ascii"), decode(signature), key)
            claims = json.loads(decode(signed.partition(".")[2])) if is_right else None
        except (JoseError, ValueError, RecursionError) as error:
            raise UnauthenticatedError("the token is none, or was changed") from error
        if not is_right:
            raise UnauthenticatedError("the token's signature is not right")
        if not isinstance(claims, dict):
            raise UnauthenticatedError("the token has no claims")
        self._check(claims)
        return self._caller(claims)

    def _check(self, claims: Mapping[str, Any]) -> None:
        settings, now = self._settings, self._now().timestamp()
        if claims.get("iss") != settings.issuer:
            raise UnauthenticatedError("the token is of another issuer")
        audience = claims.get("aud")
        if settings.audience not in (audience if isinstance(audience, list) else [audience]):
            raise UnauthenticatedError("the token is for another audience")
        expires = _moment(claims, "exp")
        if expires is None or now >= expires + settings.clock_skew_seconds:
            raise UnauthenticatedError("the token has expired, or never does")
        for name in ("nbf", "iat"):
            begins = _moment(claims, name)
            if begins is not None and now < begins - settings.clock_skew_seconds:
                raise UnauthenticatedError("the token is of the future: compare the clocks")

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        name = claims.get(self._settings.name_claim)
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MAX_OIDC_NAME_CHARS:
            raise UnauthenticatedError(f"the token's claim {self._settings.name_claim!r} names nobody")
        said = claims.get(self._settings.role_claim)
        values = said if isinstance(said, list) else [said]
        roles = {self._roles[value] for value in values if isinstance(value, str) and value in self._roles}
        role = next((each for each in _STRONGEST_FIRST if each in roles), None)
        if role is None:
            raise ForbiddenError(f"{name!r} has no role here: the claim {self._settings.role_claim!r} gives none")
        return Caller(f"{PREFIX}{name}", f"{PREFIX}{name}", role, PERMISSIONS[role])


def check_oidc(settings: OidcSettings) -> None:
    """Raise ValidationError where these settings cannot be."""
    check_source(settings.jwks)
    if not settings.issuer or not settings.audience:
        raise ValidationError("--oidc-audience", "expected the issuer and the audience of tokens: both")
    for value, role in settings.roles:
        if role not in {each.value for each in _STRONGEST_FIRST}:
            raise ValidationError("--oidc-role", f"{value}={role}: expected viewer, operator or admin")


def _header(credential: str) -> tuple[str, str]:
    """The algorithm and the key's id, of which nothing is believed yet."""
    try:
        header = json.loads(decode(credential.partition(".")[0]))
    except (ValueError, RecursionError) as error:
        raise UnauthenticatedError("the token is none") from error
    if not isinstance(header, dict) or header.get("alg") not in ALGORITHMS:
        raise UnauthenticatedError(f"the token is signed by no algorithm of {', '.join(ALGORITHMS)}")
    kid = header.get("kid")
    if not isinstance(kid, str) or "crit" in header or "b64" in header:
        raise UnauthenticatedError("the token does not name its key, or asks for more than is understood")
    return header["alg"], kid


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    """A time of a token, seconds since 1970; None where it has none."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise UnauthenticatedError(f"the token's {name} is no time")
    return float(value)
