"""What the API takes and gives of moves, as JSON."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from cellplane.control.policy_schemas import STRICT
from cellplane.directory.moving import MoveRecord, SaidMove
from cellplane.model.key import MAX_KEY_BYTES, MAX_NAME_CHARS
from cellplane.moves.move import Phase, Wish

PhaseName = Literal[
    "planned",
    "prepared",
    "copied",
    "following",
    "verified",
    "shadowed",
    "fenced",
    "flipped",
    "aborting",
    "returned",
    "released",
    "done",
    "aborted",
    "rolled-back",
    "refused",
]
WishName = Literal["run", "pause", "abort", "rollback", "release", "release-anyway"]

MAX_MOVE_REASON_CHARS = 2_000
"""Longest reason of a move: some rows that differ, or the tables that cannot be moved."""

MAX_DOING_CHARS = 200
"""Longest name of what a mover is at."""

MAX_SECONDS = 10 * 365 * 86_400
"""Longest time that is said of a move, ten years."""

MoveId = Annotated[str, Field(pattern=r"\A[a-z0-9]{1,20}\Z")]
CellId = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
TenantId = Annotated[str, Field(min_length=1, max_length=MAX_KEY_BYTES)]
Why = Annotated[str, Field(max_length=MAX_MOVE_REASON_CHARS)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]


class MoveQuestion(BaseModel):
    """A move that somebody thinks of."""

    model_config = STRICT

    tenant: TenantId
    target: Annotated[CellId, Field(description="The cell that is to have it")]


class MovePlan(BaseModel):
    """A move that the directory has nothing against."""

    tenant: str
    source: str = Field(description="The cell that serves it")
    target: str


class MoveSpec(BaseModel):
    """What a move has reached, as its mover says."""

    model_config = STRICT

    tenant: TenantId
    source: Annotated[CellId, Field(description="The cell that has the tenant")]
    target: Annotated[CellId, Field(description="The cell that is to have it")]
    phase: Annotated[PhaseName, Field(description="What is reached; what may follow what is in docs/moves.md")]
    reason: Annotated[Why, Field(description="Of its end")] = ""
    hold_seconds: Annotated[Seconds, Field(description="How long the way back is held open behind the flip")] = 0.0
    flipped_epoch: Annotated[
        int | None, Field(ge=1, lt=2**63, description="By which the tenant is the target's; null before")
    ] = None
    pause_seconds: Annotated[
        float | None,
        Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False, description="For how long writes waited; null: not known"),
    ] = None

    def said_of(self, move_id: str) -> SaidMove:
        """The same, as the directory takes it."""
        return SaidMove(
            move_id,
            self.tenant,
            self.source,
            self.target,
            Phase(self.phase),
            self.reason,
            self.hold_seconds,
            self.flipped_epoch,
            self.pause_seconds,
        )


class MoveReport(BaseModel):
    """How far a mover is with the step that it makes. Kept in memory: it says so each second."""

    model_config = STRICT

    doing: Annotated[str, Field(max_length=MAX_DOING_CHARS, description="For people")] = ""
    rows: Count = 0
    bytes: Count = 0
    rows_expected: Annotated[Count, Field(description="By an estimate; 0 where there is none")] = 0
    bytes_expected: Annotated[Count, Field(description="Likewise")] = 0
    lag_seconds: Annotated[
        float | None, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False, description="How far the target is behind")
    ] = None
    eta_seconds: Annotated[
        float | None, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False, description="Until this step ends, about")
    ] = None
    reason: Annotated[Why, Field(description="Why it could not go on, the last time that it could not")] = ""
    wish: Annotated[WishName, Field(description="What it goes by; at its own machine it may be asked for others")] = (
        "run"
    )
    heard_epoch: Annotated[
        int, Field(ge=0, lt=2**63, description="`wish_epoch` of the last wish that it took from here; 0 for none")
    ] = 0


class WishSpec(BaseModel):
    """What somebody wants of a move."""

    model_config = STRICT

    wish: Annotated[
        WishName,
        Field(
            description="`pause` before writes are held, `abort` before the flip, `rollback` behind it, `release` to "
            "give the way back up, `release-anyway` to do so without its last check, `run` to go on"
        ),
    ]


class MoveOrder(BaseModel):
    """What a mover is to do."""

    wish: WishName
    wish_epoch: int = Field(description="Larger with each wish; 0 where nobody wanted anything yet")
    phase: PhaseName = Field(description="What it reached, as is known here")


class MoveView(BaseModel):
    """A move of a tenant."""

    id: str
    tenant: str
    source: str
    target: str
    phase: PhaseName
    living: bool = Field(description="Whether it has not ended")
    reason: str
    hold_seconds: float
    flipped_epoch: int | None
    pause_seconds: float | None = Field(description="For how long writes waited")
    began: str = Field(description="When it began to be known; UTC, ISO 8601, as all times here")
    reached: str = Field(description="When its phase was reached")
    ended: str | None
    wish: WishName = Field(description="What is wanted of it")
    wish_epoch: int
    heard: bool = Field(description="Whether its mover knows that")
    progress: MoveReport | None = Field(description="Null where its mover has said nothing to this control plane yet")
    report_age_seconds: float | None = Field(description="How long ago that was")
    version: int = Field(description="Epoch of its last change")

    @classmethod
    def of(cls, record: MoveRecord, report: MoveReport | None = None, age_seconds: float | None = None) -> "MoveView":
        """That of a move of the directory, and of what its mover said last."""
        said = record.said
        heard = report is not None and report.heard_epoch >= record.wish_epoch
        return cls(
            id=said.id,
            tenant=said.tenant,
            source=said.source,
            target=said.target,
            phase=said.phase.value,
            living=record.ended is None,
            reason=report.reason if report is not None and not said.reason else said.reason,
            hold_seconds=said.hold_seconds,
            flipped_epoch=said.flipped_epoch,
            pause_seconds=said.pause_seconds,
            began=record.began,
            reached=record.reached,
            ended=record.ended,
            wish=report.wish if report is not None and heard else record.wish.value,
            wish_epoch=record.wish_epoch,
            heard=heard,
            progress=report,
            report_age_seconds=None if age_seconds is None else round(max(0.0, age_seconds), 1),
            version=record.version,
        )


class MoveList(BaseModel):
    """One page of the moves, in the order in which they began."""

    items: list[MoveView]
    next: int | None = Field(description="`after`, or `before`, of the next page; null on the last")


def wish_of(name: WishName) -> Wish:
    """The wish of this name."""
    return Wish(name)
