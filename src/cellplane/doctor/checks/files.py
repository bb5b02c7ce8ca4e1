"""Checks of this machine: who may read secrets and write tables, and whether the disk has room and keeps files."""

from collections.abc import Iterator

from cellplane.doctor.facts import Facts, Missing, known
from cellplane.doctor.finding import Check, Hit, error, ok, skipped, warning
from cellplane.doctor.settings import DoctorSettings

_ANY_OTHER = 0o077
_OTHERS_WRITE = 0o002
_ANY_OTHER_WRITES = 0o022
MIB = 1024 * 1024


def mode_hit(path: str, kind: str, mode: int) -> Hit | None:
    """What is wrong with the permissions of a file or folder, by what it is (``FileFact``)."""
    said = f"its mode is {mode:04o}"
    if kind == "secret" and mode & _ANY_OTHER:
        return error(path, f"{said}: others than its owner may use this secret", f"chmod 600 {path}")
    if kind == "trust" and mode & _OTHERS_WRITE:
        return error(path, f"{said}: anybody may say whom routers trust", f"chmod 644 {path}")
    if kind == "tables" and mode & _ANY_OTHER_WRITES:
        return error(path, f"{said}: others than the router may decide where requests go", f"chmod 700 {path}")
    if kind == "tables" and mode & _ANY_OTHER:
        return warning(path, f"{said}: others may read who the tenants are", f"chmod 700 {path}")
    if kind == "directory" and mode & _ANY_OTHER_WRITES:
        return error(path, f"{said}: others may change the directory", f"chmod 600 {path}")
    if kind == "directory" and mode & _ANY_OTHER:
        return warning(path, f"{said}: others may read who the tenants are", f"chmod 600 {path}")
    return None


def _modes(facts: Facts, _settings: DoctorSettings) -> Iterator[Hit]:
    files = known(facts.files)
    hits = [mode_hit(each.path, each.kind, each.mode) for each in files]
    found = [hit for hit in hits if hit is not None]
    yield from found
    if not files:
        yield skipped("no state folder and no file of keys is here: --state, --key")
    elif not found:
        yield ok(f"secrets, tables and keys with the permissions that they should have: {len(files)} of {len(files)}")


def _room(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    here = () if isinstance(facts.disks, Missing) else facts.disks
    disks = [(each.path, each.free_bytes) for each in here if each.free_bytes is not None]
    if not isinstance(facts.status, Missing):
        disks.append(("the control plane's state folder", facts.status.free_bytes))
    if not disks:
        known(facts.disks)
        yield skipped("no state folder is here: --state")
        return
    low = [(path, free) for path, free in disks if free < settings.disk_warning_bytes]
    for path, free in low:
        say = error if free < settings.disk_error_bytes else warning
        yield say(path, f"{free / MIB:,.0f} MiB are free")
    if not low:
        yield ok(f"{min(free for _, free in disks) / MIB:,.0f} MiB are free where the least is")


def _keeps(facts: Facts, settings: DoctorSettings) -> Iterator[Hit]:
    disks = known(facts.disks)
    tried = 0
    wrong = 0
    for each in disks:
        if each.failed:
            wrong += 1
            yield error(each.path, each.failure)
        elif each.sync_seconds is None:
            yield skipped(f"{each.path}: {each.failure}")
        elif each.sync_seconds > settings.sync_warning_seconds:
            wrong += 1
            yield warning(each.path, f"a small file took {each.sync_seconds:.1f} s to be on the disk")
        else:
            tried += 1
    if tried and not wrong:
        yield ok(f"state folders that take a file, and have it on the disk: {tried} of {tried}")
    elif not disks:
        yield skipped("no state folder is here: --state")


CHECKS = (
    Check(
        "CPD60",
        "permissions",
        "Modes of secrets (tokens, private keys, keys of cookies and proofs), of trusted keys, of a router's tables, "
        "and of the directory's file, in the folder of --state and the files of --key.",
        "Take the permission away, and renew a secret that others may have read.",
        _modes,
    ),
    Check(
        "CPD61",
        "disk space",
        "Free space where state is kept: of folders that are here, and of the control plane's.",
        "Make room: logs grow without a bound. A table that cannot be written is not taken; the one before goes on.",
        _room,
    ),
    Check(
        "CPD62",
        "disk keeps",
        "Whether state folders take a small file, and have it on the disk (fsync) in good time.",
        "The reason is the file system's: see the kernel's log, quotas, and who mounted it how.",
        _keeps,
    ),
)
