"""Tricks with routing cookies: forged, cut, expired, by another key, for another name, too many."""

from cellplane.model import KeySourceKind
from cellplane.signed_cookie import MAX_COOKIES
from e2e.tokens import ISSUED, LATER
from fuzz.draft import Draft, Says
from fuzz.fleet import ROUTE_COOKIE, TENANTS

MAX_COOKIE_HEADERS = 4
"""Cookie headers that routers look at (docs/security.md)."""


def sound(draft: Draft) -> None:
    """A valid cookie, among others."""
    tenant = draft.tenant()
    form = draft.rng.choice(["{}", "a=b; {}", "{}; a=b", "a=b;{};c=d", "  {}  ", ";;{};;"])
    draft.add("cookie", form.format(f"{ROUTE_COOKIE}={draft.corpus.cookie(tenant)}"))
    draft.says[KeySourceKind.COOKIE] = Says((tenant,))


def bad(draft: Draft) -> None:
    """A cookie that is not valid is as if it were not there."""
    draft.add("cookie", f"{ROUTE_COOKIE}={_bad(draft)}")


def _bad(draft: Draft) -> str:
    rng = draft.rng
    tenant, other = rng.sample(TENANTS, 2)
    value = draft.corpus.cookie(tenant)
    version, expires, key_id, mac, _ = value.split(".", 4)
    place = rng.randrange(len(mac) - 1)
    flipped = "A" if mac[place] != "A" else "B"
    kinds = {
        "another tenant": f"{version}.{expires}.{key_id}.{mac}.{other}",
        "forged": f"{version}.{expires}.{key_id}.{mac[:place]}{flipped}{mac[place + 1 :]}.{tenant}",
        "zeros": f"{version}.{expires}.{key_id}.{'A' * 43}.{tenant}",
        "no MAC": f"{version}.{expires}.{key_id}..{tenant}",
        "cut": value[: rng.randrange(len(value) - 1)],
        "foreign key": draft.corpus.foreign.sign(ROUTE_COOKIE, tenant, expires=LATER),
        "unknown key": f"{version}.{expires}.nobody.{mac}.{tenant}",
        "expired": draft.corpus.cookie(tenant, expires=ISSUED),
        "later expiry": f"{version}.{int(expires) + 1}.{key_id}.{mac}.{tenant}",
        "expiry of zeros": f"{version}.00{expires}.{key_id}.{mac}.{tenant}",
        "huge expiry": f"{version}.{'9' * 40}.{key_id}.{mac}.{tenant}",
        "negative expiry": f"{version}.-{expires}.{key_id}.{mac}.{tenant}",
        "another name": draft.corpus.cookie(tenant, name="other"),
        "another version": f"cp2.{expires}.{key_id}.{mac}.{tenant}",
        "quotes": f'"{value}"',
        "bare tenant": tenant,
        "padding": f"{version}.{expires}.{key_id}.{mac}=.{tenant}",
        "more": f"{value}x",
        "long": f"{version}.{expires}.{key_id}.{mac}.{'t' * 129}",
        "percent": value.replace(".", "%2e"),
        "empty": "",
        "upper case": value.upper(),
    }
    what = rng.choice(list(kinds))
    draft.tricks.append(what)
    return kinds[what]


def of_another_name(draft: Draft) -> None:
    """A valid value in a cookie that is not called so."""
    name = draft.rng.choice(["Route", "xroute", "route ", "route2", "__Host-route", "rout", "route\tx", '"route"'])
    draft.add("cookie", f"{name}={draft.corpus.cookie(draft.tenant())}")


def several(draft: Draft) -> None:
    """Several cookies, in one header or in more: of different tenants, they are ambiguous."""
    rng = draft.rng
    tenants = [draft.tenant() for _ in range(rng.randint(2, 3))]
    pairs = [f"{ROUTE_COOKIE}={draft.corpus.cookie(tenant)}" for tenant in tenants]
    if rng.random() < 0.5:
        draft.add("cookie", "; ".join(pairs))
    else:
        for pair in pairs:
            draft.add("cookie", pair)
    is_one = len(set(tenants)) == 1
    draft.says[KeySourceKind.COOKIE] = Says((tenants[0],)) if is_one else Says(may_refuse=True)


def behind_bad_ones(draft: Draft) -> None:
    """A valid cookie behind bad ones of its name: looked at, or out of sight."""
    rng = draft.rng
    before = rng.randint(1, 6)
    bad_ones = [f"{ROUTE_COOKIE}=cp1.{LATER}.new.{'A' * 43}.{draft.tenant()}" for _ in range(before)]
    tenant = draft.tenant()
    pairs = [*bad_ones, f"{ROUTE_COOKIE}={draft.corpus.cookie(tenant)}"]
    if rng.random() < 0.7:
        draft.add("cookie", "; ".join(pairs))
        seen = before < MAX_COOKIES
    else:
        for pair in pairs:
            draft.add("cookie", pair)
        seen = before < min(MAX_COOKIES, MAX_COOKIE_HEADERS)
    if seen:
        draft.says[KeySourceKind.COOKIE] = Says((tenant,))


def very_many(draft: Draft) -> None:
    """Hundreds of cookies cost no more than four."""
    value = f"{ROUTE_COOKIE}=cp1.{LATER}.new.{'A' * 43}.{draft.tenant()}"
    draft.add("cookie", "; ".join([value] * draft.rng.randint(50, 300)))


TRICKS = (
    (4, sound),
    (8, bad),
    (2, of_another_name),
    (3, several),
    (3, behind_bad_ones),
    (0.3, very_many),
)
