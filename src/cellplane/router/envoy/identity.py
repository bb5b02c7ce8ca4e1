"""Renders whom Envoy believes: whose tokens it verifies, and the headers that hand their claims to the module."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cellplane.model import JwtProvider, KeySourceKind
from cellplane.placement import key_hash
from cellplane.router.envoy.names import CLAIM_HEADER_PREFIX
from cellplane.router.local_files import LocalFiles
from cellplane.router.settings import RouterSettings
from cellplane.routing import RoutingTable

Json = dict[str, Any]

JWT_FILTER_TYPE = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"

_BEARER = "earer "
"""Of the scheme's name what ``Bearer`` and ``bearer`` share: its case does not count (RFC 9110, 11.1). To Envoy it
does, which looks for these bytes anywhere in the header, and would take as long again to look for another spelling."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the filter for tokens needs to know.

    Attributes:
        providers: whose tokens are verified.
        claims: those that are handed over.
        jwks: keys of the providers whose keys are known, by provider.
    """

    providers: Sequence[JwtProvider] = ()
    claims: frozenset[str] = frozenset()
    jwks: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, table: RoutingTable, files: LocalFiles) -> "Identity":
        """A table's."""
        claims = frozenset(source.name for source in table.key_sources if source.kind is KeySourceKind.JWT_CLAIM)
        return cls(table.edge.jwt, claims, files.jwks)

    def joined(self, leaving: "Identity") -> "Identity":
        """This, and the claims that only ``leaving`` has: while routes of both are there, each finds its own."""
        return Identity(self.providers, self.claims | leaving.claims, self.jwks)


def claim_header(claim: str) -> str:
    """The header of a claim; of one claim always the same, whatever other claims a table reads."""
    return f"{CLAIM_HEADER_PREFIX}{key_hash(claim.encode()):08x}"


def jwt_filter(identity: Identity, settings: RouterSettings) -> Json:
    """The filter's configuration. A request without a token passes; one with a token that is not valid gets a 401."""
    if not identity.providers:
        return {"@type": JWT_FILTER_TYPE}
    providers = [{"provider_name": provider.name} for provider in identity.providers]
    # Asking one provider, or none, costs a request less than asking for any of several, of which nothing is one.
    shown = providers[0] if len(providers) == 1 else _any_of(providers)
    bearer = {"name": "authorization", "string_match": {"contains": _BEARER}}
    cookies = [{"name": "cookie", "string_match": {"contains": f"{name}="}} for name in _cookies(identity)]
    return {
        "@type": JWT_FILTER_TYPE,
        "providers": {provider.name: _provider(provider, identity, settings) for provider in identity.providers},
        "rules": [
            _rule(bearer, shown),
            # What only looks like the cookie is no token.
            *(_rule(cookie, _any_of([*providers, {"allow_missing": {}}])) for cookie in cookies),
        ],
    }


def _rule(header: Json, requires: Json) -> Json:
    return {"match": {"prefix": "/", "headers": [header]}, "requires": requires}


def _any_of(requirements: Sequence[Json]) -> Json:
    return {"requires_any": {"requirements": list(requirements)}}


def _cookies(identity: Identity) -> list[str]:
    return sorted({provider.cookie for provider in identity.providers if provider.cookie})


def _provider(provider: JwtProvider, identity: Identity, settings: RouterSettings) -> Json:
    return {
        "issuer": provider.issuer,
        "audiences": list(provider.audiences),
        **_keys(provider, identity),
        # The same places for all: where each looked at its own, a token that one refuses could pass by another's.
        "from_headers": [{"name": "Authorization", "value_prefix": _BEARER}],
        "from_cookies": _cookies(identity),
        # The cell may want to know the user, too.
        "forward": True,
        "require_expiration": True,
        "clock_skew_seconds": provider.clock_skew_seconds,
        "claim_to_headers": [
            {"header_name": claim_header(claim), "claim_name": claim} for claim in sorted(identity.claims)
        ],
        "jwt_cache_config": {"jwt_cache_size": settings.token_cache_size},
    }


def _keys(provider: JwtProvider, identity: Identity) -> Json:
    """The keys, as the agent read or fetched them. Envoy would not read a changed file again, and would go on believing
    the tokens that it remembers after it fetched other keys.
    """
    known = identity.jwks.get(provider.name)
    if known is not None:
        return {"local_jwks": {"inline_string": known}}
    # Not fetched yet. A cluster that is not there makes Envoy say so, and not that the token is wrong.
    nowhere = {"uri": "http://nowhere.invalid/", "cluster": "keys-not-fetched-yet", "timeout": "1s"}
    return {"remote_jwks": {"http_uri": nowhere}}
