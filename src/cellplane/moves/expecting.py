"""About how long a move takes and its writes wait, before it begins; and whether it is too large to begin so (pure)."""

from dataclasses import dataclass

from cellplane.moves.fields import Reader
from cellplane.moves.settings import CutoverSettings, EstimateSettings, SizeLimits

FIELD = "limits"
"""Name of the field of moves.yaml."""

_MOST = 1e18


@dataclass(frozen=True, slots=True)
class Carried:
    """What a move carries.

    Attributes:
        rows: about how many.
        bytes: about how much they take.
        messages: of queued work, which goes over while writes wait.
    """

    rows: int
    bytes: int
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Expected:
    """About what a move takes, in seconds.

    Attributes:
        copy_seconds: of its rows.
        compare_seconds: of its rows.
        other_seconds: until the flip besides, with a shadow.
        pause_seconds: for which its writes wait, as half of all moves.
        pause_rare_seconds: the same, which one of a hundred takes longer than.
        pause_bound_seconds: for which they wait before the flip at most: then they go on at the source.
    """

    copy_seconds: float
    compare_seconds: float
    other_seconds: float
    pause_seconds: float
    pause_rare_seconds: float
    pause_bound_seconds: float

    @property
    def seconds(self) -> float:
        """Until the flip; waiting for hours of the day is not in it, nor is the hold behind it."""
        return self.copy_seconds + self.compare_seconds + self.other_seconds


def expected(
    carried: Carried,
    *,
    of_files: bool = False,
    copy_bytes_per_second: int | None = None,
    shadow_seconds: float = 0.0,
    settings: EstimateSettings | None = None,
    cutover: CutoverSettings | None = None,
) -> Expected:
    """What a move takes that goes as those that were measured.

    Rows that are small cost by their number, large ones by their size: what takes longer counts.

    Args:
        carried: how much.
        of_files: between SQLite files, rather than PostgreSQL's databases.
        copy_bytes_per_second: most that is copied.
        shadow_seconds: how long answers are compared before.
        settings: how fast that goes.
        cutover: how long writes may wait.
    """
    settings, cutover = settings or EstimateSettings(), cutover or CutoverSettings()
    rows = carried.rows
    copy_rows, compare_rows = settings.copy_rows_per_second, settings.compare_rows_per_second
    if of_files:
        copy_rows = compare_rows = settings.file_rows_per_second
    rate = min(settings.copy_bytes_per_second, copy_bytes_per_second or settings.copy_bytes_per_second)
    handed_over = settings.message_seconds * carried.messages
    return Expected(
        copy_seconds=max(rows / copy_rows, carried.bytes / rate),
        compare_seconds=max(rows / compare_rows, carried.bytes / settings.compare_bytes_per_second),
        other_seconds=settings.steps_seconds + shadow_seconds,
        pause_seconds=settings.pause_seconds + handed_over,
        pause_rare_seconds=settings.pause_rare_seconds + handed_over,
        pause_bound_seconds=cutover.pause_seconds,
    )


def is_too_large(carried: Carried, limits: SizeLimits) -> bool:
    """Whether a move is beyond one of the limits."""
    return carried.rows > limits.rows or carried.bytes > limits.bytes


def read_limits(top: Reader) -> SizeLimits:
    """What moves.yaml says of the size from which on a move has to be forced.

    Raises:
        WrongError: it says something that is not understood.
    """
    usual, place = SizeLimits(), top.at(FIELD)
    if place is None:
        return usual
    found = Reader(place.node, place.path, ("rows", "bytes"))
    return SizeLimits(*(int(found.number(name, getattr(usual, name), 1, _MOST)) for name in ("rows", "bytes")))
