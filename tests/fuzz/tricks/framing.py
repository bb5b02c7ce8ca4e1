"""Tricks with where a request ends: what one reader takes for a body, another might take for the next request."""

from collections.abc import Sequence

from cellplane.model import KeySourceKind
from fuzz.draft import MARKER, Draft, Says
from fuzz.fleet import DOMAIN

_CRLF = b"\r\n"


def _begin(draft: Draft, method: str = "POST") -> list[bytes]:
    """A sound request's lines, by a tenant's host."""
    tenant = draft.tenant()
    draft.method = method
    draft.says = {KeySourceKind.SUBDOMAIN: Says((tenant,))}
    draft.headers, draft.is_refused = [], False
    line = f"{method} /x HTTP/1.1".encode()
    return [line, f"Host: {tenant}.{DOMAIN}".encode(), MARKER.encode() + b": %MARKER%"]


def _inner(draft: Draft, *, may_be_asked: bool) -> bytes:
    """Another request, for another tenant. Where it may be asked at all, then as what it is: a request of its own."""
    tenant = draft.tenant()
    marker = draft.marker_of([tenant] if may_be_asked else [])
    lines = [b"GET /inner HTTP/1.1", f"Host: {tenant}.{DOMAIN}".encode(), MARKER.encode() + b": " + marker]
    if draft.rng.random() < 0.5:
        lines.append(b"x-cell-id: cell-1")
    return _CRLF.join([*lines, b"", b""])


def _ends(draft: Draft, lines: Sequence[bytes], body: bytes) -> None:
    draft.raw = _CRLF.join([*lines, b"", b""]) + body
    draft.ends_connection = True


def length_and_chunks(draft: Draft) -> None:
    """Content-Length beside Transfer-Encoding is refused (RFC 9112, 6.1)."""
    lines = _begin(draft)
    inner = _inner(draft, may_be_asked=False)
    chunks = b"0\r\n\r\n" + inner
    length = draft.rng.choice([len(chunks), 0, 4, 5, 6, len(inner)])
    both = [b"Content-Length: %d" % length, b"Transfer-Encoding: chunked"]
    draft.rng.shuffle(both)
    _ends(draft, [*lines, *both], chunks)
    draft.bad()


def odd_encodings(draft: Draft) -> None:
    """Transfer encodings that are not quite `chunked`, with a length or without one."""
    rng = draft.rng
    lines = _begin(draft)
    names = [
        b"xchunked",
        b"chunked, identity",
        b"identity, chunked",
        b"chunked, chunked",
        b"\x0bchunked",
        b"chunked\x0c",
        b'"chunked"',
        b"chunked;q=1",
        b"identity",
        b"gzip, chunked",
        b"gzip",
        b"",
        b"chunke",
        b"chunked,",
        b",chunked",
        b"chunked\0",
    ]
    name = rng.choice([b"Transfer-Encoding", b"transfer-encoding", b"Transfer-encoding"])
    colon = rng.choice([b": ", b":", b":\t", b" : ", b": \r\n "]) if rng.random() < 0.3 else b": "
    encodings = [name + colon + rng.choice(names)]
    if rng.random() < 0.3:
        encodings.insert(rng.randrange(2), b"Transfer-Encoding: chunked")
    chunks = b"0\r\n\r\n" + _inner(draft, may_be_asked=True)
    if rng.random() < 0.5:
        encodings.append(b"Content-Length: %d" % rng.choice([len(chunks), 5]))
    _ends(draft, [*lines, *encodings], chunks)
    draft.odd()


def odd_lengths(draft: Draft) -> None:
    """Lengths that are none, or two."""
    rng = draft.rng
    lines = _begin(draft)
    inner = _inner(draft, may_be_asked=True)
    body = b"12345"
    one = [
        b"+5",
        b"-5",
        b"0x5",
        b"5.0",
        b"5,5",
        b"5, 6",
        b"5;",
        b"5 5",
        b"99999999999999999999999",
        b"",
        b"five",
        b"\x0b5",
        b"5\0",
        b"1e1",
    ]
    two = [(b"5", b"6"), (b"5", b"5"), (b"0", b"5"), (b"5", b""), (b"5", b"%d" % (5 + len(inner)))]
    chosen = (rng.choice(one),) if rng.random() < 0.6 else rng.choice(two)
    _ends(draft, [*lines, *(b"Content-Length: " + value for value in chosen)], body + inner)
    draft.odd()


def pipelined(draft: Draft) -> None:
    """Two sound requests in one piece: each gets its own answer."""
    lines = _begin(draft)
    body = b"12345"
    _ends(draft, [*lines, b"Content-Length: %d" % len(body)], body + _inner(draft, may_be_asked=True))


def hidden_in_a_body(draft: Draft) -> None:
    """A request in a body is a body."""
    lines = _begin(draft, draft.rng.choice(["POST", "GET", "PUT", "DELETE", "OPTIONS"]))
    inner = _inner(draft, may_be_asked=False)
    if draft.rng.random() < 0.5:
        draft.raw = _CRLF.join([*lines, b"Content-Length: %d" % len(inner), b"", b""]) + inner
    else:
        chunk = b"%x%s\r\n%s\r\n0\r\n\r\n" % (len(inner), _extension(draft), inner)
        draft.raw = _CRLF.join([*lines, b"Transfer-Encoding: chunked", b"", b""]) + chunk
        draft.odd()
    draft.ends_connection = True


def _extension(draft: Draft) -> bytes:
    extensions = [b"", b"", b";a=b", b';a="b"', b";" + b"a" * 300, b";a", b" ;a", b";\t"]
    return draft.rng.choice(extensions)


def trailers(draft: Draft) -> None:
    """Headers behind the body: what only routers say reaches no cell there either."""
    lines = _begin(draft)
    said = draft.rng.choice(
        [
            b"x-cell-id: cell-1",
            b"x-tenant-id: tenant-01",
            b"x_cell_id: cell-1",
            b"host: evil",
            b"content-length: 5",
            b"transfer-encoding: chunked",
            b"x-note: a",
        ]
    )
    head = [*lines, b"Transfer-Encoding: chunked", b"Trailer: " + said.split(b":")[0]]
    draft.raw = _CRLF.join([*head, b"", b""]) + b"5\r\n12345\r\n0\r\n" + said + b"\r\n\r\n"
    draft.odd()
    draft.ends_connection = True


def bad_chunks(draft: Draft) -> None:
    """Chunks that are none: the request has begun, and ends in the middle."""
    lines = _begin(draft)
    inner = _inner(draft, may_be_asked=True)
    forms = [
        b"G\r\n",
        b"0x5\r\n12345\r\n",
        b"-5\r\n12345\r\n",
        b"5\n12345\n",
        b"5\r\n123456\r\n",
        b"5\r\n12345",
        b"5 \r\n12345\r\n",
        b"fffffffffffffffff\r\n",
        b"5\r12345\r\n",
        b"\r\n5\r\n12345\r\n",
        b"5;\r\r\n12345\r\n",
        b"5;a=\n12345\r\n",
        b"00000000000000005\r\n12345\r\n",
        b"5\x00\r\n12345\r\n",
        b"+5\r\n12345\r\n",
        b"5,5\r\n12345\r\n",
    ]
    _ends(draft, [*lines, b"Transfer-Encoding: chunked"], draft.rng.choice(forms) + b"0\r\n\r\n" + inner)
    draft.odd()


def line_feeds(draft: Draft) -> None:
    """Lines that end with a line feed, or a carriage return, alone."""
    lines = _begin(draft, "GET")
    ends = [draft.rng.choice([b"\r\n", b"\n", b"\n", b"\r"]) for _ in lines]
    last = draft.rng.choice([b"\r\n", b"\n", b"\r", b"\n\r\n"])
    draft.raw = b"".join(line + end for line, end in zip(lines, ends, strict=True)) + last
    draft.odd()
    draft.ends_connection = True
    draft.is_cut = True


def request_lines(draft: Draft) -> None:
    """First lines of other versions and of none."""
    rng = draft.rng
    line, *lines = _begin(draft, "GET")
    forms = [
        b"GET /x HTTP/1.0",
        b"GET /x HTTP/0.9",
        b"GET /x",
        b"GET /x HTTP/1.2",
        b"GET /x HTTP/2.0",
        b"GET /x HTTP/1.1 ",
        b"GET /x http/1.1",
        b"GET  /x HTTP/1.1",
        b"GET\t/x\tHTTP/1.1",
        b" GET /x HTTP/1.1",
        b"GET /x HTTP/1.1x",
        b"GET /x HTTP/1",
        b"GET /x HTTP/11.1",
        b"GET /x HTTP/-1.1",
        b"GET /x FTP/1.1",
        b"GET",
        b"",
        b"\0GET /x HTTP/1.1",
        b"G\xc3\xa9T /x HTTP/1.1",
        b"A" * 300 + b" /x HTTP/1.1",
        b"\r\n" + line,
        b"\r\n" * 50 + line,
        b"\n" + line,
        b"GET /x HTTP/1.1\r\n ",
        b"/x GET HTTP/1.1",
    ]
    draft.raw = _CRLF.join([rng.choice(forms), *lines, b"", b""])
    draft.odd()
    draft.ends_connection = True
    draft.is_cut = True


def space_before_headers(draft: Draft) -> None:
    """A line that begins with a blank, where the first header is due."""
    line, *lines = _begin(draft, "GET")
    draft.raw = _CRLF.join([line, draft.rng.choice([b" ", b"\t"]) + b"x-cell-id: cell-1", *lines, b"", b""])
    draft.odd()
    draft.ends_connection = True


def cut_short(draft: Draft) -> None:
    """A client that never sends the rest."""
    lines = _begin(draft, draft.rng.choice(["GET", "POST"]))
    whole = _CRLF.join([*lines, b"Content-Length: 100", b"", b""]) + b"x" * 50
    draft.raw = whole[: draft.rng.randrange(10, len(whole))]
    draft.odd()
    draft.ends_connection = draft.is_cut = True


def garbage(draft: Draft) -> None:
    """What is no HTTP/1.1 at all."""
    rng = draft.rng
    forms = [
        rng.randbytes(rng.randint(1, 2000)),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(200),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + rng.randbytes(rng.randint(0, 200)),
        b"\0" * rng.randint(1, 3000),
        b"\r\n" * rng.randint(1, 3000),
        b"A" * rng.randint(1, 100_000),
        b"GET " + b"/" * 70_000,
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 80\r\nGET /x HTTP/1.1\r\n\r\n",
    ]
    draft.raw = rng.choice(forms).replace(b"%MARKER%", b"")
    draft.says = {}
    draft.is_refused = draft.is_cut = True
    draft.odd()
    draft.ends_connection = True


TRICKS = (
    (4, length_and_chunks),
    (5, odd_encodings),
    (4, odd_lengths),
    (3, pipelined),
    (5, hidden_in_a_body),
    (2, trailers),
    (4, bad_chunks),
    (3, line_feeds),
    (4, request_lines),
    (1, space_before_headers),
    (1, cut_short),
    (1, garbage),
)
