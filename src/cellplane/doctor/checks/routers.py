"""Checks of routers: that they report, run what is published, refuse nothing, and could start from their disk."""

from collections.abc import Iterator

from cellplane.doctor.facts import Facts, Missing, Publication, known
from cellplane.doctor.finding import Check, Hit, error, ok, skipped, warning
from cellplane.doctor.settings import DoctorSettings


def _report(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    routers = known(facts.routers)
    if not routers:
        yield warning("", "no router has reported within the last hour")
        return
    heard = 0
    for each in routers:
        if each.age_seconds > settings.silent_error_seconds:
            yield error(each.id, f"it has been silent for {each.age_seconds:.0f} s")
        elif each.age_seconds > settings.silent_warning_seconds:
            yield warning(each.id, f"it has been silent for {each.age_seconds:.0f} s")
        elif not each.ready:
            yield warning(each.id, "it reports, but its proxy is not ready", "Look at its log and at Envoy's.")
        else:
            heard += 1
    if heard == len(routers):
        yield ok(f"routers that report, and are ready: {heard} of {heard}")


def lag_seconds(epoch: int, publications: tuple[Publication, ...], now: float) -> float:
    """Since when a router of this epoch might run a newer table, seconds; 0 where it runs the newest.

    Args:
        publications: the newest, the last first. Where all of them are newer than the router, it is at least so late.
        now: by the clock that dated them.
    """
    newer = [each.at for each in publications if each.epoch > epoch]
    return max(0.0, now - min(newer)) if newer else 0.0


def _now(facts: Facts) -> float:
    """By the clock that dates publications, where it is known."""
    return facts.now if isinstance(facts.status, Missing) else facts.status.database_now


def _follow(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    routers, publications = known(facts.routers), known(facts.publications).items
    now = _now(facts)
    if not routers:
        yield skipped("no router has reported")
        return
    late = False
    for each in routers:
        seconds = lag_seconds(each.epoch, publications, now)
        if each.behind < 0:
            late = True
            yield error(
                each.id,
                f"it runs epoch {each.epoch}, which is {-each.behind} ahead of what is published: it will take "
                "nothing until that is overtaken",
                "The directory was restored from an older copy: restore it again with --after-epoch "
                f"{each.epoch}; docs/operations.md, “Backup and restore”.",
            )
        elif seconds > settings.lag_error_seconds:
            late = True
            yield error(
                each.id,
                f"it runs epoch {each.epoch}, {each.behind} behind what is published, since {seconds:.0f} s or more",
            )
    if not late:
        yield ok(f"routers that run what is published: {len(routers)} of {len(routers)}")


def _refuse(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    routers = known(facts.routers)
    refusing = [each for each in routers if each.rejected is not None]
    for each in refusing:
        yield error(each.id, f"it refused a table, and runs epoch {each.epoch}: {each.rejected}")
    if not refusing:
        yield ok(f"routers that refuse a table: 0 of {len(routers)}") if routers else skipped("no router has reported")


def _agents(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    agents = known(facts.agents)
    if not agents:
        yield skipped("no router's agent is named: --router URL of its metrics")
        return
    published = () if isinstance(facts.publications, Missing) else facts.publications.items
    fine = []
    for each in agents:
        if each.failure:
            yield error(each.url, each.failure, "Start the agent again: it takes its Envoy over.")
        elif lag_seconds(each.epoch, published, _now(facts)) > settings.lag_error_seconds:
            counts = f"{each.rejected} tables refused and {each.failures} tries failed since its start"
            yield warning(each.url, f"its proxy runs epoch {each.epoch}, published is {published[0].epoch}; {counts}")
        else:
            fine.append(each.epoch)
    if len(fine) == len(agents):
        yield ok(f"agents that answer: {len(fine)} of {len(fine)}; their proxies run epoch {min(fine)} or later")


def _own_tables(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    tables = known(facts.own_tables)
    if not tables:
        yield skipped("no router's state folder is here: --state names one")
        return
    for each in tables:
        if each.failure:
            yield error(each.path, f"a router that starts from it does not find its table: {each.failure}")
        else:
            yield ok(f"{each.path} has a sound table of epoch {each.epoch}")


CHECKS = (
    Check(
        "CPD30",
        "routers report",
        "Routers that are silent, or not ready, or of which there are none. A router that is silent serves on.",
        "Look whether its agent runs and reaches the control plane, and whether its token counts: docs/operations.md, "
        "“A router does not follow”.",
        _report,
    ),
    Check(
        "CPD31",
        "routers follow",
        "Routers that have not taken what is published for longer than `lag_error_seconds`, and those that are ahead.",
        "Its log says why: a token, a signature, the network. docs/operations.md, “A router does not follow”.",
        _follow,
    ),
    Check(
        "CPD32",
        "refused tables",
        "Tables that routers refused; the one before goes on.",
        "The reason says what to mend: a signature needs the signer's public key in the router's --trust, a format a "
        "newer release of the router.",
        _refuse,
    ),
    Check(
        "CPD33",
        "agents",
        "What routers' agents say themselves, by their metrics: those of --router, and that of a local fleet. It needs "
        "no control plane.",
        "Its log says what it fails at.",
        _agents,
    ),
    Check(
        "CPD34",
        "tables on disk",
        "Whether a router whose folder is here could start again from its disk, with the control plane dead: the last "
        "live table is there, sound, and signed by a key that is trusted where the folder says which.",
        "Let the router fetch it again while the control plane is there: restart its agent.",
        _own_tables,
    ),
)
