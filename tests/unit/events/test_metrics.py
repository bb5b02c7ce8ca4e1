"""What the cell tells of its outbox, under which names."""

import re
from pathlib import Path

from prometheus_client import generate_latest

from cellplane.cell.telemetry import CellRegistry
from cellplane.events import OutboxState
from cellplane.events.metrics import OutboxCollector

PAGE = Path(__file__).resolve().parents[3] / "docs" / "events.md"
STATE = OutboxState(
    waiting=3,
    oldest_seconds=1.5,
    places=4,
    max_events=10,
    when_full="refuse",
    dropped=5,
    refused=1,
    has_relay=True,
    relayed=40,
    failures=2,
)


def told(state: OutboxState | None) -> dict[str, float]:
    registry = CellRegistry("cell-3")
    registry.register(OutboxCollector(lambda: state))
    lines = [line.rpartition(" ") for line in generate_latest(registry).decode().splitlines() if line[0] != "#"]
    return {series: float(value) for series, _, value in lines}


def test_all_of_it_is_told_with_the_cell_and_documented() -> None:
    names = {
        "cellplane_outbox_waiting_events": 3,
        "cellplane_outbox_oldest_seconds": 1.5,
        "cellplane_outbox_max_events": 10,
        "cellplane_outbox_dropped_total": 5,
        "cellplane_outbox_refused_events": 1,
        "cellplane_relay_leads": 1,
        "cellplane_relay_relayed_events_total": 40,
        "cellplane_relay_failures_total": 2,
    }
    assert told(STATE) == {f'{name}{{cell="cell-3"}}': value for name, value in names.items()}
    assert set(re.findall(r"^\| `(cellplane_\w+)` \|", PAGE.read_text(), re.MULTILINE)) == set(names)


def test_nothing_is_told_of_what_is_not_known() -> None:
    assert told(None) == {}
