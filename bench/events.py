"""``make bench-events``: how many events a second leave a cell, and are counted. Real PostgreSQL and NATS, loopback.

Each round carries the same payloads three ways, one after the other, in an order that is drawn anew:

- ``relay``: out of the outbox by the relay's own process: read, publish, wait, delete;
- ``plain``: the same messages by nats-py's pipelined publishing, from memory, without an outbox: the baseline;
- ``batch``: the same from memory as JetStream's batches, which is what the relay does, without an outbox.

Beside that: what adding an event costs a transaction, and how fast one consumer counts into DuckDB: with the file for
itself, giving it back between batches (``--share``), and with somebody who reads it again and again meanwhile.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import nats
import psycopg
from nats.js import JetStreamContext

import measure
from cellplane.cell import CellContext, entered
from cellplane.events import Event, Outbox, RelaySettings, StreamSettings, create_outbox
from cellplane.events.analytics.consumer import AnalyticsConsumer
from cellplane.events.analytics.settings import AnalyticsSettings
from cellplane.events.event import CONTENT_TYPE, WaitingEvent
from cellplane.events.publisher import Publisher
from cellplane.events.settings import EVENTS_URL_VARIABLE
from cellplane.events.stream import ensure_stream
from e2e_app.servers import Nats, Postgres

CELL = "cell-a"
TENANTS = 200
STREAM = StreamSettings(max_bytes=2 * 1024**3)
GOAL_EPS = 5_000.0
WINDOW = 1_000
ADDED_AT_ONCE = 200
WAIT_SECONDS = 120.0
COUNTING_ROUNDS = 5


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="events a second from an outbox to the stream")
    parser.add_argument("--rounds", type=int, default=9, help="alternating rounds (default 9)")
    parser.add_argument("--events", type=int, default=20_000, help="of each way in each round (default 20,000)")
    parser.add_argument("--bytes", type=int, default=300, help="of text in each event (default 300)")
    parser.add_argument("--seed", type=int, default=1, help="of tenants and of the order of ways (default 1)")
    options = parser.parse_args()
    print(f"seed {options.seed}; {os.cpu_count()} cores; {options.events:,} events a way and round", flush=True)
    with tempfile.TemporaryDirectory(prefix="cellplane-bench-") as folder:
        results = _measure(Path(folder), options)
    holds = results["relay_eps"] >= GOAL_EPS
    print(f"{'holds' if holds else 'DOES NOT HOLD'}: relay_eps ≥ {GOAL_EPS:,.0f}, found {results['relay_eps']:,}")
    print(f"written to {measure.write_results('events', results)}")
    sys.exit(0 if holds else 1)


def _measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    postgres, server = Postgres(folder), Nats(folder)
    try:
        postgres.start_and_wait()
        server.start_and_wait()
        with psycopg.connect(postgres.url) as connection:
            create_outbox(connection)
        return asyncio.run(_Bench(folder, postgres, server, options).run())
    finally:
        server.stop()
        postgres.stop()


READ = """
import sys, threading
from cellplane.events.analytics import StoreError
from cellplane.events.analytics.query import Question, counts
from cellplane.events.analytics.settings import QueryLimits
from cellplane.events.analytics.stores import open_for_reading
reads, ended = 0, threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.wait(0.2):
    try:
        store = open_for_reading(sys.argv[1], QueryLimits())
        counts(store, Question(), 100_000)
        store.close()
    except StoreError:  # not there yet
        continue
    reads += 1
print(reads)
"""


class _Reader:
    """A process that asks a store five times a second."""

    def __init__(self, store: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", READ, store], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def stop(self) -> int:
        """End it; how many answers it got."""
        return int(self._process.communicate(timeout=WAIT_SECONDS)[0])


class _Bench:
    def __init__(self, folder: Path, postgres: Postgres, server: Nats, options: argparse.Namespace) -> None:
        self._folder = folder
        self._postgres = postgres
        self._server = server
        self._options = options
        self._rng = random.Random(options.seed)
        self._text = "x" * options.bytes
        self._settings = RelaySettings(CELL, postgres.url, server.url)

    async def run(self) -> dict[str, Any]:
        options = self._options
        client = await nats.connect(self._server.url)
        jetstream = client.jetstream()
        await ensure_stream(jetstream, STREAM)
        relay = self._start_relay()
        ways: dict[str, Callable[[JetStreamContext], Awaitable[float]]] = {
            "relay": self._relay,
            "plain": self._plain,
            "batch": self._batch,
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        self._cpu: list[float] = []
        self._pid = relay.pid
        try:
            for way in ways.values():  # once for nothing: caches, connections, the first files
                await way(jetstream)
            self._cpu.clear()
            for round_ in range(options.rounds):
                for name in self._rng.sample(list(ways), len(ways)):
                    found[name].append(options.events / await ways[name](jetstream))
                    await jetstream.purge_stream(STREAM.name)
                shown = ", ".join(f"{name} {rates[-1]:,.0f}/s" for name, rates in found.items())
                print(f"round {round_ + 1}: {shown}", flush=True)
            counting = await self._counting(jetstream)
        finally:
            relay.terminate()
            relay.wait(30)
            await client.close()
        results: dict[str, Any] = {
            "seed": options.seed,
            "rounds": options.rounds,
            "events": options.events,
            "bytes": options.bytes,
            "cores": os.cpu_count(),
            **{f"{name}_eps": round(statistics.median(rates), 1) for name, rates in found.items()},
            **{f"{name}_eps_spread": [round(min(rates), 1), round(max(rates), 1)] for name, rates in found.items()},
            "relay_to_plain": _ratio(found["relay"], found["plain"]),
            "relay_to_batch": _ratio(found["relay"], found["batch"]),
            "relay_cpu_us": round(statistics.median(self._cpu), 1),
            **self._adding(),
            **counting,
        }
        print(json.dumps(results, indent=1))
        return results

    def _start_relay(self) -> subprocess.Popen[bytes]:
        environ = os.environ | {
            "CELLPLANE_CELL_ID": CELL,
            "CELLPLANE_DATABASE_URL": self._postgres.url,
            EVENTS_URL_VARIABLE: self._server.url,
        }
        log = (self._folder / "relay.log").open("wb")
        return subprocess.Popen([sys.executable, "-m", "cellplane.events.relay"], env=environ, stderr=log)

    async def _relay(self, jetstream: JetStreamContext) -> float:
        """Seconds from the commit of all events until the outbox is empty."""
        with psycopg.connect(self._postgres.url) as connection:
            outbox = Outbox()
            for _ in range(self._options.events // ADDED_AT_ONCE):
                with entered(CellContext(CELL, 7, self._tenant())):
                    outbox.add(connection, *[self._event(number) for number in range(ADDED_AT_ONCE)])
            before, cpu = (await jetstream.stream_info(STREAM.name)).state.last_seq, measure.cpu_us(self._pid)
            connection.commit()
            began = time.perf_counter()
        wanted = before + self._options.events // ADDED_AT_ONCE * ADDED_AT_ONCE
        while (await jetstream.stream_info(STREAM.name)).state.last_seq < wanted:  # a server's state
            assert time.perf_counter() - began < WAIT_SECONDS, "the relay is stuck"
            await asyncio.sleep(0.01)
        with psycopg.connect(self._postgres.url, autocommit=True) as connection:
            while connection.execute("SELECT 1 FROM cellplane_outbox LIMIT 1").fetchone():  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        seconds = time.perf_counter() - began
        self._cpu.append((measure.cpu_us(self._pid) - cpu) / self._options.events)
        return seconds

    async def _plain(self, jetstream: JetStreamContext) -> float:
        """Seconds for the same messages, published from memory, so many waiting for their acknowledgement."""
        events = self._in_memory()
        began = time.perf_counter()
        for start in range(0, len(events), WINDOW):
            answers = [
                await jetstream.publish_async(
                    event.subject(CELL),
                    event.body(CELL),
                    headers={"Nats-Msg-Id": event.id, "Content-Type": CONTENT_TYPE},
                )
                for event in events[start : start + WINDOW]
            ]
            await asyncio.gather(*answers)
        return time.perf_counter() - began

    async def _batch(self, _jetstream: JetStreamContext) -> float:
        """Seconds for the same messages, published from memory as batches."""
        events = self._in_memory()
        async with await Publisher.connect(self._settings) as publisher:
            began = time.perf_counter()
            for start in range(0, len(events), WINDOW):
                outcome = await publisher.publish(events[start : start + WINDOW])
                assert not outcome.failure, outcome.failure
            return time.perf_counter() - began

    async def _counting(self, jetstream: JetStreamContext) -> dict[str, Any]:
        """How fast one consumer counts: the same events in each way, in rounds, each into a file of its own."""
        await self._batch(jetstream)
        ways = ("alone", "shared", "shared_read")
        found: dict[str, list[float]] = {way: [] for way in ways}
        reads = 0
        for round_ in range(COUNTING_ROUNDS):
            for way in self._rng.sample(ways, len(ways)):
                name = f"{way}-{round_}"
                store = str(self._folder / f"{name}.duckdb")
                settings = AnalyticsSettings(self._server.url, store, stream=STREAM, consumer=name, sums=("bytes",))
                consumer = AnalyticsConsumer(replace(settings, shares_store=way != "alone"))
                reader = _Reader(store) if way == "shared_read" else None
                began = time.perf_counter()
                await consumer.run(asyncio.Event(), until_end=True)
                found[way].append(self._options.events / (time.perf_counter() - began))
                assert consumer.status().counted == self._options.events
                reads += reader.stop() if reader else 0
            print(f"counting {round_ + 1}: " + ", ".join(f"{way} {rates[-1]:,.0f}/s" for way, rates in found.items()))
        return {
            **{f"count_{way}_eps": round(statistics.median(rates), 1) for way, rates in found.items()},
            **{f"count_{way}_to_alone": _ratio(found[way], found["alone"]) for way in ways[1:]},
            "reads_while_counted": reads,
        }

    def _adding(self) -> dict[str, Any]:
        """What one event costs the transaction that adds it, in microseconds of waiting."""
        taken = []
        with psycopg.connect(self._postgres.url) as connection, entered(CellContext(CELL, 7, "acme")):
            outbox = Outbox()
            for number in range(2_000):
                event = self._event(number)
                began = time.perf_counter()
                outbox.add(connection, event)
                taken.append((time.perf_counter() - began) * 1e6)
            connection.rollback()
        return {"add_us": round(statistics.median(taken), 1)}

    def _event(self, number: int) -> Event:
        return Event("order.created", {"bytes": number, "text": self._text})

    def _tenant(self) -> str:
        return f"tenant-{self._rng.randrange(TENANTS)}"

    def _in_memory(self) -> Sequence[WaitingEvent]:
        first = WaitingEvent(0, "", "", "order.created", datetime.now(UTC).isoformat(), 7, "")
        data = json.dumps({"bytes": 1, "text": self._text})
        return [
            replace(first, seq=number, id=str(uuid4()), tenant_id=self._tenant(), data=data)
            for number in range(self._options.events)
        ]


def _ratio(rates: Sequence[float], others: Sequence[float]) -> Any:
    """Of rounds, one by one."""
    return measure.summary([a / b for a, b in zip(rates, others, strict=True)])


if __name__ == "__main__":
    main()
