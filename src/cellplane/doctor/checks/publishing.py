"""Checks of what becomes of a table: signed, checked by the routers' own code, and at its targets."""

from collections.abc import Iterator

from cellplane.doctor.facts import Facts, Missing, Publication, TargetFact, known
from cellplane.doctor.finding import Check, Hit, error, ok, skipped, warning
from cellplane.doctor.settings import DoctorSettings


def _signed(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    status = known(facts.status)
    live = [key for key in status.signing_keys if key.not_after is None or key.not_after >= facts.now]
    if live:
        yield ok(f"tables are signed; keys that count: {len(live)} of {len(status.signing_keys)}")
    elif status.signing_keys:
        yield error("", "tables are not signed: all keys of the control plane have expired")
    else:
        yield warning("", "tables are not signed: routers take whatever answers as their control plane")


def _at_targets(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    status = known(facts.status)
    if not status.targets:
        yield skipped("tables are put nowhere beside the API (--publish-to)")
        return
    if not status.leads:
        yield skipped(f"this control plane does not lead, and brings no table to them: ask that of {status.holder}")
        return
    published = () if isinstance(facts.publications, Missing) else facts.publications.items[:1]
    hits = [_at_target(each, published, status.database_now, settings) for each in status.targets]
    found = [hit for hit in hits if hit is not None]
    yield from found
    if not found:
        yield ok(f"targets that have what is published: {len(hits)} of {len(hits)}")


def _at_target(
    target: TargetFact, published: tuple[Publication, ...], now: float, settings: DoctorSettings
) -> Hit | None:
    if target.failure:
        return error(target.name, target.failure)
    if published and (target.epoch or 0) < published[0].epoch:
        seconds = now - published[0].at
        if seconds > settings.lag_error_seconds:
            has = "nothing of this process" if target.epoch is None else f"epoch {target.epoch}"
            return error(target.name, f"it has {has}; epoch {published[0].epoch} is published since {seconds:.0f} s")
    return None


def _checked(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    if known(facts.status).table_check_installed:
        yield ok("tables are checked by the routers' own code before they are published")
    else:
        yield warning("", "tables are published without a check by the routers' own code: they may refuse one")


CHECKS = (
    Check(
        "CPD40",
        "signatures",
        "Whether published tables are signed by a key that counts.",
        "`cellplane keys create`, then --signing-key of the control plane and --trust of the routers: "
        "docs/publishing.md, “Keys”.",
        _signed,
    ),
    Check(
        "CPD41",
        "targets",
        "Whether folders and buckets that routers start from without a control plane have what is published.",
        "The reason says what to mend; it is tried again with pauses of at most 30 s.",
        _at_targets,
    ),
    Check(
        "CPD42",
        "table check",
        "Whether `cellplane-table-check` is installed where the control plane runs.",
        "`make setup` builds it, and every wheel has it.",
        _checked,
    ),
)
