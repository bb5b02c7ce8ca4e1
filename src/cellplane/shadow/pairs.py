"""Brings the two halves of a comparison together, within a time and a number."""

from typing import NamedTuple

from cellplane.shadow.answer import Answer


class Pair(NamedTuple):
    """A cell's answer, and its shadow's: None where that has not come in time."""

    cell: Answer
    shadow: Answer | None


class Pairs:
    """Halves that wait for the other.

    Args:
        wait_seconds: how long one waits.
        most: how many wait at once; with another one, the one that came first waits no longer.
    """

    def __init__(self, wait_seconds: float, most: int) -> None:
        self._wait_seconds = wait_seconds
        self._most = most
        self._waiting: dict[str, tuple[Answer, float]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def oldest_seconds(self, now: float) -> float:
        """For how long the one has waited that came first; 0 where none waits."""
        _, deadline = next(iter(self._waiting.values()), (None, now + self._wait_seconds))
        return now - (deadline - self._wait_seconds)

    def take(self, answer: Answer, now: float) -> list[Pair]:
        """Take a half; gives the pair that it completes, and those of which nobody waits for the rest any more."""
        ended = self.expire(now)
        other, _ = self._waiting.pop(answer.pair, (None, 0.0))
        if other is None:
            self._waiting[answer.pair] = (answer, now + self._wait_seconds)
            if len(self._waiting) > self._most:
                ended += self._give_up(next(iter(self._waiting)))
        elif answer.side != other.side and (answer.tenant, answer.shadow) == (other.tenant, other.shadow):
            ended.append(Pair(answer, other) if answer.side == "cell" else Pair(other, answer))
        else:
            # Of two requests by an accident: what is one tenant's is never compared with what is another's.
            ended += [Pair(half, None) for half in (answer, other) if half.side == "cell"]
        return ended

    def expire(self, now: float) -> list[Pair]:
        """Give up those that have waited too long."""
        late = []
        for pair, (_, deadline) in self._waiting.items():
            if deadline > now:
                break
            late.append(pair)
        return [ended for pair in late for ended in self._give_up(pair)]

    def _give_up(self, pair: str) -> list[Pair]:
        """A shadow's half alone is nobody's: that the cell's was lost is counted where it was."""
        answer, _ = self._waiting.pop(pair)
        return [Pair(answer, None)] if answer.side == "cell" else []
