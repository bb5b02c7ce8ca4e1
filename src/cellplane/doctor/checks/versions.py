"""Checks of releases that do not fit each other."""

from collections.abc import Iterator

from cellplane.doctor.facts import Facts, Missing, known
from cellplane.doctor.finding import Check, Hit, error, ok, warning
from cellplane.doctor.settings import DoctorSettings
from cellplane.routing import layout


def _releases(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    status = known(facts.status)
    wrong = 0
    if status.version != facts.version:
        wrong += 1
        yield warning("this command", f"it is release {facts.version}, the control plane {status.version}")
    major = status.table_format.partition(".")[0]
    if major != str(layout.MAJOR):
        wrong += 1
        yield warning(
            "this command",
            f"it reads tables of format {layout.MAJOR}, the control plane publishes {status.table_format}",
        )
    routers = () if isinstance(facts.routers, Missing) else facts.routers
    for each in routers:
        if each.version and each.version != status.version:
            wrong += 1
            yield warning(each.id, f"it is release {each.version}, the control plane {status.version}")
    if not wrong:
        yield ok(f"all that say so are release {status.version}, with tables of format {status.table_format}")


def _schema(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    status = known(facts.status)
    if status.schema_revision == status.schema_expected:
        yield ok(f"the directory's schema is {status.schema_revision}, which this control plane knows")
    else:
        yield error(
            "",
            f"the directory's schema is {status.schema_revision}, this control plane is made for "
            f"{status.schema_expected}: another release has changed it meanwhile",
        )


CHECKS = (
    Check(
        "CPD80",
        "releases",
        "Releases of this command, the control plane and the routers that differ, and formats of tables. During an "
        "upgrade that is so for a while.",
        "Upgrade the control planes, then the routers: an older control plane refuses reports that say more than it "
        "knows.",
        _releases,
    ),
    Check(
        "CPD81",
        "schema",
        "Whether the directory's schema is that of the control plane's release: of several, a newer one changes it.",
        "Bring all control planes of this directory to the newest release that runs.",
        _schema,
    ),
)
