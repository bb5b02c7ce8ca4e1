"""Tricks with headers: those that only routers set, those that look like them, too many, too large, broken ones."""

from cellplane.model import KeySourceKind
from cellplane.router.envoy.identity import claim_header
from fuzz.draft import Draft, Says
from fuzz.fleet import CELLS, CLAIM, TENANT_HEADER

MAX_HEADERS = 100
SPOOFED = (
    "x-cell-id",
    "x-cell-epoch",
    "x-cell-shadow",
    "x-cell-priority",
    "x-cell-pool",
    "x-cell-reason",
    "x-cell-mirrored",
    "x-cell-tried",
    "x-cell-refusal",
    "x-cell-",
    "x-cell-anything",
    claim_header(CLAIM),
    "x-cell-claim-0",
)
UNDERSCORED = ("x_tenant_id", "x_cell_id", "x-cell_id", "x_cell-id", "x-tenant_id", "x_cell_epoch", "_")


def trusted(draft: Draft) -> None:
    """The header that one router trusts, and the other takes away."""
    tenant = draft.tenant()
    draft.add(_cased(draft, TENANT_HEADER), draft.rng.choice(["{}", " {}", "{} ", "\t{}\t"]).format(tenant))
    _says(draft, Says((tenant,)))


def trusted_twice(draft: Draft) -> None:
    """The same header twice: ambiguous where it counts, gone where it does not."""
    for _ in range(draft.rng.randint(2, 3)):
        draft.add(_cased(draft, TENANT_HEADER), draft.rng.choice([draft.tenant(), "", "x"]))
    _says(draft, Says(may_refuse=True))


def no_tenant(draft: Draft) -> None:
    """Values that are no tenant's id."""
    odd = [
        "",
        "TENANT-01",
        "tenant-01,tenant-02",
        "tenant-01 tenant-02",
        "%74enant-01",
        "t" * 129,
        "../x",
        "-a",
        "a\xff",
        "é",
        "x" * 9000,
    ]
    value = draft.rng.choice(odd)
    draft.add(TENANT_HEADER, value)
    _says(draft, Says((value,) if value in {"TENANT-01"} else (), may_refuse=True, may_be_silent=value == ""))


def _says(draft: Draft, said: Says) -> None:
    if draft.variant.trusts_header:
        before = any(name.lower() == TENANT_HEADER.encode() for name, _ in draft.headers[:-1])
        draft.says[KeySourceKind.HEADER] = Says(may_refuse=True) if before else said


def spoofed(draft: Draft) -> None:
    """What only routers say: it reaches no cell, and decides nothing."""
    for _ in range(draft.rng.randint(1, 5)):
        name = _cased(draft, draft.rng.choice(SPOOFED))
        draft.add(name, draft.rng.choice([*CELLS, draft.tenant(), "0", "1", "99999999999", "high", "", "agent:", "!"]))


def underscored(draft: Draft) -> None:
    """What an app behind WSGI or PHP would take for a router's header is refused."""
    draft.add(_cased(draft, draft.rng.choice(UNDERSCORED)), draft.rng.choice([*CELLS, draft.tenant()]))
    draft.bad()


def hop_by_hop(draft: Draft) -> None:
    """Headers that `Connection` names are not taken away behind the router's back."""
    claim, cookie, header = KeySourceKind.JWT_CLAIM, KeySourceKind.COOKIE, KeySourceKind.HEADER
    sources = {"authorization": {claim}, "cookie": {claim, cookie}, "x-tenant-id": {header}}
    others = ("x-cell-id", "x-cell-epoch", "host", "keep-alive", "close, x-cell-id")
    name = draft.rng.choice((*sources, *others))
    draft.add("connection", name)
    # Who names a header of its own here takes it away from itself.
    draft.dropped = frozenset(sources.get(name, ()))
    draft.odd()
    draft.ends_connection = True


def many(draft: Draft) -> None:
    """A hundred headers or so."""
    count = draft.rng.choice([90, 99, 100, 101, 150, 400])
    for number in range(count):
        draft.add(f"h-{number}", "v")
    # Those that every request has, and the proxy's own, count too.
    if count >= MAX_HEADERS:
        draft.bad()
    else:
        draft.odd()
        draft.ends_connection = True


def huge(draft: Draft) -> None:
    """One header that is as large as all may be, or larger."""
    kib = draft.rng.choice([1, 8, 30, 61, 70, 128])
    draft.add("x-" + "n" * draft.rng.choice([1, 60, 300]), "v" * (kib * 1024))
    if kib > 60:
        draft.bad()
    elif kib > 20:
        draft.odd()
        draft.ends_connection = True


def line_ends(draft: Draft) -> None:
    """Line ends and other control characters in a value: a value ends there, or the request is refused."""
    inserted = draft.rng.choice([b"\r", b"\0", b"\x0b", b"\x7f", b"\x01", b"\r\r", b"\x85"])
    value = b"a" + inserted + b"x-cell-id: cell-2"
    draft.add(b"x-note", value)
    draft.odd()
    draft.ends_connection = True


def bare_line_feed(draft: Draft) -> None:
    """A line feed alone may end a line: then what follows is one more header, and is treated like any."""
    name = draft.rng.choice(SPOOFED)
    draft.add(b"x-note", b"a\n" + name.encode() + b": " + draft.rng.choice(CELLS).encode())
    draft.odd()
    draft.ends_connection = True


def split(draft: Draft) -> None:
    """A whole header smuggled behind CR LF is one more header, for us and for everybody."""
    name = draft.rng.choice([*SPOOFED, "x-other"])
    draft.add(b"x-note", b"a\r\n" + name.encode() + b": " + draft.rng.choice(CELLS).encode())


def folded(draft: Draft) -> None:
    """A value over two lines (RFC 9112, 5.2)."""
    name = draft.rng.choice(["x-note", TENANT_HEADER])
    draft.add(name, f"a\r\n {draft.tenant()}")
    if name == TENANT_HEADER:
        # A blank stands in it then, which no tenant's id has.
        _says(draft, Says(may_refuse=True))
    draft.odd()
    draft.ends_connection = True


def odd_names(draft: Draft) -> None:
    """Names that are none, or only nearly one."""
    names = [
        b"x-cell-id ",
        b"x-cell-id\t",
        b"x cell id",
        b"x-cell-id\0",
        b"",
        b"x-cell-id:",
        b"x\xc3\xa9",
        b"(x)",
        b"@",
        b'"x"',
    ]
    name = draft.rng.choice(names)
    draft.headers.append((name, draft.rng.choice(CELLS).encode()))
    # `name::` is a name and a value that begins with a colon.
    draft.odd()
    draft.ends_connection = True


def of_proxies(draft: Draft) -> None:
    """What proxies say to each other: believed by nobody who decides."""
    names = [
        "x-forwarded-for",
        "x-forwarded-host",
        "forwarded",
        "x-envoy-original-path",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x-envoy-internal",
        "x-envoy-retry-on",
        "x-envoy-upstream-rq-timeout-ms",
        "x-request-id",
        "x-envoy-decorator-operation",
        "via",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-force-trace",
        "te",
    ]
    for _ in range(draft.rng.randint(1, 3)):
        draft.add(
            draft.rng.choice(names),
            draft.rng.choice(
                [
                    f"{draft.tenant()}.shop.example",
                    "127.0.0.1",
                    "/t/tenant-01",
                    "5xx",
                    "1",
                    "10.0.0.1, 127.0.0.1",
                    "for=1.2.3.4",
                ]
            ),
        )


def methods(draft: Draft) -> None:
    """Methods of all kinds."""
    draft.method = draft.rng.choice(
        ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "get", "FOO", "M-SEARCH"]
    )
    if draft.method in {"get", "FOO", "M-SEARCH", "PROPFIND", "TRACE"}:
        draft.odd()
        draft.ends_connection = True
    elif draft.writes:
        draft.body = b"x" * draft.rng.choice([0, 1, 100, 5000])


def upgrades(draft: Draft) -> None:
    """Upgrades to something else than a WebSocket are refused, or as if they were not there."""
    draft.add("connection", "upgrade")
    draft.add("upgrade", draft.rng.choice(["h2c", "spdy/3.1", "tls/1.3", "foo", "h2c, websocket"]))
    draft.odd()
    draft.ends_connection = True


def expects(draft: Draft) -> None:
    """A client that waits before it sends its body."""
    draft.method = "POST"
    draft.body = b"body"
    draft.add("expect", draft.rng.choice(["100-continue", "100-Continue", "200-ok", "x"]))
    draft.odd()
    draft.ends_connection = True


def _cased(draft: Draft, name: str) -> str:
    form = draft.rng.randrange(4)
    if form == 0:
        return name.upper()
    if form == 1:
        return name.title()
    if form == 2:
        return "".join(char.upper() if draft.rng.random() < 0.5 else char for char in name)
    return name


TRICKS = (
    (5, trusted),
    (2, trusted_twice),
    (2, no_tenant),
    (10, spoofed),
    (2, underscored),
    (2, hop_by_hop),
    (0.7, many),
    (0.7, huge),
    (2, line_ends),
    (2, bare_line_feed),
    (2, split),
    (1, folded),
    (2, odd_names),
    (3, of_proxies),
    (2, methods),
    (1, upgrades),
    (1, expects),
)
