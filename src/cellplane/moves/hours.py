"""Hours of the day in which a move may put load on the cells (pure)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cellplane.moves.errors import MoveError

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Hours:
    """From one minute of the day to another, in UTC; over midnight where the first is the later one."""

    begin: int
    """Minutes since midnight."""

    end: int

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """Read ``22:00-06:00``.

        Raises:
            MoveError: it is written otherwise, or has no length.
        """
        found = _HOURS.fullmatch(text)
        if found is None:
            raise MoveError(f"{text!r} are no hours: expected such as 22:00-06:00, in UTC")
        begin_hour, begin_minute, end_hour, end_minute = map(int, found.groups())
        begin, end = 60 * begin_hour + begin_minute, 60 * end_hour + end_minute
        if begin == end:
            raise MoveError(f"{text!r} has no length: leave it out where a move may go on at any hour")
        return cls(begin, end)

    def wait_seconds(self, now: float) -> float:
        """How long it is until they begin; 0 within them.

        Args:
            now: Unix seconds.
        """
        at = datetime.fromtimestamp(now, UTC)
        minutes = 60 * at.hour + at.minute
        if self.begin < self.end:
            is_within = self.begin <= minutes < self.end
        else:
            is_within = minutes >= self.begin or minutes < self.end
        if is_within:
            return 0.0
        begins = at.replace(hour=self.begin // 60, minute=self.begin % 60, second=0, microsecond=0)
        if begins <= at:
            begins += timedelta(days=1)
        return (begins - at).total_seconds()
