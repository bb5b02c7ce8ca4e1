"""Renders whom Envoy believes: whose tokens it verifies, and the headers that hand their claims to the module."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cellplane.model import JwtProvider, KeySourceKind
from cellplane.placement import key_hash
from cellplane.router.envoy.names import CLAIM_HEADER_PREFIX
from cellplane.router.local_files import LocalFiles
from cellplane.router.settings import RouterSettings
from cellplane.routing import RoutingTable

Json = dict[str, Any]

JWT_FILTER_TYPE = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"


@dataclass(frozen=True, slots=True)
class Identity:
    """What the filter for tokens needs to know.

    Attributes:
        providers: whose tokens are verified.
        claims: those that are handed over.
        jwks: keys of the providers that have them in a file, by provider.
    """

    providers: Sequence[JwtProvider] = ()
    claims: frozenset[str] = frozenset()
    jwks: Mapping[str, str] | None = None

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


def jwks_cluster(provider: JwtProvider) -> str:
    """Name of the cluster from which a provider's keys are fetched. No cell can have it: it has a colon."""
    url = urlsplit(provider.jwks_url)
    return f"jwks:{url.scheme}://{url.netloc}"


def jwks_providers(providers: Iterable[JwtProvider]) -> dict[str, JwtProvider]:
    """One provider of each cluster that has keys to fetch."""
    return {jwks_cluster(provider): provider for provider in providers if provider.jwks_url}


def jwt_filter(identity: Identity, settings: RouterSettings) -> Json:
    """The filter's configuration. A request without a token passes; one with a token that is not valid gets a 401."""
    names = [provider.name for provider in identity.providers]
    if not names:
        return {"@type": JWT_FILTER_TYPE}
    requirements = [*({"provider_name": name} for name in names), {"allow_missing": {}}]
    return {
        "@type": JWT_FILTER_TYPE,
        "providers": {provider.name: _provider(provider, identity, settings) for provider in identity.providers},
        "rules": [{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": requirements}}}],
    }


def _provider(provider: JwtProvider, identity: Identity, settings: RouterSettings) -> Json:
    return {
        "issuer": provider.issuer,
        "audiences": list(provider.audiences),
        **_keys(provider, identity, settings),
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "from_cookies": [provider.cookie] if provider.cookie else [],
        # The cell may want to know the user, too.
        "forward": True,
        "require_expiration": True,
        "clock_skew_seconds": provider.clock_skew_seconds,
        "claim_to_headers": [
            {"header_name": claim_header(claim), "claim_name": claim} for claim in sorted(identity.claims)
        ],
        "jwt_cache_config": {"jwt_cache_size": settings.token_cache_size},
    }


def _keys(provider: JwtProvider, identity: Identity, settings: RouterSettings) -> Json:
    if provider.jwks_file:
        assert identity.jwks is not None, "the file was read before"
        return {"local_jwks": {"inline_string": identity.jwks[provider.name]}}
    return {
        "remote_jwks": {
            "http_uri": {
                "uri": provider.jwks_url,
                "cluster": jwks_cluster(provider),
                "timeout": f"{settings.jwks_timeout_seconds:.3f}s",
            },
            "cache_duration": f"{settings.jwks_cache_seconds:.0f}s",
            "async_fetch": {"fast_listener": True, "failed_refetch_duration": f"{settings.jwks_retry_seconds:.0f}s"},
        }
    }
