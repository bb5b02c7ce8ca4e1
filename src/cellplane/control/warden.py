"""The warden: sends to quarantine whom routers find poisonous, brings back whose time is over, and tells of both."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from cellplane.control.metrics import Metrics
from cellplane.control.publication import ACTOR
from cellplane.control.quarantine_schemas import Suspect
from cellplane.control.settings import ControlSettings
from cellplane.directory import Directory, Leadership
from cellplane.errors import FencedError
from cellplane.health.concentration import Concentration, Harm
from cellplane.model import Quarantine, is_key
from cellplane.placement.quarantine import Asked, LeftAlone, LeftAloneBy

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class KnownLeft:
    """A suspect that is left alone: why, what was found, and when a router last said so, in monotonic seconds."""

    why: LeftAlone
    found: Concentration
    at: float


@dataclass(frozen=True, slots=True)
class _Reported:
    """A suspect, and the epoch of the table that was live when what counts against it began."""

    found: Concentration
    epoch: int


class Warden:
    """Decides for the whole fleet, while this process leads. Runs in one event loop; what it decides is kept in the
    directory.

    Args:
        leadership: this process' part in who leads.
        changed: called after each change of the directory.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        directory: Directory,
        leadership: Leadership,
        *,
        settings: ControlSettings,
        metrics: Metrics,
        changed: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._leadership = leadership
        self._settings = settings
        self._metrics = metrics
        self._changed = changed
        self._clock = clock
        self._reported: dict[str, _Reported] = {}
        self._left: dict[str, KnownLeft] = {}
        # What was so before is no news.
        self._told_epoch = directory.epoch()
        self._news = asyncio.Event()

    @property
    def left_alone(self) -> Mapping[str, KnownLeft]:
        """The suspects that are left alone, by tenant."""
        return self._left

    def suspect(self, suspects: Sequence[Suspect]) -> None:
        """Take what a router found; the same again, or from another router, is the same."""
        for each in suspects:
            found = Concentration(
                each.tenant, each.cell, Harm(each.harm), each.share, each.amount, each.level, each.level_without
            )
            before = self._reported.get(each.tenant)
            is_more = before is None or (each.epoch, found.share) > (before.epoch, before.found.share)
            has_room = before is not None or len(self._reported) < self._settings.max_suspects
            if is_more and has_room and is_key(each.tenant.encode()):
                self._reported[each.tenant] = _Reported(found, each.epoch)
        if suspects:
            self._news.set()

    def look(self) -> None:
        """Say that somebody changed a quarantine."""
        self._news.set()

    async def run(self) -> None:
        """Decide, release and tell, until cancelled. A failure is said, and the next round tries again."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.quarantine_interval_seconds):
                    await self._news.wait()
            self._news.clear()
            reported, self._reported = self._reported, {}
            try:
                is_changed, known, left = await asyncio.to_thread(self._decide, reported)
                if is_changed:
                    self._changed()
                self._tell(known)
                self._note(left)
            except FencedError as error:
                log.warning("fenced", error=str(error))
            except Exception as error:  # noqa: BLE001  # without this task nobody ever comes back
                self._metrics.quarantine_failures.inc()
                log.error("quarantine_failed", error=str(error) or repr(error))
                await asyncio.sleep(self._settings.retry_seconds)

    def _decide(
        self, reported: Mapping[str, _Reported]
    ) -> tuple[bool, Mapping[str, Quarantine], Mapping[str, tuple[LeftAlone, Concentration]]]:
        """One round in the directory. Blocking; runs in a thread."""
        if not self._leadership.leads:
            return False, self._directory.quarantines(), {}
        is_changed = bool(self._directory.release_due(actor=ACTOR, leadership=self._leadership))
        known, left = self._directory.quarantines(), {}
        for tenant, each in sorted(reported.items(), key=lambda item: (-item[1].found.share, item[0])):
            if tenant in known and known[tenant].lasts:
                continue
            asked = Asked(tenant, each.found.text, _figures(each.found), seen_epoch=each.epoch)
            found = self._directory.quarantine(asked, actor=ACTOR, leadership=self._leadership)
            if not isinstance(found, LeftAlone):
                is_changed = True
            elif found.by is not LeftAloneBy.STALE:
                left[tenant] = found, each.found
        return is_changed, self._directory.quarantines(), left

    def _tell(self, known: Mapping[str, Quarantine]) -> None:
        """Tell of what began and ended since the last round, whoever did it."""
        self._metrics.quarantined.set(sum(each.lasts for each in known.values()))
        for each in sorted(known.values(), key=lambda each: each.epoch):
            if each.epoch > self._told_epoch:
                self._tell_one(each)
                self._told_epoch = each.epoch

    def _tell_one(self, each: Quarantine) -> None:
        self._left.pop(each.tenant, None)
        by = "router" if each.figures else "person"
        told = {"tenant": each.tenant, "cell": each.cell, "epoch": each.epoch, "times": each.times}
        if each.lasts:
            self._metrics.quarantines.labels(by=by).inc()
            log.warning(
                "tenant_quarantined", **told, until=each.until.isoformat(), reason=each.reason, found=dict(each.figures)
            )
        else:
            self._metrics.releases.inc()
            log.warning("tenant_released", **told, reason=each.end_reason)

    def _note(self, left: Mapping[str, tuple[LeftAlone, Concentration]]) -> None:
        """Tell once of each suspect that is left alone, and again where it is for another reason."""
        now = self._clock()
        oldest = now - self._settings.left_alone_forget_seconds
        self._left = {tenant: known for tenant, known in self._left.items() if known.at >= oldest}
        for tenant, (why, found) in left.items():
            before = self._left.get(tenant)
            if before is None and len(self._left) >= self._settings.max_suspects:
                continue
            self._left[tenant] = KnownLeft(why, found, now)
            if before is None or before.why.by is not why.by:
                self._metrics.left_alone.labels(by=why.by.value).inc()
                log.warning(
                    "tenant_left_alone",
                    tenant=tenant,
                    cell=found.cell,
                    by=why.by.value,
                    why=why.text,
                    reason=found.text,
                )


def _figures(found: Concentration) -> dict[str, Any]:
    return {
        "cell": found.cell,
        "harm": found.harm.value,
        "share": round(found.share, 4),
        "amount": round(found.amount, 3),
        "level": round(found.level, 4),
        "level_without": round(found.level_without, 4),
    }
