"""Checks of what moves leave in the cells' databases, and of what keeps those databases' log."""

from collections.abc import Generator, Iterator

from cellplane.doctor.facts import Facts, StoreFact, known
from cellplane.doctor.finding import Check, Hit, error, ok, skipped, warning
from cellplane.doctor.settings import DoctorSettings

GIB = 1024**3


def _remains(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    stores = known(facts.stores)
    asked = yield from _asked(stores)
    for store in asked:
        for each in store.remnants:
            if each.kind == "slot":
                yield error(store.cell, f"{each.about}, and none such is under way: it fills the disk")
            else:
                yield warning(store.cell, f"{each.about}, and none such is under way")
    if asked and not any(store.remnants for store in asked):
        yield ok(f"databases with nothing of moves that are over: {len(asked)} of {len(asked)}")


def _slots(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    stores = known(facts.stores)
    asked = yield from _asked(stores)
    wrong = False
    for store in asked:
        for slot in store.slots:
            kept = slot.kept_bytes or 0
            if slot.is_lost:
                wrong = True
                yield error(
                    store.cell,
                    f"the slot {slot.name} kept more than max_slot_wal_keep_size, and its server gave it up",
                    "What reads it misses changes: abort the move and begin it anew, or make what else reads it anew.",
                )
            elif kept >= settings.slot_warning_bytes:
                wrong = True
                say = error if kept >= settings.slot_error_bytes else warning
                reader = "who reads it does not keep up" if slot.is_read else "nobody reads it"
                yield say(store.cell, f"the slot {slot.name} keeps {kept / GIB:,.1f} GiB of the log: {reader}")
    if asked and not wrong:
        yield ok(f"replication slots that keep little of the log: {sum(len(store.slots) for store in asked)}")


def _asked(stores: tuple[StoreFact, ...]) -> Generator[Hit, None, list[StoreFact]]:
    """What could not be asked; returns the others."""
    for store in stores:
        if store.failure:
            yield skipped(f"{store.cell}: {store.failure}")
    if not stores:
        yield skipped("no cell's database is known here: --state of a local fleet")
    return [store for store in stores if not store.failure]


CHECKS = (
    Check(
        "CPD24",
        "moves' remains",
        "Replication slots, publications, subscriptions, origins and guards of moves that are left in the databases of "
        "a local fleet's cells, and belong to no move under way. A slot keeps the database's log for ever.",
        "`cellplane move reap --dry-run` lists them, and `cellplane move reap` removes them; it deletes no rows.",
        _remains,
    ),
    Check(
        "CPD25",
        "replication slots",
        "Replication slots, whoever's, for which the database of a local fleet's cell keeps more of its log than "
        "`slot_warning_bytes`, or which it has given up.",
        "Let its reader catch up, or drop the slot: docs/operations.md, “A slot fills a disk”. A move that takes so "
        "long is aborted, or goes on by `cellplane move resume`.",
        _slots,
    ),
)
