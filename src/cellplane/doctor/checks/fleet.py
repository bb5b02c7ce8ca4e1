"""What lint finds in the fleet that runs."""

from collections.abc import Iterator

from cellplane.doctor.facts import Facts, known
from cellplane.doctor.finding import Check, Hit, error, ok
from cellplane.doctor.settings import DoctorSettings
from cellplane.manifest.lint import Severity, lint


def _lint(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    fleet = known(facts.fleet)
    findings = lint(fleet.topology)
    errors = [each for each in findings if each.rule.severity is Severity.ERROR]
    for each in errors:
        yield error(f"{each.rule.code} {each.path}", each.message, each.rule.remedy)
    if errors:
        return
    codes = sorted({each.rule.code for each in findings})
    advice = f"; it would advise on {', '.join(codes)}: `cellplane export | cellplane lint -`" if codes else ""
    without = (
        "" if fleet.has_all_tenants else f", without its tenants, of which there are over {settings.max_tenants:,}"
    )
    yield ok(f"lint finds no error in the fleet that runs{without}{advice}")


CHECKS = (
    Check(
        "CPD90",
        "fleet",
        "Errors that `cellplane lint` finds in the fleet that runs; what it only advises is named, not told.",
        "`cellplane export` the fleet, mend it, and `cellplane apply` it.",
        _lint,
    ),
)
