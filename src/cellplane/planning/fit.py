"""Fit: whether cells are worth it for a product, with the reasons for and against and their points."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from cellplane.planning.checks import check_between, check_whole

YES_POINTS = 4
"""Points from which the verdict is yes, if nothing blocks it."""

FIRST_CELLS = 3
"""Cells that the revenue at risk is compared with: the first step that isolates anything has two or three."""

CELLS_PER_ENGINEER = 2.5
"""Cells that one engineer can look after by hand. Rule of thumb from “Cell-Based Architecture: Fault Isolation, Blast
Radius Reduction & Global Scale” (2026): 20 to 30 cells for a team of 8 to 10, and a controller beyond."""


class Verdict(Enum):
    """The answer; the value is what the report says."""

    NO = "no"
    NOT_YET = "not yet"
    YES = "yes"


@dataclass(frozen=True, slots=True)
class Situation:
    """A product as it is today.

    Attributes:
        tenants: how many.
        engineers: people who operate the product.
        noise_incidents: incidents in a quarter where one tenant hurt others.
        deploy_incidents: incidents in a quarter where a release or a configuration hurt all.
        noisiest_share: load of the noisiest tenant ÷ all load, 0 to 1; None where it is not known.
        jurisdictions: laws that data must stay under, each needing its own place.
        database_share: load or size of the database ÷ the most that one database can take, 0 to 1.
        stable_key: whether every request carries a stable tenant id where a router can read it.
        automated_deploys: whether a release reaches production without manual steps.
        cross_tenant_queries: whether features read many tenants' data in one query.
        incident_hours: mean duration of an incident in hours.
        revenue_usd_hour: revenue at risk in an hour in which all tenants are down.
        extra_usd_month: what the first cells cost in addition each month; None where it is not known.
    """

    tenants: int
    engineers: int
    noise_incidents: int = 0
    deploy_incidents: int = 0
    noisiest_share: float | None = None
    jurisdictions: int = 1
    database_share: float = 0.0
    stable_key: bool = True
    automated_deploys: bool = True
    cross_tenant_queries: bool = False
    incident_hours: float = 1.0
    revenue_usd_hour: float = 0.0
    extra_usd_month: float | None = None

    def validate(self) -> None:
        """Raise ValidationError naming the first field that breaks a rule."""
        check_whole("tenants", self.tenants, 1, 10**12)
        check_whole("engineers", self.engineers, 1, 1_000_000)
        check_whole("noise_incidents", self.noise_incidents, 0, 1_000_000)
        check_whole("deploy_incidents", self.deploy_incidents, 0, 1_000_000)
        if self.noisiest_share is not None:
            check_between("noisiest_share", self.noisiest_share, 0, 1)
        check_whole("jurisdictions", self.jurisdictions, 1, 1_000)
        check_between("database_share", self.database_share, 0, 1)
        check_between("incident_hours", self.incident_hours, 0, 24 * 91)
        check_between("revenue_usd_hour", self.revenue_usd_hour, 0, 1e12)
        if self.extra_usd_month is not None:
            check_between("extra_usd_month", self.extra_usd_month, 0, 1e12)


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason.

    Attributes:
        points: for cells where above 0, against them where below.
        text: a sentence.
        blocks: whether it must be mended before cells, whatever the points say.
    """

    points: int
    text: str
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Fit:
    """The answer and its reasons.

    Attributes:
        verdict: yes from YES_POINTS on, not yet from 1 on or where a reason blocks a yes, otherwise no.
        points: sum of the reasons' points.
        reasons: in the order of the questions.
        loss_usd_quarter: revenue that the incidents of a quarter put at risk, with all tenants down in each.
        saved_usd_quarter: the part of it that FIRST_CELLS cells keep: 1 − 1 / FIRST_CELLS.
        cells_by_hand: cells that the team can look after before it needs automation.
    """

    verdict: Verdict
    points: int
    reasons: tuple[Reason, ...]
    loss_usd_quarter: float
    saved_usd_quarter: float
    cells_by_hand: int


def judge(situation: Situation) -> Fit:
    """Weigh a situation. The points are rules of thumb, written out in ``docs/planning.md``.

    Raises:
        ValidationError: naming the field that breaks a rule.
    """
    situation.validate()
    incidents = situation.noise_incidents + situation.deploy_incidents
    loss_usd = incidents * situation.incident_hours * situation.revenue_usd_hour
    saved_usd = loss_usd * (1 - 1 / FIRST_CELLS)
    reasons = (*_need(situation), *_money(situation, saved_usd), *_readiness(situation))
    points = sum(reason.points for reason in reasons)
    if points >= YES_POINTS and not any(reason.blocks for reason in reasons):
        verdict = Verdict.YES
    else:
        verdict = Verdict.NOT_YET if points > 0 else Verdict.NO
    return Fit(verdict, points, reasons, loss_usd, saved_usd, int(situation.engineers * CELLS_PER_ENGINEER))


def _need(situation: Situation) -> Iterator[Reason]:
    """What hurts today."""
    if situation.tenants < 100:
        yield Reason(-3, f"{situation.tenants} tenants: under 100 there is little to isolate from each other.")
    elif situation.tenants >= 1_000:
        yield Reason(1, f"{situation.tenants:,} tenants: one incident reaches many.")
    noise, deploys = situation.noise_incidents, situation.deploy_incidents
    if noise:
        yield Reason(
            2 if noise >= 3 else 1, f"{noise} incidents a quarter by a noisy tenant: a cell bounds whom it hurts."
        )
    if deploys:
        yield Reason(
            2 if deploys >= 3 else 1, f"{deploys} incidents a quarter by a release: waves of cells stop it early."
        )
    if not noise and not deploys:
        yield Reason(-2, "No incident of a quarter reached all tenants by noise or release: cells would mend nothing.")
    share = situation.noisiest_share
    if share is not None and share >= 0.1:
        yield Reason(
            2 if share >= 0.3 else 1, f"The noisiest tenant makes {share:.0%} of the load: it can have a cell alone."
        )
    elif share is not None and share < 0.01:
        yield Reason(-1, f"The noisiest tenant makes {share:.1%} of the load: limits per tenant may be enough.")
    if situation.jurisdictions > 1:
        yield Reason(3, f"{situation.jurisdictions} jurisdictions: each needs a stack of its own in any case.")
    if situation.database_share >= 0.7:
        yield Reason(2, f"The database is at {situation.database_share:.0%} of what one can take: cells divide it.")


def _money(situation: Situation, saved_usd: float) -> Iterator[Reason]:
    """What incidents cost, against what cells cost."""
    if situation.extra_usd_month is None:
        return
    cost_usd = situation.extra_usd_month * 3
    compared = f"${saved_usd:,.0f} a quarter kept from incidents, ${cost_usd:,.0f} for the first cells"
    if saved_usd > cost_usd:
        yield Reason(2, f"{compared}: they pay for themselves.")
    else:
        yield Reason(-2, f"{compared}: they cost more than they save.")


def _readiness(situation: Situation) -> Iterator[Reason]:
    """What the team can carry."""
    engineers = situation.engineers
    if engineers < 3:
        yield Reason(-3, f"{engineers} engineers: too few to run every part of the stack several times.", blocks=True)
    elif engineers < 5:
        yield Reason(-1, f"{engineers} engineers: each cell adds a dashboard, a database and a rotation of secrets.")
    elif engineers >= 8:
        yield Reason(1, f"{engineers} engineers: enough to own the control plane and its cells.")
    if not situation.stable_key:
        yield Reason(-2, "Requests carry no stable tenant id that a router can read: begin there.", blocks=True)
    if not situation.automated_deploys:
        yield Reason(-2, "Releases need manual steps, and cells multiply every step: automate first.", blocks=True)
    if situation.cross_tenant_queries:
        yield Reason(-1, "Features read many tenants in one query: they need events or a warehouse first.")


@dataclass(frozen=True, slots=True)
class Phase:
    """One step of the way.

    Attributes:
        title: for people.
        cells: how many there are then.
        result: what the step brings.
        before: what to have before it begins.
    """

    title: str
    cells: str
    result: str
    before: tuple[str, ...]


PHASES = (
    Phase(
        "Route to one cell",
        "1 cell",
        "Every request passes the router; all tenants are still in one place, so nothing can go astray.",
        (
            "a stable tenant id in every request, verified at the edge",
            "a list of all tenants, and an owner of it",
            "tenant and cell in every log line, metric and trace",
        ),
    ),
    Phase(
        "Carve out the first cells",
        "2 to 3 cells",
        "New, small or regulated tenants live in cells of their own; a failure in one leaves the others alone.",
        (
            "the whole stack from one template: API, workers, database, queue",
            "no cell reads another's database, queue or cache",
            "a move of one tenant, rehearsed there and back on a copy",
            "health and service levels of each cell, not of their mean",
        ),
    ),
    Phase(
        "Automate",
        "4 cells and more",
        "Cells are created, filled, rolled out in waves and retired by the control plane.",
        (
            "a load test that shows each cell's ceiling, repeated every quarter",
            "a rollout in waves that stops by itself",
            "a threshold at which a cell takes no more tenants, such as 70 %",
            "someone who answers for the control plane",
        ),
    ),
)
"""The way from a shared stack to a fleet."""


def begin_with(verdict: Verdict) -> Phase | None:
    """The phase to begin with: none for no, a router before one cell for not yet, the first cells for yes."""
    return {Verdict.NO: None, Verdict.NOT_YET: PHASES[0], Verdict.YES: PHASES[1]}[verdict]
