"""Control planes that share a PostgreSQL, as their own commands run them, and writers that note the answers."""

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from e2e.cut import Relay
from e2e.harness import admin_headers, eventually, free_ports
from e2e_app.servers import Postgres
from support import plain_http

START_SECONDS = 30.0
ASK_SECONDS = 3.0
LEASE_SECONDS = 5.0
RECOVERY_SECONDS = LEASE_SECONDS + 10.0


class Replica:
    """One control plane, which reaches the database by a relay of its own."""

    def __init__(self, folder: Path, name: str, postgres: Postgres, environ: Mapping[str, str]) -> None:
        self.name = name
        (self.port,) = free_ports(1)
        self.relay = Relay(postgres.port)
        self._folder = folder
        self._url = postgres.url.replace(f":{postgres.port}/", f":{self.relay.port}/")
        self._environ = {**os.environ, "CELLPLANE_DIRECTORY_URL": self._url, **environ}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """Those of its admin; none as long as it has not started."""
        folder = self._folder / self.name
        return admin_headers(folder) if (folder / "admin-token").exists() else {}

    @property
    def log(self) -> Path:
        return self._folder / f"{self.name}.log"

    def start(self, **environ: str) -> None:
        command = [sys.executable, "-m", "cellplane.control", "--no-guard-rails"]
        command += ["--state", str(self._folder / self.name), "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env={**self._environ, **environ})

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        if self.is_running:
            self.send(signal.SIGCONT)
            self.send(signal.SIGKILL)
            assert self._process is not None
            self._process.wait()
        self.relay.close()

    def metric(self, name: str) -> float:
        """A metric's value; -1 where nobody answers."""
        try:
            text = plain_http.get(f"{self.url}/metrics", headers=self.headers, timeout=ASK_SECONDS).text
        except httpx2.HTTPError:
            return -1
        return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), -1)


@dataclass
class Replicas:
    """Three control planes and their database."""

    postgres: Postgres
    all: list[Replica]
    acknowledged: dict[str, int] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """Those of one admin, whom all control planes know: idempotency keys are of a caller."""
        return self.all[0].headers

    def leader(self) -> Replica | None:
        """The one that says that it leads, where one does."""
        found = [replica for replica in self.all if replica.metric("cellplane_leads") == 1]
        return found[0] if len(found) == 1 else None

    def wait_leader(self, other_than: Replica | None = None, seconds: float = RECOVERY_SECONDS) -> Replica:
        def is_there() -> bool:
            found = self.leader()
            return found is not None and found is not other_than

        eventually(is_there, "one leads", seconds=seconds)
        found = self.leader()
        assert found is not None
        return found

    def put(self, path: str, body: object) -> int:
        """Change something by whichever control plane takes it, and return the epoch."""
        for replica in itertools.cycle(self.all):
            try:
                answer = plain_http.put(f"{replica.url}{path}", json=body, headers=self.headers, timeout=ASK_SECONDS)
            except httpx2.HTTPError:
                continue
            if answer.status_code < 500:
                assert answer.is_success, answer.text
                return int(answer.json()["epoch"])
            time.sleep(0.05)
        raise AssertionError("unreachable")

    def fill(self) -> None:
        sources = [{"kind": "header", "name": "x-tenant-id", "trusted": True}]
        self.put("/v1/fleet", {"name": "shop", "key_sources": sources})
        for number in (1, 2):
            self.put(f"/v1/cells/cell-{number}", {"address": "127.0.0.1", "port": 9000 + number})
        self.wait_published(self.put("/v1/pools/default", {"cells": ["cell-1", "cell-2"]}), self.all)

    def published(self, replica: Replica) -> tuple[int, str]:
        """Epoch and tag of the table that one gives out; 0 where it gives none."""
        try:
            answer = plain_http.get(f"{replica.url}/v1/table", headers=self.headers, timeout=ASK_SECONDS)
        except httpx2.HTTPError:
            return 0, ""
        return int(answer.headers.get("x-cellplane-epoch", 0)), answer.headers.get("etag", "")

    def wait_published(self, epoch: int, replicas: list[Replica], seconds: float = START_SECONDS) -> None:
        for replica in replicas:
            eventually(
                lambda replica=replica: self.published(replica)[0] >= epoch,  # type: ignore[misc]
                f"{replica.name} gives out epoch {epoch}",
                seconds=seconds,
            )

    @contextmanager
    def writing(self, seed: int, writers: int = 3) -> Iterator[None]:
        """Assign tenants all the while, each by a request that is sent until it is acknowledged, whatever happens."""
        stop = threading.Event()

        def write(number: int) -> None:
            rng = random.Random(seed * 100 + number)
            for step in itertools.count():
                if stop.is_set():
                    return
                tenant = f"w{number}-{step}"
                if self._write(tenant, rng, stop):
                    time.sleep(rng.uniform(0, 0.02))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)

    def _write(self, tenant: str, rng: random.Random, stop: threading.Event) -> bool:
        body = {"cell": f"cell-{rng.choice((1, 2))}"}
        while not stop.is_set():
            replica = rng.choice(self.all)
            try:
                answer = plain_http.put(
                    f"{replica.url}/v1/tenants/{tenant}",
                    json=body,
                    headers={"Idempotency-Key": tenant, **self.headers},
                    timeout=ASK_SECONDS,
                )
            except httpx2.HTTPError:
                continue
            if answer.status_code == 200:
                self.acknowledged[tenant] = int(answer.json()["epoch"])
                return True
            assert answer.status_code == 503, answer.text
            time.sleep(0.02)
        return False

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def check(self) -> None:
        """Every acknowledged write is there once, under the epoch that was said; epochs and tokens only grow."""
        logged = self.rows("SELECT id, epoch FROM changes WHERE kind = 'tenant' ORDER BY epoch")
        epochs: dict[str, int] = dict(logged)
        assert len(epochs) == len(logged), "nothing was done twice"
        missing = {tenant for tenant, epoch in self.acknowledged.items() if epochs.get(tenant) != epoch}
        assert not missing, f"acknowledged, but not there: {sorted(missing)[:5]}"
        assert {row[0] for row in self.rows("SELECT id FROM tenants")} >= set(self.acknowledged)
        every = [row[0] for row in self.rows("SELECT epoch FROM changes ORDER BY epoch")]
        assert every == list(range(1, len(every) + 1)), "one sequence, without a gap"
        published = self.rows("SELECT epoch, token FROM publications ORDER BY epoch")
        tokens = [token for _, token in published]
        assert tokens == sorted(tokens), "what a former leader says is not taken"


@contextmanager
def replicas_of(folder: Path, environs: tuple[Mapping[str, str], ...] = ({}, {}, {})) -> Iterator[Replicas]:
    """Three control planes of one empty PostgreSQL, each with variables of its own."""
    postgres = Postgres(folder)
    postgres.start()
    found = Replicas(postgres, [])
    try:
        eventually(lambda: _answers(postgres), "PostgreSQL answers", seconds=START_SECONDS)
        for number, environ in enumerate(environs):
            replica = Replica(folder, f"replica-{number}", postgres, environ)
            found.all.append(replica)
            replica.start()
        for replica in found.all:
            eventually(lambda r=replica: r.metric("cellplane_leads") >= 0, "it answers", seconds=START_SECONDS)  # type: ignore[misc]
        yield found
    finally:
        for replica in found.all:
            replica.end()
        postgres.stop()


def _answers(postgres: Postgres) -> bool:
    try:
        psycopg.connect(postgres.url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
