"""What a target is, and the rule that fences publishers from each other."""

import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from cellplane.errors import NewerTableError, SignatureError, TargetError
from cellplane.publishing.manifest import Manifest
from cellplane.publishing.settings import PublishingSettings
from cellplane.routing import RoutingTable

_PART = re.compile(r"(base|overlay)-([1-9][0-9]{0,19})-[0-9a-f]{64}\.cpt")


class Target(Protocol):
    """Where publications go."""

    name: str
    interval_seconds: float
    """Shortest time between two publications, seconds."""

    def publish(self, manifest: Manifest, table: RoutingTable) -> None:
        """Put a table there: its files first, the manifest last. Blocking.

        Raises:
            NewerTableError: a newer one is there, or another one of the same epoch.
            TargetError: it cannot be written; whatever was there goes on.
        """


def contents(table: RoutingTable) -> Iterator[memoryview]:
    """The bytes of a table's files, in the order of its statement's parts."""
    yield table.base.data
    if table.overlay is not None:
        yield table.overlay.data


def may_replace(there: bytes | None, manifest: Manifest, where: str) -> bool:
    """Whether a manifest may take the place of what is there.

    The rule is one way only: epochs grow, and an epoch has one content. The same content may be signed anew.

    Args:
        there: the manifest that is there, None where there is none.

    Returns:
        False where it is there already, signed by the same keys: nothing is to be done.

    Raises:
        NewerTableError: what is there is newer, other than this at the same epoch, of another fleet, or no manifest.
    """
    if there is None:
        return True
    try:
        known = Manifest.parse(there)
    except SignatureError as error:
        raise NewerTableError(
            f"{where}: what is there is no manifest ({error}): move it away, or publish elsewhere"
        ) from error
    statement, found = manifest.statement, known.statement
    if found.fleet != statement.fleet:
        raise NewerTableError(f"{where} is of fleet {found.fleet!r}, not {statement.fleet!r}: publish elsewhere")
    if found.epoch > statement.epoch:
        raise NewerTableError(
            f"{where} has epoch {found.epoch}, newer than {statement.epoch}: another publisher is ahead"
        )
    if found.epoch == statement.epoch and not found.same_tables(statement):
        raise NewerTableError(
            f"{where} has another table of epoch {found.epoch}: {found.tag[:12]}…, not {statement.tag[:12]}…"
        )
    ids = [[each.key_id for each in both.signatures] for both in (known, manifest)]
    return found.epoch < statement.epoch or ids[0] != ids[1]


def superfluous(names: Iterable[str], manifest: Manifest, settings: PublishingSettings) -> list[str]:
    """Which of a target's files may go: the oldest beyond the bound, never what the manifest names or a newer one.

    A publisher that has been overtaken removes nothing of the one ahead.
    """
    statement = manifest.statement
    needed = {part.file_name for part in statement.parts}
    old: list[str] = []
    for kind, kept in (("base", settings.kept_bases), ("overlay", settings.kept_overlays)):
        found = [(int(match[2]), name) for name in names if (match := _PART.fullmatch(name)) and match[1] == kind]
        past = sorted((each for each in found if each[0] <= statement.epoch), reverse=True)
        old += [name for _, name in past[kept:] if name not in needed]
    return old


def failed(where: str, error: Exception) -> TargetError:
    """The error that says what became of a target."""
    return TargetError(f"{where} cannot be written: {error}")
