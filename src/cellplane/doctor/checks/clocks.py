"""Clocks that differ: tokens, keys and quarantines end by them."""

from collections.abc import Iterator
from statistics import median

from cellplane.doctor.facts import Clock, Facts, Missing
from cellplane.doctor.finding import Check, Hit, Severity, ok, skipped
from cellplane.doctor.settings import DoctorSettings

HERE = "this machine"


def clocks_of(facts: Facts) -> list[Clock]:
    """Every clock that said something."""
    found: list[Clock] = []
    status = facts.status
    if isinstance(status, Missing):
        if not isinstance(facts.control, Missing) and facts.control.clock is not None:
            found.append(facts.control.clock)
    else:
        # On SQLite the directory's clock is the control plane's: it must not vote twice.
        found += [status.clock, status.database_clock] if status.store == "postgresql" else [status.clock]
        if not isinstance(facts.routers, Missing):
            found += [
                Clock(
                    f"router {each.id}",
                    status.clock.ahead_seconds + each.clock_offset_seconds,
                    status.clock.within_seconds + ROUTER_WITHIN_SECONDS,
                )
                for each in facts.routers
                if each.clock_offset_seconds is not None
            ]
    for asked in (facts.probes, facts.agents):
        if not isinstance(asked, Missing):
            found += [each.clock for each in asked if each.clock is not None]
    return found


ROUTER_WITHIN_SECONDS = 1.0
"""How late a router's report may be heard, seconds."""


def judge(clocks: list[Clock], settings: DoctorSettings) -> Iterator[Hit]:
    """Which clocks differ from most of them; of two alone, nobody can say which is wrong.

    Args:
        clocks: those of others; this machine's is 0 ahead of itself.
    """
    if not clocks:
        yield skipped("no other clock could be read")
        return
    all_clocks = [Clock(HERE, 0.0, 0.0), *clocks]
    middle = median(each.ahead_seconds for each in all_clocks)
    if len(all_clocks) == 2:
        middle = 0.0
    wrong = [
        each
        for each in all_clocks
        if abs(each.ahead_seconds - middle) - each.within_seconds > settings.clock_warning_seconds
    ]
    for each in wrong:
        ahead = each.ahead_seconds - middle
        is_bad = abs(ahead) - each.within_seconds > settings.clock_error_seconds
        than = f"that of {HERE}" if len(all_clocks) == 2 else "most others"
        said = f"its clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} {than}"
        yield Hit(Severity.ERROR if is_bad else Severity.WARNING, each.whose, said)
    if not wrong:
        farthest = max(abs(each.ahead_seconds - middle) for each in all_clocks)
        yield ok(f"{len(all_clocks)} clocks agree to {max(0.1, farthest):.1f} s")


CHECKS = (
    Check(
        "CPD10",
        "clocks",
        "Clocks of this machine, the control plane, its database, cells and routers that differ from most of them. "
        "Tokens, keys and cookies end by these clocks; the order of changes does not depend on them.",
        "Let the machine's clock follow a time server: `timedatectl` shows whether it does.",
        lambda facts, settings: judge(clocks_of(facts), settings),
    ),
)
