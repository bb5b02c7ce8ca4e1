"""Who a line of a log is about."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from cellplane.cell import CellContext, entered
from cellplane.cell.logs import ContextFilter, ContextProcessor, JsonFormatter

ACME = CellContext("cell-3", 7, "acme")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.addFilter(ContextFilter("cell-3"))
    handler.setFormatter(logging.Formatter("%(cell)s %(tenant)s %(epoch)s %(message)s"))
    logger = logging.getLogger("app")
    logger.addHandler(handler)
    yield text
    logger.removeHandler(handler)


def test_every_record_says_its_cell_and_tenant(lines: io.StringIO) -> None:
    logging.getLogger("app.part").warning("outside")
    with entered(ACME):
        logging.getLogger("app.part").warning("inside")
        logging.getLogger("app").warning("of another", extra={"tenant": "globex"})
    assert lines.getvalue().splitlines() == [
        "cell-3 None None outside",
        "cell-3 acme 7 inside",
        "cell-3 globex 7 of another",
    ]


def test_structlog_says_them_too() -> None:
    with structlog.testing.capture_logs(processors=[ContextProcessor("cell-3")]) as said:
        structlog.get_logger().info("outside")
        with entered(ACME):
            structlog.get_logger().info("inside", tenant="globex")
    assert said == [
        {"event": "outside", "cell": "cell-3", "log_level": "info"},
        {"event": "inside", "cell": "cell-3", "tenant": "globex", "epoch": 7, "log_level": "info"},
    ]


def test_a_line_of_json_has_what_was_given_and_no_message_of_an_exception(lines: io.StringIO) -> None:
    (handler,) = logging.getLogger("app").handlers
    handler.setFormatter(JsonFormatter(process="worker"))
    with entered(ACME):
        try:
            raise ValueError("a secret")
        except ValueError:
            logging.getLogger("app").exception("failed %s", "here", extra={"order": 5, "level": "odd"})
    line = json.loads(lines.getvalue())
    assert line.pop("at").endswith("+00:00")
    (place,) = line.pop("stack")
    assert "test_logs.py:" in place
    assert line == {
        "level": "error",
        "process": "worker",
        "cell": "cell-3",
        "tenant": "acme",
        "epoch": 7,
        "logger": "app",
        "message": "failed here",
        "order": 5,
        "exception": "ValueError",
    }


def test_a_process_logs_json_to_stderr() -> None:
    lines = [
        "import logging",
        "from cellplane.cell.logs import log_json",
        "log_json('cell-3', process='api')",
        "logging.getLogger('asyncio').info('of every task')",
        "logging.getLogger('app').info('begins')",
    ]
    ended = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60, check=True
    )
    line = json.loads(ended.stderr)
    assert (line["cell"], line["process"], line["tenant"], line["message"]) == ("cell-3", "api", None, "begins")
