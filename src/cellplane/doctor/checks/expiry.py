"""What ends, or has ended: signing keys, tokens, certificates."""

from collections.abc import Iterator
from datetime import UTC, datetime

from cellplane.doctor.facts import Facts, Missing, SigningKeyFact, TokenFact, known
from cellplane.doctor.finding import Check, Hit, error, ok, skipped, warning
from cellplane.doctor.settings import DAY_SECONDS, DoctorSettings

_OF_MACHINES = {"router", "cell"}


def ends_soon(begin: float | None, end: float, now: float, days: float, short_share: float) -> bool:
    """Whether what ends then is to be renewed now: of what was made for a short time, when little of that is left.

    Args:
        begin: from when on it counted; None where nobody says.
        days: rest of its life from which on it is soon.
        short_share: the same as a share of its life; the shorter of both counts.
    """
    soon = days * DAY_SECONDS
    if begin is not None:
        soon = min(soon, short_share * (end - begin))
    return end - now < soon


def _keys(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    keys: dict[str, list[SigningKeyFact]] = {}
    for key in () if isinstance(facts.status, Missing) else facts.status.signing_keys:
        keys.setdefault(key.id, []).append(key)
    for key in () if isinstance(facts.key_files, Missing) else facts.key_files:
        keys.setdefault(key.id, []).append(key)
    for reason in facts.unreadable_keys:
        yield error("", reason, "Mend the file as the reason says: nothing can use it as it is.")
    if not keys and not facts.unreadable_keys:
        known(facts.status)
        yield skipped("the control plane has no key, and none is here (--key)")
        return
    wrong = 0
    for key_id, same in keys.items():
        ends = [key.not_after for key in same if key.not_after is not None]
        if not ends:
            continue
        # Lines before a key say its end: copies of one may differ in it.
        end, about = min(ends), f"key {key_id} ({', '.join(key.about for key in same)})"
        if end < facts.now:
            wrong += 1
            yield error(about, f"it counts no more since {_day(end)}")
        elif ends_soon(None, end, facts.now, settings.key_warning_days, settings.short_life_share):
            wrong += 1
            yield warning(about, f"it ends on {_day(end)}, in {_days(end - facts.now)}")
    if not wrong and not facts.unreadable_keys:
        yield ok(f"keys that count for the next {settings.key_warning_days:.0f} days: {len(keys)} of {len(keys)}")


def _tokens(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    tokens = known(facts.tokens)
    live = [each for each in tokens if each.state == "live"]
    wrong = 0
    for each in tokens:
        if each.state == "expired" and each.role in _OF_MACHINES and not _has_heir(each, live):
            wrong += 1
            yield error(_token(each), f"it counts no more since {_day(each.expires_at)}, and no other is for the same")
    for each in live:
        if _has_heir(each, [other for other in live if other.expires_at > each.expires_at]):
            continue
        if ends_soon(
            each.created_at, each.expires_at, facts.now, settings.token_warning_days, settings.short_life_share
        ):
            wrong += 1
            yield warning(_token(each), f"it ends on {_day(each.expires_at)}, in {_days(each.expires_at - facts.now)}")
    if not wrong:
        yield ok(f"tokens that count, and for longer: {len(live)} of {len(live)}")


def _has_heir(token: TokenFact, others: list[TokenFact]) -> bool:
    """Whether one of these tokens is for the same: a renewed one."""
    return any((each.role, each.subject or each.name) == (token.role, token.subject or token.name) for each in others)


def _certificates(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    certificates = known(facts.certificates)
    if not certificates:
        yield skipped("the control plane speaks no TLS, and no certificate is named (--certificate, --tls)")
        return
    fine = 0
    for each in certificates:
        begin, end = each.not_before, each.not_after
        if each.failure:
            yield error(each.about, each.failure)
        elif end < facts.now:
            yield error(each.about, f"it has expired on {_day(end)}")
        elif begin > facts.now:
            yield error(each.about, f"it counts from {_day(begin)} on, not yet")
        elif ends_soon(begin, end, facts.now, settings.certificate_warning_days, settings.short_life_share):
            yield warning(each.about, f"it ends on {_day(end)}, in {_days(end - facts.now)}")
        else:
            fine += 1
    if fine == len(certificates):
        yield ok(f"certificates that count, and for longer: {fine} of {fine}")


def _token(token: TokenFact) -> str:
    whose = f" of {token.subject}" if token.subject else ""
    return f"token {token.id} {token.name!r} ({token.role}{whose})"


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


def _days(seconds: float) -> str:
    return f"{seconds / DAY_SECONDS:.1f} days"


CHECKS = (
    Check(
        "CPD50",
        "signing keys",
        "Keys of the control plane, and those in files that are here, that have expired or soon will. Routers take "
        "nothing that is signed by an expired key alone.",
        "Make another, give its public half to the routers, then the key to the control plane: docs/publishing.md, "
        "“Keys”.",
        _keys,
    ),
    Check(
        "CPD51",
        "tokens",
        "Tokens of the control plane that end soon, and those of routers and cells that have ended without another "
        "for the same. It needs a token that may manage tokens. A start of the control plane renews the admin's.",
        "`cellplane token create`, into the file that its holder reads: no restart is needed.",
        _tokens,
    ),
    Check(
        "CPD52",
        "certificates",
        "TLS certificates that have expired or soon will: the control plane's, that of --control-cert, files of "
        "--certificate, and what --tls addresses show.",
        "Renew it in its files: control planes and routers take it without a restart.",
        _certificates,
    ),
)
