"""Reports say what really runs, at once when it changes, and nothing waits for them."""

import asyncio
import time
from pathlib import Path

import pytest

from cellplane import __version__
from unit.agent import fake_control
from unit.agent.fake_control import FakeControl, Misbehaviour
from unit.agent.running import running, sha256_of, table_of


def test_a_report_is_what_the_control_plane_takes(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: bool(control.reports), "the first report")
            first = control.reports[0]
            assert abs(first.pop("at") - time.time()) < 60
            assert first == {
                "id": "router-1",
                "epoch": 5,
                "sha256": sha256_of(table_of(5)),
                "version": __version__,
                "proxy": "fake 1.0",
                "ready": True,
                "rejected": None,
                "cells": {"cell-1": {"hosts": 1, "healthy_hosts": 1}},
                "suspects": [],
                "waiting_seconds": 0.0,
            }
            await agent.until(lambda: len(control.reports) >= 3, "it goes on reporting")

    asyncio.run(scenario())


def test_a_change_is_reported_at_once(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url, report_interval_seconds=60) as agent:
            await agent.until(lambda: len(control.reports) == 1, "the first report")
            control.publish(table_of(6))
            await agent.until(lambda: control.last()["epoch"] == 6, "the next")

    asyncio.run(scenario())


def test_a_proxy_that_does_not_answer_is_reported_as_unknown(tmp_path: Path, control: FakeControl) -> None:
    async def scenario() -> None:
        control.publish(table_of(5))
        async with running(tmp_path, control.url) as agent:
            await agent.until(lambda: bool(control.reports), "the first report")
            agent.engine.state_fails = True
            await agent.until(lambda: control.last()["proxy"] == "unknown", "it is reported")
            assert control.last()["ready"] is False
            assert control.last()["cells"] == {}
            assert control.last()["epoch"] == 5

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "misbehave",
    [
        fake_control.status(500),
        fake_control.status(422),
        fake_control.status(301),
        fake_control.close,
        fake_control.no_http,
        fake_control.hang,
    ],
    ids=["500", "422", "301", "closes", "no http", "hangs"],
)
def test_failing_reports_never_stop_the_agent(tmp_path: Path, control: FakeControl, misbehave: Misbehaviour) -> None:
    async def scenario() -> None:
        control.report_misbehave = misbehave
        control.publish(table_of(5))
        async with running(tmp_path, control.url, report_timeout_seconds=0.1) as agent:
            await agent.until(lambda: control.reports_tried >= 2, "it reports again")
            control.publish(table_of(6))
            await agent.until(lambda: agent.engine.applied == [6], "tables go on")
            control.report_misbehave = None
            await agent.until(lambda: control.last().get("epoch") == 6, "reports are back")

    asyncio.run(scenario())
