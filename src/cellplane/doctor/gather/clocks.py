"""Other machines' clocks, by what they say in answers."""

from email.utils import parsedate_to_datetime

from cellplane.doctor.facts import Clock

_DATE_WITHIN_SECONDS = 1.0
"""A `Date` has whole seconds, and servers make it anew once a second."""


def clock_of_date(whose: str, date: str | None, sent_at: float, received_at: float) -> Clock | None:
    """A clock by the `Date` of an answer (RFC 9110, 6.6.1); None where it has none that can be read.

    Args:
        date: the header's value.
        sent_at: when the request was sent, Unix seconds by this machine's clock.
        received_at: when the answer came.
    """
    if date is None:
        return None
    try:
        said = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
    return _clock(whose, said, sent_at, received_at, _DATE_WITHIN_SECONDS)


def clock_of_moment(whose: str, said: float, sent_at: float, received_at: float) -> Clock:
    """A clock by a moment in an answer, Unix seconds; other arguments as of ``clock_of_date``."""
    return _clock(whose, said, sent_at, received_at, 0.0)


def _clock(whose: str, said: float, sent_at: float, received_at: float, within: float) -> Clock:
    half = max(0.0, received_at - sent_at) / 2
    return Clock(whose, said + within / 2 - (sent_at + half), half + within)
