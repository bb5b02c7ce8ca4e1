"""What became of a tenant's writes: what clients were told beside what is in both databases. Pure, and of its own.

It knows nothing of how a move is made. Each key is written by one client alone, one write after the other, and never
again once it is not known what became of a write: so there is one order of a key's states, and one or two in which it
may end. Each write also adds a row to a log, in the same transaction, which says which cell took it and when.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """What a client was told of a write."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """The answer did not come, or does not say: it may be done, or not."""


@dataclass(frozen=True, slots=True)
class Write:
    """A write as its client saw it.

    Attributes:
        number: its own, among all of the tenant.
        key: the row.
        value: what the row is then; None: it is deleted.
        began: when it was sent, seconds of the clients' clock.
        ended: when the answer came.
        outcome: what that was.
        cell: who took it, as the answer says; of those that are acknowledged.
        at: when the cell's database had it under way, seconds of the databases' clock; as ``cell``.
    """

    number: int
    key: str
    value: int | None
    began: float
    ended: float
    outcome: Outcome
    cell: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Read:
    """What a client was told of a row; ``value`` None: it is not there."""

    key: str
    value: int | None
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Logged:
    """A row of a cell's log."""

    number: int
    key: str
    cell: str
    at: float


@dataclass(frozen=True, slots=True)
class Rows:
    """What a database has of the tenant: key and value of each row, and the log."""

    entries: Sequence[tuple[str, int]] = ()
    log: Sequence[Logged] = ()


@dataclass
class Verdict:
    """What is wrong, in numbers, and in words.

    Attributes:
        acknowledged: writes; where there are none nothing was proven.
        lost: acknowledged writes that are neither there nor overwritten.
        duplicated: what is there twice, in both cells, or was made by nobody.
        stale: reads that showed less than was acknowledged, or read, before they began.
        two_writers: writes that a cell took while the tenant was the other's.
        said: a line of each.
    """

    acknowledged: int = 0
    lost: int = 0
    duplicated: int = 0
    stale: int = 0
    two_writers: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether all is as it should be."""
        return self.acknowledged > 0 and self.lost + self.duplicated + self.stale + self.two_writers == 0


def judge(writes: Sequence[Write], reads: Sequence[Read], *, home: Rows, other: Rows, cells: Sequence[str]) -> Verdict:
    """Hold what is there to what was said.

    Args:
        writes: of all clients.
        reads: of all clients, by way of routers.
        home: the database of the cell that has the tenant in the end.
        other: the database of the one that has not.
        cells: in which order cells may have taken writes: each for a while, or not at all.
    """
    verdict = Verdict(sum(write.outcome is Outcome.ACKNOWLEDGED for write in writes))
    keys: defaultdict[str, list[Write]] = defaultdict(list)
    for write in sorted(writes, key=lambda write: write.number):
        if write.outcome is not Outcome.REFUSED:
            keys[write.key].append(write)
    for key, history in keys.items():
        assert all(each.outcome is Outcome.ACKNOWLEDGED for each in history[:-1]), f"{key} was written on in doubt"
    _rows(keys, home, other, verdict)
    _reads(keys, reads, verdict)
    _writers(writes, [*home.log, *other.log], cells, verdict)
    return verdict


def _rows(keys: dict[str, list[Write]], home: Rows, other: Rows, verdict: Verdict) -> None:
    made = {write.number: write for history in keys.values() for write in history}
    lost: dict[int, str] = {}
    logged = Counter(row.number for row in home.log)
    for number, write in made.items():
        if write.outcome is Outcome.ACKNOWLEDGED and number not in logged:
            lost[number] = f"write {number} of {write.key} was acknowledged by {write.cell} and is not in the log"
    for number, count in (logged + Counter(row.number for row in other.log)).items():
        if count > 1:
            verdict.duplicated += count - 1
            verdict.said.append(f"write {number} is in the logs {count} times")
        if number not in made:
            verdict.duplicated += 1
            verdict.said.append(f"write {number} is in a log, and nobody made it, or it was refused")
    there: defaultdict[str, list[int]] = defaultdict(list)
    for key, value in home.entries:
        there[key].append(value)
    for key, values in there.items():
        if len(values) > 1:
            verdict.duplicated += len(values) - 1
            verdict.said.append(f"{key} is there {len(values)} times")
        nobodys = [value for value in values if value not in made or made[value].key != key]
        if nobodys:
            verdict.duplicated += len(nobodys)
            verdict.said.append(f"{key} has the values {nobodys}, which nobody gave it")
    for key, history in keys.items():
        found = there[key][-1] if there[key] else None
        # Where its answer did not come, the log says whether the last was done: one transaction wrote both.
        in_doubt = history[-1].outcome is Outcome.UNKNOWN and history[-1].number not in logged
        last = history[-2:-1] if in_doubt else history[-1:]
        wanted = last[0].value if last else None
        if found != wanted:
            lost.setdefault(last[0].number if last else 0, f"{key} is {found}, and was left as {wanted}")
    verdict.lost += len(lost)
    verdict.said += lost.values()
    if other.entries:
        verdict.duplicated += len(other.entries)
        verdict.said.append(f"{len(other.entries)} rows are in the cell that does not have the tenant")


def _reads(keys: dict[str, list[Write]], reads: Sequence[Read], verdict: Verdict) -> None:
    by_key: defaultdict[str, list[Read]] = defaultdict(list)
    for read in reads:
        by_key[read.key].append(read)
    for key, of_key in by_key.items():
        history = keys.get(key, [])
        # The first state is that of a row which nobody has written yet.
        states = [None, *(write.value for write in history)]
        seen: list[tuple[float, int]] = []
        for read in sorted(of_key, key=lambda read: read.began):
            known = [
                place
                for place, write in enumerate(history, 1)
                if write.outcome is Outcome.ACKNOWLEDGED and write.ended < read.began
            ]
            read_before = [place for ended, place in seen if ended < read.began]
            least = max([0, *known, *read_before])
            most = sum(write.began < read.ended for write in history)
            found = [place for place in range(least, most + 1) if states[place] == read.value]
            if found:
                seen.append((read.ended, found[0]))
            else:
                verdict.stale += 1
                verdict.said.append(f"{key} was read as {read.value}, and was {states[least]} before that")


def _writers(writes: Sequence[Write], log: Sequence[Logged], cells: Sequence[str], verdict: Verdict) -> None:
    """Fewest writes without which each cell took them in its turn: by the longest that are in order."""
    taken = {row.number: (row.at, row.cell) for row in log}
    taken |= {each.number: (each.at, each.cell) for each in writes if each.outcome is Outcome.ACKNOWLEDGED}
    in_order = [0] * len(cells)
    for _, cell in sorted(taken.values()):
        # Turns that were passed over are turns without a write.
        in_order = [max(in_order[: turn + 1]) + (cell == whose) for turn, whose in enumerate(cells)]
    out_of_order = len(taken) - max(in_order, default=0)
    if out_of_order:
        verdict.two_writers += out_of_order
        verdict.said.append(f"{out_of_order} of {len(taken)} writes were taken out of turn, of {' → '.join(cells)}")
