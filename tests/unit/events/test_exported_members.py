"""What the package shows, and what importing it costs an app that only adds events."""

import json
import subprocess
import sys

import cellplane.events
import cellplane.events.analytics


def test_public_names_are_exactly_these() -> None:
    assert cellplane.events.__all__ == [
        "Event",
        "EventsError",
        "InvalidEventError",
        "NoTransactionError",
        "Outbox",
        "OutboxDiskFullError",
        "OutboxFullError",
        "OutboxMissingError",
        "OutboxSettings",
        "OutboxState",
        "RelaySettings",
        "StreamSettings",
        "WhenFull",
        "create_outbox",
        "create_outbox_async",
    ]
    assert cellplane.events.analytics.__all__ == [
        "AnalyticsError",
        "AnalyticsSettings",
        "QueryError",
        "StoreError",
        "StoreLockedError",
    ]
    for module in (cellplane.events, cellplane.events.analytics):
        assert all(hasattr(module, name) for name in module.__all__)


def test_an_app_that_adds_events_imports_no_driver_and_no_client() -> None:
    lines = [
        "import json, sys",
        "before = set(sys.modules)",
        "import cellplane.events",
        "print(json.dumps(sorted(set(sys.modules) - before)))",
    ]
    output = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, check=True).stdout
    packages = {name.partition(".")[0] for name in json.loads(output)}
    assert packages <= sys.stdlib_module_names | {"cellplane"}
