"""Tricks with tokens: what a header or a cookie carries in place of a sound one, or beside it."""

from cellplane.model import KeySourceKind
from fuzz.corpus import ODD_KEYS
from fuzz.draft import Draft, Says
from fuzz.fleet import TOKEN_COOKIE


def sound(draft: Draft) -> None:
    """A valid token, in a header or a cookie."""
    tenant = draft.tenant()
    token = draft.rng.choice(draft.corpus.sound[tenant])
    if draft.rng.random() < 0.3:
        draft.add("cookie", f"a=b; {TOKEN_COOKIE}={token}")
    else:
        draft.add(draft.rng.choice(["authorization", "Authorization", "AUTHORIZATION"]), f"Bearer {token}")
    draft.proven.add(tenant)
    draft.says[KeySourceKind.JWT_CLAIM] = Says((tenant,))


def bad(draft: Draft) -> None:
    """A token that nobody is to believe, alone or beside what would do."""
    what = draft.rng.choice(list(draft.corpus.bad))
    token = draft.rng.choice(draft.corpus.bad[what])
    draft.tricks.append(what)
    # A scheme without a token behind it is none; as a cookie all of these are one.
    if draft.rng.random() < 0.25:
        draft.add("cookie", f"{TOKEN_COOKIE}={token}")
    else:
        draft.add("authorization", f"{draft.rng.choice(['Bearer', 'bearer'])} {token}")
    draft.is_refused = True


def bad_beside_sound(draft: Draft) -> None:
    """A good token does not make up for a bad one."""
    sound(draft)
    bad(draft)
    # Of several cookies of a name, the first is the one.
    if all(name == b"cookie" for name, _ in draft.headers[-2:]):
        draft.is_refused = False
        draft.says[KeySourceKind.JWT_CLAIM] = Says(draft.says[KeySourceKind.JWT_CLAIM].keys, may_refuse=True)


def two_sound(draft: Draft) -> None:
    """Two valid tokens: at most what both say is believed."""
    first, second = draft.tenant(), draft.tenant()
    one, other = draft.corpus.sound[first][0], draft.corpus.sound[second][1]
    draft.proven |= {first, second}
    draft.add("authorization", f"Bearer {one}")
    if draft.rng.random() < 0.5:
        draft.add("cookie", f"{TOKEN_COOKIE}={other}")
    else:
        draft.add("authorization", f"Bearer {other}")
    draft.is_refused = first != second
    draft.says[KeySourceKind.JWT_CLAIM] = Says((first,), may_refuse=True)


def odd_claim(draft: Draft) -> None:
    """A valid token whose claim is no tenant's id, or not as anybody would write it."""
    what = draft.rng.choice(list(draft.corpus.odd))
    draft.tricks.append(what)
    draft.add("authorization", f"Bearer {draft.corpus.odd[what]}")
    draft.says[KeySourceKind.JWT_CLAIM] = Says(ODD_KEYS[what][1], may_refuse=True, may_be_silent=what in _SILENT)
    if what == "huge":
        draft.odd()


_SILENT = frozenset({"empty", "null", "true"})
"""Claims that say nothing, so that the next source is asked."""


def claim_twice(draft: Draft) -> None:
    """A valid token with the claim twice in its text: one of the two, as long as it is one."""
    token, first, second = draft.rng.choice(draft.corpus.twice)
    draft.add("authorization", f"Bearer {token}")
    draft.says[KeySourceKind.JWT_CLAIM] = Says((first, second), may_refuse=True)


def garbled(draft: Draft) -> None:
    """A valid token with one character changed, put in or taken out."""
    rng = draft.rng
    tenant = draft.tenant()
    token = rng.choice(draft.corpus.sound[tenant])
    # Not the last character: in base64 its lowest bits may mean nothing.
    place = rng.randrange(len(token) - 2)
    # Chosen without a look at the token, whose signature is another in each run.
    other = rng.choice("Aa0zZ9.!@~")
    other = "_" if other == token[place] else other
    kept = rng.choice((0, 1))
    text = f"{token[:place]}{other}{token[place + kept :]}"
    draft.add("authorization", f"Bearer {text}")
    # Envoy overlooks what no token begins with, and a part of nothing: it is the same token, and as true.
    if [part for part in text.lstrip("@!~.").split(".") if part] == token.split("."):
        draft.says[KeySourceKind.JWT_CLAIM] = Says((tenant,), may_refuse=True)
    else:
        draft.is_refused = True


def odd_scheme(draft: Draft) -> None:
    """A valid token behind something else than `Bearer `: believed, refused, or not seen."""
    tenant = draft.tenant()
    token = draft.corpus.sound[tenant][1]
    form = draft.rng.choice(
        ["BEARER {}", "Bearer  {}", "Bearer\t{}", "Bearer {} x", "Basic {}", "{}", "Bearer{}", "Token {}"]
    )
    draft.add("authorization", form.format(token))
    draft.says[KeySourceKind.JWT_CLAIM] = Says((tenant,), may_refuse=True, may_be_silent=True)


def in_other_places(draft: Draft) -> None:
    """A valid token where nobody looks for one says nothing."""
    token = draft.corpus.sound[draft.tenant()][1]
    if draft.rng.random() < 0.5:
        draft.target += b"?access_token=" + token.encode()
    else:
        name = draft.rng.choice(["x-authorization", "proxy-authorization", "x-jwt-payload", "x-access-token"])
        draft.add(name, f"Bearer {token}")


TRICKS = (
    (6, sound),
    (14, bad),
    (4, bad_beside_sound),
    (2, two_sound),
    (4, odd_claim),
    (2, claim_twice),
    (4, garbled),
    (2, odd_scheme),
    (1, in_other_places),
)
