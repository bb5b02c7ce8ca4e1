"""Rules about partition keys: a key has to be stable, of many values, verified, and known at the edge."""

import re
from collections.abc import Iterator

from cellplane.manifest.lint.finding import Hit, LintRule, Severity
from cellplane.manifest.settings import LintSettings
from cellplane.model import KeySource, KeySourceKind, Topology

UNSTABLE = frozenset(
    [
        "addr",
        "address",
        "agent",
        "authorization",
        "bearer",
        "correlation",
        "date",
        "email",
        "exp",
        "fingerprint",
        "firstname",
        "hostname",
        "iat",
        "ip",
        "ja3",
        "jsessionid",
        "jti",
        "lastname",
        "login",
        "mail",
        "mobile",
        "msisdn",
        "name",
        "nickname",
        "nonce",
        "phone",
        "phpsessid",
        "request",
        "session",
        "sessionid",
        "sid",
        "time",
        "timestamp",
        "token",
        "trace",
        "traceparent",
        "ua",
        "useragent",
        "username",
    ]
)
"""Words of names whose values change while the tenant stays the same."""

FEW_VALUES = frozenset(
    [
        "continent",
        "country",
        "currency",
        "edition",
        "env",
        "environment",
        "gender",
        "geo",
        "jurisdiction",
        "lang",
        "language",
        "locale",
        "market",
        "os",
        "plan",
        "platform",
        "region",
        "role",
        "segment",
        "sku",
        "status",
        "tier",
        "timezone",
        "tz",
        "version",
    ]
)
"""Words of names that have few different values."""

IN_BODY = frozenset(["body", "form", "graphql", "json", "payload", "xml"])
"""Words of names that say that the value is taken from a request's body."""

VERIFIED = frozenset({KeySourceKind.JWT_CLAIM, KeySourceKind.COOKIE})
"""Sources that prove who the tenant is."""

_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")


def _named(topology: Topology, words: frozenset[str]) -> Iterator[tuple[str, KeySource, str]]:
    """Each source whose name has one of these words: its path, itself, and the word."""
    for place, source in enumerate(topology.fleet.key_sources):
        if source.kind is not KeySourceKind.SUBDOMAIN:
            found = [word.lower() for word in _WORD.findall(source.name)]
            for word in [*found, "".join(found)]:
                if word in words:
                    yield f"fleet.key_sources[{place}].name", source, word
                    break


def _unstable(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    for path, source, word in _named(topology, UNSTABLE):
        yield Hit(path, f"{source.name!r} looks like a {word}, which changes: the tenant then lands in another cell")


def _few_values(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    for path, source, word in _named(topology, FEW_VALUES):
        yield Hit(path, f"{source.name!r} looks like a {word}, of few values: all who share one are in one cell")


def _in_body(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    for path, source, _word in _named(topology, IN_BODY):
        yield Hit(path, f"{source.name!r} looks derived from a body, which a router does not read")


def _before_verified(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    sources = topology.fleet.key_sources
    for place, source in enumerate(sources):
        later = next((other for other in sources[place:] if other.kind in VERIFIED), None)
        if source.kind not in VERIFIED and later is not None:
            yield Hit(
                f"fleet.key_sources[{place}]",
                f"the {source.kind.value} {source.name!r}, which proves nothing, counts before the {later.kind.value} "
                f"{later.name!r}",
            )


def _any_audience(topology: Topology, _settings: LintSettings) -> Iterator[Hit]:
    for place, provider in enumerate(topology.fleet.jwt):
        if not provider.audiences:
            yield Hit(
                f"fleet.jwt[{place}].audiences",
                f"whatever {provider.issuer} signs for any service counts as a token for this fleet",
            )


RULES = (
    LintRule(
        "CP101",
        Severity.ERROR,
        "The partition key is unstable: an e-mail, phone number, IP address, user agent, session, name …",
        "Take an id that the tenant keeps for life, such as a tenant id.",
        _unstable,
    ),
    LintRule(
        "CP102",
        Severity.ERROR,
        "The partition key has few values: a region, country, plan, tier, locale …",
        "Take the tenant's id as the key, and rules or pools for its region or plan.",
        _few_values,
    ),
    LintRule(
        "CP103",
        Severity.WARNING,
        "The partition key is derived from a request's body.",
        "Have the client send the key in a token, a header, the host or the path.",
        _in_body,
    ),
    LintRule(
        "CP104",
        Severity.WARNING,
        "A header, host or path, which prove nothing, counts before a claim or cookie, which are verified.",
        "Put the verified sources first.",
        _before_verified,
    ),
    LintRule(
        "CP105",
        Severity.WARNING,
        "Tokens count whatever audience they are for.",
        "Name the audience that the issuer gives to tokens for this product.",
        _any_audience,
    ),
)
