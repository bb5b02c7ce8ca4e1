"""Any course of moves against a plain model that forgets nothing: doors and old work go by the newest that was said."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.cell import Here, MovedTo, Moves, Unknown
from cellplane.cell.errors import StaleMoveError
from support.depth import examples
from unit.cell.move_records import CELL, DAY, Clock, admits, opened

TENANTS = "abc"
LAST_EPOCH = 9


@dataclass
class Model:
    """All that was ever said."""

    said: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    """Cell, epoch, and when."""
    floor: int = 0
    """The last epoch that was forgotten."""

    def epoch_of(self, tenant: str) -> int:
        """What a note of a tenant has to be after."""
        return self.said[tenant][1] if tenant in self.said else self.floor

    def where(self, tenant: str, epoch: int) -> Here | MovedTo | Unknown:
        if tenant not in self.said:
            return Here() if epoch >= self.floor else Unknown()
        cell_id, since, _ = self.said[tenant]
        return Here() if cell_id == CELL or epoch >= since else MovedTo(cell_id, since)


NOTES = st.dictionaries(
    st.sampled_from(TENANTS),
    st.tuples(st.sampled_from([CELL, "cell-2", "cell-3"]), st.integers(1, LAST_EPOCH - 1)),
    min_size=1,
)
FORGETTING = st.tuples(st.integers(0, LAST_EPOCH), st.none() | st.integers(0, 5))
STEPS = st.lists(st.tuples(st.integers(0, 3), NOTES | FORGETTING), max_size=14)


@settings(max_examples=examples(40), deadline=None)
@given(steps=STEPS, spare_lines=st.integers(0, 4))
def test_any_course_of_moves_agrees_with_a_plain_model(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[int, dict[str, tuple[str, int]] | tuple[int, int | None]]],
    spare_lines: int,
) -> None:
    """Three processes, of which one writes at a time, and one that has just been started."""
    path = tmp_path_factory.mktemp("cell") / "moves"
    clock = Clock()
    processes = [opened(path, clock, keep_seconds=2 * DAY, spare_lines=spare_lines) for _ in range(3)]
    model = Model()
    gone: dict[str, int] = {}
    oldest_epoch = 0
    for number, (days, step) in enumerate(steps):
        clock.now += days * DAY
        process = processes[number % 3]
        if isinstance(step, dict):
            news = {
                tenant: (cell_id, epoch) for tenant, (cell_id, epoch) in step.items() if epoch > model.epoch_of(tenant)
            }
            is_refused = any(
                (cell_id, epoch) != model.said.get(tenant, ("", 0, 0.0))[:2]
                for tenant, (cell_id, epoch) in step.items()
                if tenant not in news
            )
            if is_refused:
                with pytest.raises(StaleMoveError):
                    process.note_all(step)
                news = {}
            else:
                assert process.note_all(step) == len(news)
            for tenant, (cell_id, epoch) in news.items():
                model.said[tenant] = (cell_id, epoch, clock.now)
                gone[tenant] = 0 if cell_id == CELL else epoch
        else:
            epoch, days_ago = step
            oldest_work_at = None if days_ago is None else clock.now - days_ago * DAY
            before = min(clock.now - 2 * DAY, clock.now if oldest_work_at is None else oldest_work_at)
            forgettable = [tenant for tenant, (_, since, at) in model.said.items() if since <= epoch and at < before]
            assert process.forget(epoch, oldest_work_at=oldest_work_at) == len(forgettable)
            model.floor = max([model.floor, *(model.said.pop(tenant)[1] for tenant in forgettable)])
            oldest_epoch = max(oldest_epoch, epoch)
        for asked in (*TENANTS, "never-moved"):
            for epoch in range(LAST_EPOCH + 1):
                expected = model.where(asked, epoch)
                for each in (*processes, Moves(path, CELL)) if epoch == 4 else processes:
                    assert each.of(asked, epoch) == expected
                    assert admits(each, asked, epoch) == isinstance(expected, Here)
                # Whatever was forgotten since: who is another cell's is let in by no older table, and who routes by
                # one that all routers have is never refused for another's move.
                if epoch < gone.get(asked, 0):
                    assert not isinstance(expected, Here)
                if asked == "never-moved" and epoch >= oldest_epoch:
                    assert isinstance(expected, Here)
    assert all(process.trouble is None for process in processes)
