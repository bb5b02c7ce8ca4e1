"""The shadow of a move: for a while routers send the target a copy of what the tenant reads, and compare both answers.

Nobody waits for the target's answers, and no write is copied: nothing depends on a shadow but whether the move goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Protocol

from cellplane.client import Client
from cellplane.moves.errors import ChangedError, MoveError, NotTheSameError
from cellplane.moves.move import Move
from cellplane.moves.tenants import Tenants

OURS = ("shadow", "copies", "compare")
"""What a shadow says in the tenant's policy."""

_READS = "reads"


@dataclass(frozen=True, slots=True)
class Seen:
    """What comparing the answers of both cells came to."""

    matching: int = 0
    differing: int = 0
    unanswered: int = 0
    """The target, or the source, gave no whole answer in time."""

    too_large: int = 0
    """Both differ, and are too large to say whether only in what is ignored."""

    @property
    def compared(self) -> int:
        """Of how many requests both answers were looked at, or waited for."""
        return self.matching + self.differing + self.unanswered

    def __add__(self, other: "Seen") -> "Seen":
        return Seen(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    def since(self, before: "Seen") -> "Seen":
        """What one router counted behind that. Where a count is smaller than it was, it began anew."""
        news = [mine - its for mine, its in zip(astuple(self), astuple(before), strict=True)]
        return self if min(news) < 0 else Seen(*news)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a router said last."""

    seen: Seen = Seen()
    """What it has counted of the tenant, since a time that is nobody's business."""

    at: float | None = None
    """When it counted, Unix seconds by its clock; None where it does not say."""

    age_seconds: float = 0.0
    """How long ago that was."""

    waiting_seconds: float | None = 0.0
    """For how long the oldest answer waited then for the one with which it is compared; None: it does not say."""

    is_lost: bool = False
    """Whether it has been silent for too long."""

    def has_counted(self, before_seconds: float) -> bool:
        """Whether all answers are counted that came before that many seconds ago, or nobody will count them."""
        if self.is_lost:
            return True
        return self.waiting_seconds is not None and self.age_seconds + self.waiting_seconds <= before_seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """A request that was answered differently."""

    at: float
    """When, Unix seconds by its router's clock."""

    text: str
    """What differed, without values."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What all routers said last."""

    routers: Mapping[str, Heard] = field(default_factory=dict)
    """Router → its words; also of one that has counted nothing."""

    samples: tuple[Sample, ...] = ()
    """The last requests that were answered differently."""


class Tally:
    """What comparing came to since a first sight.

    Each router counts by itself, and may begin anew. What it counted before is nobody's business here: not where it
    begins anew, nor where the control plane has forgotten it for a while, nor where it is heard of later than others.

    Args:
        first: what was counted before.
    """

    def __init__(self, first: Sight) -> None:
        self._last = dict(first.routers)
        self._told_before = frozenset(first.samples)
        self.seen = Seen()
        self.samples: tuple[str, ...] = ()

    def add(self, sight: Sight) -> None:
        """Count what is new in it."""
        for router, heard in sight.routers.items():
            before = self._last.get(router, heard)
            if heard.at is not None and before.at is not None and heard.at < before.at:
                # Of several control planes one hears of it later than another.
                continue
            self.seen += heard.seen.since(before.seen)
            self._last[router] = heard
        self.samples = tuple(sample.text for sample in sight.samples if sample not in self._told_before)


@dataclass(frozen=True, slots=True)
class ShadowRules:
    """When a shadow is good enough.

    Attributes:
        ignore: JSON pointers of what may differ in answers, ``*`` for any name or place.
        tolerance_percent: part of the compared answers that may differ: a read of what is being written meets the
            source a moment before the target.
    """

    ignore: tuple[str, ...] = ()
    tolerance_percent: float = 2.0

    def judged(self, seen: Seen) -> Seen:
        """Answers that are too large to look into differ, where nothing may."""
        if self.ignore:
            return seen
        return Seen(seen.matching, seen.differing + seen.too_large, seen.unanswered)

    def check(self, seen: Seen, move: Move, samples: Sequence[str] = ()) -> None:
        """Raise where it does not hold.

        Args:
            seen: what the comparison came to, as judged.
            move: of which move.
            samples: requests that were answered differently, for the message.

        Raises:
            MoveError: nothing was compared.
            NotTheSameError: too many answers differ, or did not come, or nobody can say whether most do.
        """
        if seen.too_large > seen.compared:
            raise NotTheSameError(
                f"{seen.too_large} answers differ between {move.source} and {move.target}, and are too large to say "
                f"whether only in what is ignored, where {seen.compared} could be compared: look at some of them by "
                "hand, and move it without a shadow"
            )
        if not seen.compared:
            raise MoveError(
                f"no answers were compared in {move.shadow_seconds:g} s: {move.tenant_id} read nothing, or "
                f"{move.target} takes no copies (`cellplane cells`); try again, or move it without a shadow"
            )
        wrong = seen.differing + seen.unanswered
        if wrong * 100 > self.tolerance_percent * seen.compared:
            shown = "".join(f"; {sample}" for sample in samples)
            raise NotTheSameError(
                f"of {seen.compared} answers {seen.differing} differ between {move.source} and {move.target}, and "
                f"{seen.unanswered} did not come, where {self.tolerance_percent:g} % may{shown}: "
                "`cellplane shadow` shows more"
            )


class Note(Protocol):
    """Keeps whether the tenant's policy may say the shadow of a move from now on."""

    def __call__(self, *, has_shadow: bool) -> None:
        """Keep it, before that is so."""


class Shadows(Protocol):
    """Who lets the target of a move shadow its source."""

    rules: ShadowRules

    def begin(self, move: Move, note: Note) -> int:
        """Let it get a copy of what the tenant reads; returns the epoch. One that somebody left who died ends before.

        Args:
            move: which; where ``has_shadow``, such a one may be there.
            note: keeps, before it begins, that there may be one from now on, or that there is none after all.

        Raises:
            MoveError: the tenant's policy has a shadow of its own.
            ChangedError: somebody changed the tenant meanwhile.
        """

    def look(self, move: Move) -> Sight:
        """What was counted until now."""

    def is_on(self, move: Move) -> bool:
        """Whether the policy says what ``begin`` made it say."""

    def end(self, move: Move) -> bool:
        """End it; returns whether it was on until now.

        Raises:
            ChangedError: somebody changed the tenant meanwhile.
        """


class NoShadows(Shadows):
    """There are none."""

    rules = ShadowRules()

    def begin(self, move: Move, note: Note) -> int:  # noqa: ARG002  # as in Shadows
        """See ``Shadows``."""
        raise MoveError("nobody here can let a cell shadow another one")

    def look(self, move: Move) -> Sight:  # noqa: ARG002  # as in Shadows
        """See ``Shadows``."""
        return Sight()

    def is_on(self, move: Move) -> bool:  # noqa: ARG002  # as in Shadows
        """See ``Shadows``."""
        return False

    def end(self, move: Move) -> bool:  # noqa: ARG002  # as in Shadows
        """See ``Shadows``."""
        return False


@dataclass(frozen=True, slots=True)
class PolicyShadows(Shadows):
    """By the tenant's policy, at the control plane.

    Args:
        client: with a token that may change tenants.
        rules: what is compared.
    """

    client: Client
    rules: ShadowRules = field(default_factory=ShadowRules)

    def begin(self, move: Move, note: Note) -> int:
        """See ``Shadows``."""
        if move.has_shadow:
            # What is not changed is of the same version: what the dead asked for would still be done.
            self.end(move)
        tenant = self._tenants.get(move.tenant_id)
        own = [name for name, value in _found(tenant).items() if value is not None]
        if own:
            raise MoveError(
                f"the policy of {move.tenant_id} has a shadow of its own: take away what it says of "
                f"{', '.join(own)}, or move it without a shadow"
            )
        note(has_shadow=True)
        try:
            return self._tenants.change(move.tenant_id, tenant["version"], policy=tenant["policy"] | self._said(move))
        except ChangedError:
            note(has_shadow=move.has_shadow)
            raise

    def look(self, move: Move) -> Sight:
        """See ``Shadows``."""
        answer = self.client.get("/v1/shadows", tenant=move.tenant_id)
        items = [item for item in answer["items"] if (item["cell"], item["shadow"]) == (move.source, move.target)]
        counted = {
            counts["router"]: Seen(counts["match"], counts["mismatch"], counts["unanswered"], counts["too_large"])
            for item in items
            for tenant in item["tenants"]
            for counts in tenant["routers"]
        }
        return Sight(
            {
                router["id"]: Heard(
                    counted.get(router["id"], Seen()),
                    router["at"],
                    router["age_seconds"],
                    router["waiting_seconds"],
                    router["lost"],
                )
                for router in answer["routers"]
            },
            tuple(Sample(sample["at"], _said(sample)) for item in items for sample in item["samples"]),
        )

    def is_on(self, move: Move) -> bool:
        """See ``Shadows``."""
        return _found(self._tenants.get(move.tenant_id)) == self._said(move)

    def end(self, move: Move) -> bool:
        """See ``Shadows``."""
        tenant = self._tenants.get(move.tenant_id)
        found = _found(tenant)
        if _is_ours(found, move):
            policy = tenant["policy"] | dict.fromkeys(OURS)
            self._tenants.change(move.tenant_id, tenant["version"], policy=policy)
        return found == self._said(move)

    def _said(self, move: Move) -> dict[str, Any]:
        return {"shadow": move.target, "copies": _READS, "compare": {"percent": 100.0, "ignore": [*self.rules.ignore]}}

    @property
    def _tenants(self) -> Tenants:
        return Tenants(self.client)


def _found(tenant: dict[str, Any]) -> dict[str, Any]:
    """What a tenant's policy says of shadows."""
    return {name: tenant["policy"][name] for name in OURS}


def _is_ours(found: dict[str, Any], move: Move) -> bool:
    """Whether that may be of this move; what is ignored may have been another thing when it began."""
    return (found["shadow"], found["copies"]) == (move.target, _READS)


def _said(sample: dict[str, Any]) -> str:
    differences = ", ".join(f"{each['path']} {each['cell']} / {each['shadow']}" for each in sample["differences"])
    return f"{sample['method']} {sample['path']}: {differences}"
