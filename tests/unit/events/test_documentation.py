"""The code of docs/events.md runs, as it stands there."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import psycopg

from cellplane.events.analytics.query import By, Question, counts
from cellplane.events.analytics.settings import QueryLimits
from cellplane.events.analytics.stores import open_for_reading
from cellplane.events.settings import EVENTS_URL_VARIABLE
from e2e_app.servers import Nats
from unit.events.test_counting import consume, settings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "events.md"


def test_the_snippets_add_events_and_carry_them(database_url: str, nats: Nats, tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    environ = {"CELLPLANE_DATABASE_URL": database_url, EVENTS_URL_VARIABLE: nats.url}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "relayed=2" in done.stdout
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    store = str(tmp_path / "analytics.duckdb")
    assert asyncio.run(consume(settings(store, nats.url))).counted == 2
    opened = open_for_reading(store, QueryLimits())
    found = counts(opened, Question((By.TENANT, By.CELL, By.TYPE)), 10)
    opened.close()
    assert [(*each.by, each.events, int(each.sums["bytes"])) for each in found] == [
        ("acme", "cell-3", "order.created", 1, 120),
        ("acme", "cell-3", "order.paid", 1, 120),
    ]
