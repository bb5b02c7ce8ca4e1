"""Who a line of a log is about."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from cellplane.cell import CellContext, entered
from cellplane.cell.logs import ContextFilter, ContextProcessor

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
