"""Who signs the tokens that prove a tenant (RFC 7519), and where their public keys are (RFC 7517)."""

from collections.abc import Sequence
from dataclasses import dataclass

from cellplane.errors import ValidationError
from cellplane.model.key import check_name
from cellplane.model.url import MAX_URL_CHARS, check_url, check_url_text

MAX_JWT_PROVIDERS = 8
"""Most providers of a fleet: a token is tried with each until one knows its issuer."""

MAX_AUDIENCES = 16
"""Most audiences of a provider."""

MAX_JWT_TEXT_CHARS = MAX_URL_CHARS
"""Longest issuer, audience, URL or path."""

MAX_COOKIE_CHARS = 64
"""Longest name of a cookie."""

CLOCK_SKEW_SECONDS = 60
"""How far off a provider's clock may be where a fleet says nothing: what verifiers commonly allow."""

MAX_CLOCK_SKEW_SECONDS = 300
"""Most that a provider's clock may differ from a router's."""


@dataclass(frozen=True, slots=True)
class JwtProvider:
    """One issuer of tokens. A router verifies signature, issuer, audience and time before it believes a claim.

    Attributes:
        name: DNS label, unique in the fleet.
        issuer: what the claim ``iss`` says.
        audiences: one of these is in the claim ``aud``; none: the claim does not count.
        jwks_url: where its keys are fetched; ``https``, or ``http`` on loopback. Empty where ``jwks_file`` is given.
        jwks_file: absolute path of its keys on each router, which looks again when the file changes. Empty where
            ``jwks_url`` is given.
        cookie: a cookie that carries the token where no ``Authorization: Bearer`` does; empty for none.
        clock_skew_seconds: how far its clock may be off, 1 to 300.
    """

    name: str
    issuer: str
    audiences: tuple[str, ...] = ()
    jwks_url: str = ""
    jwks_file: str = ""
    cookie: str = ""
    clock_skew_seconds: int = CLOCK_SKEW_SECONDS

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        check_name(f"{field}.name", self.name)
        check_url_text(f"{field}.issuer", self.issuer)
        if len(self.audiences) > MAX_AUDIENCES or len(set(self.audiences)) != len(self.audiences):
            raise ValidationError(
                f"{field}.audiences", f"expected at most {MAX_AUDIENCES}, none twice; found {len(self.audiences)}"
            )
        for place, audience in enumerate(self.audiences):
            check_url_text(f"{field}.audiences[{place}]", audience)
        if bool(self.jwks_url) == bool(self.jwks_file):
            found = "both" if self.jwks_url else "neither"
            raise ValidationError(f"{field}.jwks_url", f"expected a jwks_url or a jwks_file, found {found}")
        if self.jwks_url:
            check_url(
                f"{field}.jwks_url",
                self.jwks_url,
                example="https://id.example.com/jwks.json",
                why_https="whoever answers here signs for every tenant",
            )
        else:
            check_url_text(f"{field}.jwks_file", self.jwks_file)
            if not self.jwks_file.startswith("/"):
                raise ValidationError(f"{field}.jwks_file", f"expected an absolute path, found {self.jwks_file!r}")
        if self.cookie:
            check_cookie_name(f"{field}.cookie", self.cookie)
        if not 1 <= self.clock_skew_seconds <= MAX_CLOCK_SKEW_SECONDS:
            raise ValidationError(
                f"{field}.clock_skew_seconds",
                f"expected 1 to {MAX_CLOCK_SKEW_SECONDS}, found {self.clock_skew_seconds}",
            )


def check_providers(field: str, providers: Sequence[JwtProvider]) -> None:
    """Raise ValidationError with the path of the first field of a fleet's providers that breaks a rule."""
    if len(providers) > MAX_JWT_PROVIDERS:
        raise ValidationError(field, f"expected at most {MAX_JWT_PROVIDERS}, found {len(providers)}")
    names: set[str] = set()
    for place, provider in enumerate(providers):
        provider.validate(f"{field}[{place}]")
        if provider.name in names:
            raise ValidationError(f"{field}[{place}].name", f"{provider.name!r} stands twice")
        names.add(provider.name)


def check_cookie_name(field: str, value: str) -> None:
    """Raise ValidationError unless this can be the name of a cookie (RFC 6265, 4.1.1), of letters, digits, ``_-.``."""
    if not 1 <= len(value) <= MAX_COOKIE_CHARS or not all(
        char.isascii() and (char.isalnum() or char in "_-.") for char in value
    ):
        raise ValidationError(
            field, f"expected the name of a cookie: 1 to {MAX_COOKIE_CHARS} letters, digits and _ - . ; found {value!r}"
        )
