"""One run: servers, writers, a relay and a consumer that are killed, again and again, at points and at moments."""

import asyncio
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nats
import psycopg

from cellplane.events.analytics.consumer import FAULT_POINTS as CONSUMER_POINTS
from cellplane.events.relay import FAULT_POINTS as RELAY_POINTS
from cellplane.events.settings import DEFAULT_STREAM, EVENTS_URL_VARIABLE, StreamSettings
from cellplane.events.stream import ensure_stream
from cellplane.faults import FAULT_VARIABLE
from chaos_events.judge import Verdict, judge
from chaos_events.writer import CELL_ID, prepare
from e2e_app.servers import Nats, Postgres, Process, eventually

TESTS = Path(__file__).resolve().parents[1]
RESULTS = Path("build/chaos/events.json")
POINT_SECONDS = 20.0
"""Longest that a process is given to come to its point: it has no work there where a server is away."""

DRAIN_SECONDS = 120.0
WINDOW_SECONDS = 0.3
"""How long the stream knows ids: so short that what is published again after a crash is there twice."""

ACK_SECONDS = 1.0


@dataclass(frozen=True)
class Scale:
    """How much is run.

    Attributes:
        seed: of what is killed, when, and of what is written.
        kills: of processes, by SIGKILL.
        outages: of servers.
        away_seconds: how long the stream's server is not there at the start.
        tps: transactions a second of each of the four threads that write, at most.
    """

    seed: int
    kills: int
    outages: int
    away_seconds: float = 1.5
    tps: float = 40.0


@dataclass
class Outcome:
    """What was done, and what came of it."""

    scale: Scale
    kills: Counter[str]
    outages: Counter[str]
    seconds: float
    verdict: Verdict

    def figures(self) -> dict[str, Any]:
        """For the file."""
        return {
            "seed": self.scale.seed,
            "runs": self.kills.total(),
            "seconds": round(self.seconds, 1),
            "passed": self.verdict.is_right and self.kills.total() >= self.scale.kills,
            **asdict(self.verdict),
            "kills": dict(sorted(self.kills.items())),
            "outages": dict(sorted(self.outages.items())),
        }

    def write(self) -> Path:
        """Write the file."""
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(self.figures(), indent=1) + "\n")
        return RESULTS


class Victim:
    """A program that is started and killed.

    Args:
        process: not started.
        points: in it at which it can be made to die.
        most: how often it passes one before it dies there, at most.
    """

    def __init__(self, process: Process, points: Sequence[str], most: int) -> None:
        self._process = process
        self._points = points
        self._most = most
        self.kills: Counter[str] = Counter()

    def kill(self, times: int, rng: random.Random, stop: threading.Event) -> None:
        """Start it and kill it so often: at each of its points, then at points and moments as they are drawn.

        Then start it once more, as the others need its work.
        """
        for number in range(times):
            if stop.is_set():
                return
            if number < len(self._points):
                self._die_at(self._points[number], 1)
            elif self._points and rng.random() < 0.5:
                self._die_at(rng.choice(self._points), rng.randint(1, self._most))
            else:
                self._die_after(rng.uniform(0.2, 2.0))
        self._process.start()

    def stop(self) -> None:
        """End it."""
        self._process.stop()

    def _die_at(self, point: str, time_: int) -> None:
        self._process.start(**{FAULT_VARIABLE: f"{point}:{time_}"})
        deadline = time.monotonic() + POINT_SECONDS
        while self._process.running and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._process.running:
            self._process.kill()
            self.kills[f"never came to {point}, killed at a moment"] += 1
            return
        self._note(point)

    def _die_after(self, seconds: float) -> None:
        self._process.start()
        time.sleep(seconds)
        self._process.kill()
        self._note(f"{self._process.name} at a moment")

    def _note(self, what: str) -> None:
        status = self._process.wait()
        assert status == -signal.SIGKILL, (
            f"{self._process.name} ended by itself, with {status}: see {self._process.log}"
        )
        self.kills[what] += 1


class Run:
    """Servers, and what is killed beside them."""

    def __init__(self, folder: Path, scale: Scale) -> None:
        self._scale = scale
        self._rng = random.Random(scale.seed)
        self._postgres = Postgres(folder)
        self._nats = Nats(folder)
        self._store = folder / "analytics.duckdb"
        python = str(Path(sys.executable))
        environ = {
            **os.environ,
            "PYTHONPATH": str(TESTS),
            "CELLPLANE_CELL_ID": CELL_ID,
            "CELLPLANE_DATABASE_URL": self._postgres.url,
            EVENTS_URL_VARIABLE: self._nats.url,
        }
        relay = [python, "-m", "cellplane.events.relay"]
        consume = [str(Path(python).parent / "cellplane"), "analytics", "consume", "--store", str(self._store)]
        consume += ["--sum", "bytes", "--stream-max-gib", "1", "--ack-seconds", str(ACK_SECONDS)]
        self._relay = Victim(Process("relay", relay, folder / "relay.log", environ), RELAY_POINTS, 12)
        self._consumer = Victim(Process("consumer", consume, folder / "consumer.log", environ), CONSUMER_POINTS, 3)
        self._last = Process("last", [*consume, "--until-end"], folder / "last.log", environ)
        self._writers = [python, "-m", "chaos_events.writer", "--url", self._postgres.url, "--tps", str(scale.tps)]
        self._environ = environ
        self._folder = folder
        self._incarnations = 0
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._outages: Counter[str] = Counter()

    def run(self) -> Outcome:
        """Do all of it."""
        began = time.monotonic()
        try:
            return self._run(began)
        finally:
            self._stop.set()
            for each in (self._relay, self._consumer, self._last, self._nats, self._postgres):
                each.stop()

    def _run(self, began: float) -> Outcome:
        kills = self._scale.kills
        self._postgres.start_and_wait()
        prepare(self._postgres.url)
        of_writer, of_consumer = kills // 10, kills * 4 // 10
        # NATS is not there yet: relay and consumer are killed without it too.
        parts = [
            self._part(self._write, of_writer),
            self._part(self._relay.kill, kills - of_writer - of_consumer),
            self._part(self._consumer.kill, of_consumer),
        ]
        self._stop.wait(self._scale.away_seconds)
        self._nats.start_and_wait()
        asyncio.run(_forgetful_stream(self._nats.url))
        self._outages["nats, at the start"] += 1
        helpers = [self._part(self._break_servers, self._scale.outages), self._part(self._hold_open, 0)]
        for part in parts[1:]:
            part.join()
        self._stop.set()
        for part in (*parts, *helpers):
            part.join()
        if self._errors:
            raise self._errors[0]
        self._drain()
        total = self._relay.kills + self._consumer.kills
        total["writer at a moment"] = self._writer_kills
        verdict = judge(self._postgres.url, self._nats.url, self._store)
        return Outcome(self._scale, total, self._outages, time.monotonic() - began, verdict)

    def _part(self, do: Callable[[int, random.Random, threading.Event], None], times: int) -> threading.Thread:
        rng = random.Random(self._rng.random())

        def work() -> None:
            try:
                do(times, rng, self._stop)
            except BaseException as error:  # noqa: BLE001  # told by run()
                self._errors.append(error)
                self._stop.set()

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    def _write(self, kills: int, rng: random.Random, stop: threading.Event) -> None:
        """Writers, killed so often, and then until all others are."""
        self._writer_kills = 0
        while not stop.is_set():
            self._incarnations += 1
            seed = f"{self._scale.seed}/{self._incarnations}"
            log = self._folder / "writer.log"
            process = Process("writer", [*self._writers, "--seed", seed], log, self._environ)
            process.start()
            last = self._writer_kills >= kills
            stop.wait(None if last else rng.uniform(1.0, 6.0))
            assert process.running, f"the writer ended by itself: see {log}"
            process.kill()
            self._writer_kills += not last

    def _break_servers(self, outages: int, rng: random.Random, stop: threading.Event) -> None:
        """Outages, one after the other, for as long as processes are killed."""
        for number in range(outages):
            if stop.wait(rng.uniform(2.0, 8.0)):
                return
            if number % 3 < 2:
                by = "killed" if rng.random() < 0.5 else "stopped"
                self._nats.kill() if by == "killed" else self._nats.stop()
                self._outages[f"nats, {by}"] += 1
                time.sleep(rng.uniform(0.5, 3.0))
                self._nats.start_and_wait()
            else:
                self._postgres.kill()
                self._outages["postgres, killed"] += 1
                time.sleep(rng.uniform(0.2, 1.0))
                self._postgres.start_and_wait()

    def _hold_open(self, _times: int, rng: random.Random, stop: threading.Event) -> None:
        """A transaction that stays open, with an id, beside all others: nothing may wait for it."""
        while not stop.is_set():
            try:
                with psycopg.connect(self._postgres.url, connect_timeout=2) as connection:
                    connection.execute("INSERT INTO scratch VALUES ('a long one')")
                    stop.wait(rng.uniform(1.0, 10.0))
            except psycopg.OperationalError:
                stop.wait(0.2)

    def _drain(self) -> None:
        """Let what waits be carried and counted."""
        empty = "SELECT count(*) = 0 FROM cellplane_outbox"
        eventually("the outbox is empty", lambda: self._postgres.query(empty)[0][0], DRAIN_SECONDS)
        self._relay.stop()
        self._consumer.stop()
        self._last.start()
        status = self._last.wait(DRAIN_SECONDS)
        assert status == 0, f"the last consumer ended with {status}: see {self._last.log}"


async def _forgetful_stream(url: str) -> None:
    """Make the stream, or the one that the consumer has just made, forget ids soon."""
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        await ensure_stream(jetstream, StreamSettings(max_bytes=1024**3))
        config = (await jetstream.stream_info(DEFAULT_STREAM)).config
        await jetstream.update_stream(config.evolve(duplicate_window=WINDOW_SECONDS))
    finally:
        await client.close()
