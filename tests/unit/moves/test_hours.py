"""Hours are read, and waited for, also over midnight."""

from datetime import UTC, datetime

import pytest

from cellplane.moves.errors import MoveError
from cellplane.moves.hours import Hours


@pytest.mark.parametrize(
    ("hours", "at", "minutes"),
    [
        ("22:00-06:00", "21:00", 60),
        ("22:00-06:00", "22:00", 0),
        ("22:00-06:00", "00:00", 0),
        ("22:00-06:00", "05:59", 0),
        ("22:00-06:00", "06:00", 16 * 60),
        ("01:30-02:00", "00:30", 60),
        ("01:30-02:00", "01:45", 0),
        ("01:30-02:00", "02:00", 23 * 60 + 30),
    ],
)
def test_they_are_waited_for(hours: str, at: str, minutes: int) -> None:
    now = datetime.fromisoformat(f"2026-03-28T{at}:00").replace(tzinfo=UTC).timestamp()
    assert Hours.parse(hours).wait_seconds(now) == 60 * minutes


@pytest.mark.parametrize(
    "text", ["", "22-06", "22:00-24:00", "22:60-06:00", "22:00–06:00", "22:00-22:00", "9:00-10:00"]
)
def test_what_are_no_hours_is_refused(text: str) -> None:
    with pytest.raises(MoveError, match=r"expected such as 22:00-06:00|has no length"):
        Hours.parse(text)
