"""Checks of the host names of cells."""

from collections.abc import Iterator

from cellplane.doctor.facts import Facts, known
from cellplane.doctor.finding import Check, Hit, error, ok, skipped, warning
from cellplane.doctor.settings import DoctorSettings


def _resolve(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    names = known(facts.names)
    if not names:
        yield skipped("all cells are named by their addresses")
        return
    for each in names:
        if each.failure:
            yield error(f"{each.name} ({_of(each.cells)})", f"it does not resolve here: {each.failure}")
    if not any(each.failure for each in names):
        yield ok(f"names that resolve here: {len(names)} of {len(names)}")


def _live_shortly(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    names = [each for each in known(facts.names) if not each.failure]
    fine = []
    for each in names:
        if each.ttl_seconds is None:
            yield skipped(f"{each.name}: its time to live could not be read: {each.without_ttl}")
        elif each.ttl_seconds > settings.dns_warning_seconds:
            yield warning(
                f"{each.name} ({_of(each.cells)})",
                f"it may be remembered for {each.ttl_seconds} s: as long requests go to a former address",
            )
        else:
            fine.append(each.ttl_seconds)
    if fine and len(fine) == len(names):
        yield ok(f"names that may be remembered for at most {max(fine)} s: {len(fine)} of {len(fine)}")
    elif not names:
        yield skipped("no name of a cell resolves, or all are addresses")


def _of(cells: tuple[str, ...]) -> str:
    return ", ".join(cells[:3]) + (f" and {len(cells) - 3} more" if len(cells) > 3 else "")


CHECKS = (
    Check(
        "CPD70",
        "names",
        "Host names of cells that do not resolve on this machine. Routers ask their own resolver, every 5 s.",
        "Mend the name in DNS or in the cell, or ask from where routers are.",
        _resolve,
    ),
    Check(
        "CPD71",
        "times to live",
        "Host names of cells that resolvers may remember for longer than `dns_warning_seconds`. The name server of "
        "this machine is asked; one that caches says what is left of the time, so the name's own may be longer.",
        "Give the record a shorter TTL before the cell's address changes.",
        _live_shortly,
    ),
)
