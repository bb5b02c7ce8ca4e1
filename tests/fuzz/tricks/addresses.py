"""Tricks with the host and the path: where a key may stand, and what only looks as if it stood there."""

from cellplane.model import KeySourceKind
from fuzz.draft import Draft, Says
from fuzz.fleet import DOMAIN, PATH_PREFIX


def _host(draft: Draft, said: Says) -> None:
    draft.says[KeySourceKind.SUBDOMAIN] = said


def _path(draft: Draft, said: Says) -> None:
    draft.says[KeySourceKind.PATH] = said


def subdomain(draft: Draft) -> None:
    """A tenant's host, as clients write it."""
    tenant = draft.tenant()
    form = draft.rng.choice(["{}." + DOMAIN, "{}." + DOMAIN + ":8080", "{}." + DOMAIN + ".", "{}." + DOMAIN + ".:443"])
    host = form.format(tenant)
    draft.hosts = [(host.upper() if draft.rng.random() < 0.3 else host).encode()]
    _host(draft, Says((tenant,)))


def odd_host(draft: Draft) -> None:
    """Hosts that are not a label and the domain: they say nothing, or are refused."""
    tenant = draft.tenant()
    forms = [
        f"a.{tenant}.{DOMAIN}",
        f"{tenant}.{DOMAIN}.evil.example",
        f"{tenant}{DOMAIN}",
        f"{tenant}..{DOMAIN}",
        f".{DOMAIN}",
        DOMAIN,
        f"{tenant}.{DOMAIN}..",
        f"{tenant}.{DOMAIN}:",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:80",
        "localhost",
        f"[{tenant}.{DOMAIN}]",
        f"{tenant}.{DOMAIN}:http",
        f"{tenant}.{DOMAIN}:99999",
        f"{tenant}.{DOMAIN}:-1",
        "x" * 300 + f".{DOMAIN}",
        f"evil.example:80@{tenant}.{DOMAIN}",
        f"{tenant}.{DOMAIN}@evil.example",
        f"{tenant}.{DOMAIN}/x",
        f"{tenant}.{DOMAIN}?x",
        f"{tenant}.{DOMAIN}#x",
        f"{tenant} .{DOMAIN}",
        f"{tenant}\t.{DOMAIN}",
        f"{tenant}%2e{DOMAIN}",
        f"{tenant}.{DOMAIN},evil.example",
        f"{tenant}\\.{DOMAIN}",
        "",
        " ",
        "-",
        f"{tenant}.{DOMAIN}\x00",
        f"{tenant}.shop\u00ad.example".encode().decode("latin-1"),
    ]
    host = draft.rng.choice(forms)
    draft.hosts = [host.encode("latin-1")]
    draft.odd()
    draft.ends_connection = True
    # A port of many digits is a port to the router, and so is none behind the colon to some.
    named = (tenant,) if host.startswith(f"{tenant}.{DOMAIN}") else ()
    _host(draft, Says(named, may_refuse=True, may_be_silent=True))


def label_that_is_no_tenant(draft: Draft) -> None:
    """A label of other characters than tenants have."""
    label = draft.rng.choice(["-a", "a%41", "a!b", "a*b", "*", "a b", "a/b", "t" * 129, "a'b", "(a)", "{a}"])
    draft.hosts = [f"{label}.{DOMAIN}".encode()]
    draft.odd()
    draft.ends_connection = True
    _host(draft, Says(may_refuse=True, may_be_silent=True))


def user_in_host(draft: Draft) -> None:
    """A user before the host: not the tenant behind it, whoever is asked."""
    tenant = draft.tenant()
    label = f"{draft.tenant()}@{tenant}"
    draft.hosts = [f"{label}.{DOMAIN}".encode()]
    draft.odd()
    draft.ends_connection = True
    # A tenant's id may have an @: of the host it is the whole label, or nothing.
    _host(draft, Says((label,), may_refuse=True))


def two_hosts(draft: Draft) -> None:
    """Two Host headers are refused (RFC 9112, 3.2)."""
    draft.hosts = [f"{draft.tenant()}.{DOMAIN}".encode() for _ in range(2)]
    if draft.rng.random() < 0.3:
        draft.hosts[0] = draft.hosts[1]
    draft.bad()


def no_host(draft: Draft) -> None:
    """No Host header at all."""
    draft.hosts = []
    draft.bad()


def absolute_form(draft: Draft) -> None:
    """A target with a host: that counts, and not the Host header (RFC 9112, 3.2.2)."""
    rng = draft.rng
    tenant, other = draft.tenant(), draft.tenant()
    scheme = rng.choice([b"http", b"HTTP", b"http", b"https"])
    draft.target = scheme + b"://" + f"{tenant}.{DOMAIN}".encode() + rng.choice([b"/x", b"/", b":80/x", b""])
    draft.hosts = [rng.choice([f"{other}.{DOMAIN}", "api.internal"]).encode()]
    _host(draft, Says((tenant,), may_refuse=True))
    draft.odd()
    draft.ends_connection = True


def odd_target(draft: Draft) -> None:
    """Targets that are no path."""
    tenant = draft.tenant()
    at = f"{tenant}.{DOMAIN}".encode()
    forms = [
        b"*",
        b"",
        b"x",
        b"?",
        b"#",
        b"http://",
        b"http:///x",
        b"//" + at + b"/x",
        b"ftp://" + at + b"/x",
        b"http://user@" + at + b"/x",
        b"http:" + at,
        b"http://" + at + b"\\@evil.example/x",
        b"\\x",
        b"javascript:x",
        b"/x y",
        b"/x\ty",
        at + b":80",
        b"http://[::1]/x",
        b"http://" + at + b"#x",
    ]
    draft.target = draft.rng.choice(forms)
    draft.odd()
    draft.ends_connection = True
    _host(draft, Says((tenant,), may_refuse=True, may_be_silent=True))
    _path(draft, Says(may_refuse=True, may_be_silent=True))


def by_path(draft: Draft) -> None:
    """A tenant's path, as clients write it."""
    tenant = draft.tenant()
    rest = draft.rng.choice(["", "/", "/orders", "?page=2", "/orders?t=/t/x", "/%20", "/a/./b", "//x"])
    draft.target = f"{PATH_PREFIX}{tenant}{rest}".encode()
    _path(draft, Says((tenant,)))


def odd_path(draft: Draft) -> None:
    """Paths that another reader would take for another tenant's."""
    tenant, other = draft.rng.sample(_pair(draft), 2)
    both, nothing = (tenant, other), ()
    forms: dict[str, tuple[str, ...]] = {
        f"/t/{other}/../{tenant}": (tenant,),
        f"/t/{other}/%2e%2e/{tenant}": both,
        f"/t/{other}/%2E./{tenant}": both,
        f"/t/{other}/.%2e/{tenant}": both,
        f"/t/{other}/..;/{tenant}": both,
        f"/x/../t/{tenant}": (tenant,),
        f"/../t/{tenant}": (tenant,),
        f"/../../../t/{tenant}": (tenant,),
        f"/./t/./{tenant}": (tenant,),
        f"//t/{tenant}": (tenant,),
        f"/t//{tenant}": (tenant,),
        f"/t///{tenant}///": (tenant,),
        f"/t/{other}//../{tenant}": both,
        f"/t/{other}\\..\\{tenant}": both,
        f"\\t\\{tenant}": (tenant,),
        f"/t\\{tenant}": (tenant,),
        f"/t/{tenant}%00": nothing,
        f"/t/{tenant}\x00": nothing,
        f"/t/%00{tenant}": nothing,
        f"/t/{tenant};v=1": nothing,
        f"/t/;{tenant}": nothing,
        f"/t/{tenant}%20": nothing,
        f"/t/%74{tenant[1:]}": (tenant,),
        f"/%74/{tenant}": (tenant,),
        f"/t/{tenant}%2f..%2f{other}": nothing,
        f"/t/{tenant}%2F": nothing,
        f"/t/{tenant}%5c..": nothing,
        f"/t/{tenant}%252f..%252f{other}": nothing,
        f"/t/{tenant}#/t/{other}": (tenant,),
        f"/t/{tenant}?/../{other}": (tenant,),
        f"/t/{tenant}%3f": nothing,
        f"/t/{tenant}%23": nothing,
        f"/t/{tenant}.": (f"{tenant}.",),
        f"/t/{tenant}..": (f"{tenant}..",),
        f"/t/{tenant},{other}": nothing,
        f"/t/{tenant} HTTP/1.1 /t/{other}": nothing,
        "/t/": nothing,
        "/t": nothing,
        "/t/.": nothing,
        "/t/..": nothing,
        f"/T/{tenant}": nothing,
        f"/t/{tenant.upper()}": (tenant.upper(),),
        "/t/" + "t" * 129: nothing,
        "/t/" + "t" * 8_000: nothing,
        "/t/" + "a/" * 10_000: ("a",),
        "/" + "../" * 3_000 + f"t/{tenant}": (tenant,),
        "/t/" + "%74" * 3_000: nothing,
        "/t/" + "t" * 70_000: nothing,
        f"/t/{tenant}/" + "%" * 50: (tenant,),
        f"/t/{tenant}%": nothing,
        f"/t/{tenant}%zz": nothing,
        f"/t/{tenant}\xff": nothing,
        f"/t/\xe2\x80\xae{tenant}": nothing,
    }
    path = draft.rng.choice(list(forms))
    draft.target = path.encode("latin-1")
    draft.odd()
    draft.ends_connection = True
    _path(draft, Says(forms[path], may_refuse=True, may_be_silent=True))


def _pair(draft: Draft) -> list[str]:
    first = draft.tenant()
    second = draft.tenant()
    while second == first:
        second = draft.tenant()
    return [first, second]


TRICKS = (
    (5, subdomain),
    (5, odd_host),
    (1, label_that_is_no_tenant),
    (1, user_in_host),
    (2, two_hosts),
    (0.5, no_host),
    (3, absolute_form),
    (2, odd_target),
    (4, by_path),
    (8, odd_path),
)
