"""Keys from claims and cookies: which source counts, and what becomes of a request that proves nothing."""

from collections.abc import Callable, Mapping
from typing import Any

from cellplane.model import Cell, Fleet, JwtProvider, KeySource, KeySourceKind, MissingKey, Pool, Topology
from cellplane.routing import Decision, Refusal, Route, RoutingTable, compile_table, encode
from cellplane.routing.decide import RefusalCode, decide_request
from cellplane.routing.keys import RequestKeys, key_value

ISSUER = JwtProvider("id", "https://id.example/", ("shop",), jwks_file="/etc/jwks.json")
CLAIM = KeySource(KeySourceKind.JWT_CLAIM, "org.id")
COOKIE = KeySource(KeySourceKind.COOKIE, "route")
HEADER = KeySource.trusted_header("x-tenant-id")


def table_of(*sources: KeySource, jwt: tuple[JwtProvider, ...] = (), **policy: Any) -> RoutingTable:
    fleet = Fleet("shop", sources, jwt=jwt, **policy)
    topology = Topology(fleet, (Cell("cell-1", "127.0.0.1", 8001),), (Pool("default", ("cell-1",)),))
    return RoutingTable(encode(compile_table(topology, 3)))


ALL = table_of(CLAIM, COOKIE, HEADER, jwt=(ISSUER,))
Values = Mapping[str, tuple[bytes, ...]]


def request_of(header: Values | None = None, claim: Values | None = None, cookie: Values | None = None) -> RequestKeys:
    """A request with these headers, claims and cookies by name."""

    def read(values: Values | None) -> Callable[[str], tuple[bytes, ...]]:
        return lambda name: (values or {}).get(name, ())

    return RequestKeys(read(header), claim=read(claim), cookie=read(cookie))


def asked(table: RoutingTable, request: RequestKeys) -> Decision:
    return decide_request(table, request, writes=False, has_healthy_host=lambda _cell: True)


def routed(**values: Values) -> bytes | None:
    """The key of a request that is routed."""
    request = request_of(**values)
    assert isinstance(asked(ALL, request), Route)
    return key_value(ALL.key_sources, request)


def refused(**values: Values) -> RefusalCode:
    decision = asked(ALL, request_of(**values))
    assert isinstance(decision, Refusal)
    return decision.code


def test_the_first_source_that_has_a_value_counts() -> None:
    header, cookie, claim = {"x-tenant-id": (b"of-header",)}, {"route": (b"of-cookie",)}, {"org.id": (b"of-claim",)}
    assert routed(header=header) == b"of-header"
    assert routed(header=header, cookie=cookie) == b"of-cookie"
    assert routed(header=header, cookie=cookie, claim=claim) == b"of-claim"
    assert routed(header=header, claim={"org.id": (b"",)}) == b"of-header"
    assert routed(header=header, claim={"sub": (b"of-claim",)}, cookie={"other": (b"of-cookie",)}) == b"of-header"


def test_two_values_of_a_source_are_ambiguous_where_it_is_asked() -> None:
    twice = (b"a", b"b")
    assert refused(claim={"org.id": twice}) is RefusalCode.AMBIGUOUS_KEY
    assert refused(cookie={"route": twice}) is RefusalCode.AMBIGUOUS_KEY
    assert routed(claim={"org.id": (b"a",)}, cookie={"route": twice}) == b"a"


def test_a_claim_or_cookie_that_is_no_key_is_not_passed_over() -> None:
    header = {"x-tenant-id": (b"a",)}
    assert refused(claim={"org.id": (b"a/b",)}, header=header) is RefusalCode.INVALID_KEY
    assert refused(cookie={"route": (b"a b",)}, header=header) is RefusalCode.INVALID_KEY


def test_without_a_key_a_request_is_asked_for_a_token_where_one_would_do() -> None:
    assert refused() is RefusalCode.UNAUTHENTICATED
    assert (RefusalCode.UNAUTHENTICATED.code, int(RefusalCode.UNAUTHENTICATED.status)) == ("unauthenticated", 401)
    for sources, jwt in (((COOKIE, HEADER), ()), ((HEADER,), (ISSUER,))):
        decision = asked(table_of(*sources, jwt=jwt), request_of())
        assert isinstance(decision, Refusal)
        assert decision.code is RefusalCode.MISSING_KEY
    served = asked(table_of(CLAIM, jwt=(ISSUER,), missing_key=MissingKey.SOURCE_HASH), request_of())
    assert isinstance(served, Route)
