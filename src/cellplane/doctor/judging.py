"""From facts to findings. Pure."""

from collections.abc import Collection, Iterator

from cellplane.doctor.checks import CHECKS
from cellplane.doctor.facts import Facts, MissingFactError
from cellplane.doctor.finding import Check, Finding, Hit, Severity, skipped
from cellplane.doctor.settings import DoctorSettings

_NOTHING_TO_DO = {Severity.OK, Severity.SKIPPED}


def judge(facts: Facts, settings: DoctorSettings, only: Collection[str] = ()) -> tuple[Finding, ...]:
    """What the checks find, by code; each says at least one thing.

    Args:
        only: codes of the checks that are wanted; none: all.
    """
    return tuple(
        Finding(
            check.code,
            check.title,
            hit.severity,
            hit.about,
            hit.found,
            "" if hit.severity in _NOTHING_TO_DO else hit.remedy or check.remedy,
        )
        for check in CHECKS
        if not only or check.code in only
        for hit in _hits(check, facts, settings)
    )


def worst(findings: tuple[Finding, ...]) -> Severity:
    """The worst of these."""
    return max((each.severity for each in findings), key=list(Severity).index, default=Severity.OK)


def _hits(check: Check, facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    hits: list[Hit] = []
    try:
        for hit in check.judge(facts, settings):
            hits.append(hit)  # noqa: PERF402  # what was found before something is missing counts
    except MissingFactError as error:
        hits.append(skipped(str(error)))
    # The worst first, so that none of them is among those that are only counted.
    hits.sort(key=lambda hit: list(Severity).index(hit.severity), reverse=True)
    yield from hits[: settings.max_findings]
    rest = hits[settings.max_findings :]
    if rest:
        yield Hit(rest[0].severity, "", f"and {len(rest):,} more")
