"""Clients of one tenant: they write and read by way of the router, without end, and note what they were told."""

import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from chaos_moves.judge import Outcome, Read, Write

HOST = "127.0.0.1"
ANSWER_SECONDS = 10.0
NAP_SHARE, NAP_SECONDS = 0.1, (0.05, 0.3)
"""How many writes are under way for longer, and how long: a fence has to wait for them."""

RECENT_KEYS = 20
"""Half of the reads are of one of so many keys that were written last: there staleness would show."""

_REFUSALS = frozenset({"tenant-moving", "tenant-moved", "wrong-cell", "unknown-tenant", "tenant-unassigned"})
"""Codes of problems by which the router or a cell's door says that it passed a request on to nobody. That a cell is
unavailable is not one of them: its connection may have broken with the request under way."""


@dataclass(frozen=True)
class Load:
    """How much is written and read.

    Attributes:
        writers: clients that write, each rows of its own.
        readers: clients that read.
        pause_seconds: of each between an answer and its next request, on average.
    """

    writers: int = 4
    readers: int = 2
    pause_seconds: float = 0.05


@dataclass
class Clients:
    """All clients of a tenant, and what they have noted.

    Args:
        port: of the router.
        tenant: whose.
        seed: of what they do, but not of when.
        history: writes that were made before; their rows are written on.
        load: how much they do.
    """

    port: int
    tenant: str
    seed: str
    history: Sequence[Write] = ()
    load: Load = field(default_factory=Load)
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    """What came, by method and status."""

    def __post_init__(self) -> None:
        self.writes += self.history
        self._keys = [write.key for write in self.history]
        self._numbers = itertools.count(1 + max((write.number for write in self.history), default=0))
        self._stop = threading.Event()
        self._errors: list[BaseException] = []

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Write and read until the block ends.

        Raises:
            AssertionError: a client gave up.
        """
        works = [(self._write, number) for number in range(self.load.writers)]
        works += [(self._read, number) for number in range(self.load.readers)]
        threads = [threading.Thread(target=self._guarded, args=work) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        assert not self._errors, self._errors

    @property
    def acknowledged(self) -> int:
        """Writes that were acknowledged so far, but for those of before."""
        return self.answers["POST 200"]

    def _guarded(self, work: Any, number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001  # told by busy()
            self._errors.append(error)

    def _pause(self, rng: random.Random) -> bool:
        return self._stop.wait(rng.uniform(0, 2 * self.load.pause_seconds))

    def _write(self, number: int) -> None:
        rng = random.Random(f"{self.seed}/{self.tenant}/writer-{number}")
        mine = [write.key for write in self.history][number :: self.load.writers]
        there, gone = set(mine), set[str]()
        connection = Connection(self.port, self.tenant)
        news = itertools.count()
        while not self._pause(rng):
            op = rng.choices(("insert", "update", "delete"), (4, 4, 2))[0] if there else "insert"
            if op == "insert":
                key = rng.choice(sorted(gone)) if gone and rng.random() < 0.3 else f"w{number}-{next(news)}"
            else:
                key = rng.choice(sorted(there))
            nap = rng.uniform(*NAP_SECONDS) if rng.random() < NAP_SHARE else 0.0
            write = self._one_write(connection, op, key, next(self._numbers), nap)
            self.writes.append(write)
            if write.outcome is Outcome.REFUSED:
                continue
            there.discard(key)
            gone.discard(key)
            # Of a row in doubt nothing is asked for any more: there is one order of a row's states.
            if write.outcome is Outcome.ACKNOWLEDGED:
                (gone if write.value is None else there).add(key)
                self._keys.append(key)
        connection.close()

    def _one_write(self, connection: "Connection", op: str, key: str, number: int, nap: float) -> Write:
        began = time.monotonic()
        status, refused, body = connection.ask("POST", f"/entries/{key}?op={op}&number={number}&nap={nap:.3f}")
        ended = time.monotonic()
        self.answers[f"POST {status}"] += 1
        outcome = Outcome.REFUSED if refused else Outcome.UNKNOWN
        if status == http.HTTPStatus.OK:
            outcome = Outcome.ACKNOWLEDGED
        elif status == http.HTTPStatus.CONFLICT:
            # It is not as this client left it: the judge sees to that, as of any read.
            self.reads.append(Read(key, body["value"], began, ended))
        value = None if op == "delete" else number
        return Write(number, key, value, began, ended, outcome, body.get("cell", ""), body.get("at", 0.0))

    def _read(self, number: int) -> None:
        rng = random.Random(f"{self.seed}/{self.tenant}/reader-{number}")
        connection = Connection(self.port, self.tenant)
        while not self._pause(rng):
            keys = self._keys[-RECENT_KEYS:] if rng.random() < 0.5 else self._keys
            if not keys:
                continue
            key = rng.choice(keys)
            began = time.monotonic()
            status, _, body = connection.ask("GET", f"/entries/{key}")
            self.answers[f"GET {status}"] += 1
            if status == http.HTTPStatus.OK:
                self.reads.append(Read(key, body["value"], began, time.monotonic()))
        connection.close()


class Connection:
    """A client's connection to the router, made anew where it breaks."""

    def __init__(self, port: int, tenant: str) -> None:
        self._http = http.client.HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)
        self._headers = {"x-tenant-id": tenant}

    def ask(self, method: str, path: str) -> tuple[int, bool, dict[str, Any]]:
        """Status, whether the request was certainly not done, and the answer; status 0: none came."""
        if self._http.sock is None:
            try:
                self._http.connect()
            except OSError:
                self.close()
                return 0, True, {}
        try:
            self._http.request(method, path, headers=self._headers)
            answer = self._http.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return 0, False, {}
        try:
            body = json.loads(data)
        except ValueError:
            body = {}
        return answer.status, _is_refused(answer, body), body

    def close(self) -> None:
        self._http.close()


def _is_refused(answer: http.client.HTTPResponse, body: dict[str, Any]) -> bool:
    """Whether it was certainly not done: the app says so, or whoever is before the app, and names why."""
    return answer.getheader("x-refused") is not None or body.get("code") in _REFUSALS
