"""Checks of the control plane: that it answers, that one leads, that it publishes, and that there are backups."""

from collections.abc import Iterator

from cellplane.doctor.facts import Facts, Missing, known
from cellplane.doctor.finding import Check, Hit, error, ok, skipped, warning
from cellplane.doctor.settings import DAY_SECONDS, DoctorSettings


def _answers(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    answer = facts.control
    if isinstance(answer, Missing):
        yield error("", answer.reason)
    elif answer.status >= 500:
        yield error(
            facts.control_url,
            f"it answers with {answer.status}: {answer.refusal}",
            "Look at its log: most often the directory's database cannot be reached.",
        )
    elif answer.refusal:
        yield error(
            facts.control_url,
            answer.refusal,
            "Give a token that counts and may read: --token-file, CELLPLANE_TOKEN, or that of the local fleet.",
        )
    else:
        yield ok(f"{facts.control_url} answers")


def _leads(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    status = known(facts.status)
    if status.holder is None:
        yield error("", "no control plane has ever led: nothing is published")
    elif status.lease_left_seconds is not None and status.lease_left_seconds <= 0:
        yield error(
            status.holder,
            f"it led last, and its lease is over since {-status.lease_left_seconds:.0f} s: nobody publishes",
        )
    elif status.lease_left_seconds is None and not status.leads:
        yield error(status.holder, "the only control plane does not lead: nothing is published")
    else:
        yield from _steady(facts, settings)


def _steady(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    status, publications = known(facts.status), known(facts.publications)
    since = status.database_now - settings.flapping_seconds
    leaders = {each.token for each in publications.items if each.at >= since}
    if len(leaders) >= settings.flapping_leaders:
        yield warning(
            "",
            f"{len(leaders)} leaders, or starts of one, published within {settings.flapping_seconds / 60:.0f} minutes",
            "See in the control planes' logs why they end, or lose the database: `leads` and `follows`.",
        )
    else:
        yield ok(f"{status.holder} leads")


def _publishes(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    found = known(facts.publications)
    if found.held_epoch is not None:
        reasons = "; ".join(found.held_for)
        yield warning("", f"the table of epoch {found.held_epoch} waits, and the one before goes on: {reasons}")
    if not found.items:
        yield error(
            "",
            "nothing is published: routers have no table to start with",
            "`cellplane apply` a fleet with a cell and its default pool.",
        )
    elif found.held_epoch is None:
        status = facts.status
        if isinstance(status, Missing) or status.leads:
            yield ok(f"epoch {found.items[0].epoch} is published, and nothing waits")
        else:
            yield ok(f"epoch {found.items[0].epoch} is published; whether one waits, {status.holder} alone can say")


def _backups(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    backups = known(facts.backups)
    if not backups:
        yield skipped("no backup is named: name the newest with --backup FILE")
        return
    readable = [each for each in backups if not each.failure]
    for each in backups:
        if each.failure:
            yield error(each.path, each.failure)
    if readable:
        newest = max(readable, key=lambda each: each.at)
        days = (facts.now - newest.at) / DAY_SECONDS
        said = f"the newest backup is {days:.1f} days old"
        yield warning(newest.path, said) if days > settings.backup_warning_days else ok(said)


CHECKS = (
    Check(
        "CPD01",
        "control plane",
        "Whether the control plane answers, is well, and lets you read. Routers and cells go on without it.",
        "Start it again on its state folder, or name its URL with --control: docs/operations.md, "
        "“The control plane is gone”.",
        _answers,
    ),
    Check(
        "CPD02",
        "leader",
        "Whether one control plane leads, so that changes are published, and whether that is the same for a while.",
        "Start a control plane that reaches the database; see `leads`, `follows` and `election_failed` in the logs.",
        _leads,
    ),
    Check(
        "CPD03",
        "publication",
        "Whether a table is published, and none is held by guard rails.",
        "`cellplane publish` shows what waits, and lets it through with --allow; undoing the change does, too.",
        _publishes,
    ),
    Check(
        "CPD04",
        "backup",
        "How old the newest backup is, of those that --backup names. The control plane does not know of backups.",
        "`cellplane backup FILE`, each day, kept on another machine.",
        _backups,
    ),
)
