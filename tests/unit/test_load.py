"""The load generator, against servers in this process."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from cellplane.errors import ProvisionError
from cellplane.provision.local.flood import seen
from cellplane.provision.local.load import Load, LoadSettings, Outcome, Sample, Stream
from e2e.harness import free_ports

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


async def ok(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Cell-Id: cell-1\r\nx-served-by: me\r\nContent-Length: 2\r\n\r\n{}")


def load_on(handler: Handler, *streams: Stream, seed: int = 1, settings: LoadSettings | None = None) -> list[Sample]:
    """What becomes of a fifth of a second of these streams at a server that does so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST"):
                    await reader.readexactly(2)
                await handler(head, writer)
        writer.close()

    async def run() -> list[Sample]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            load = Load(
                "127.0.0.1", port, streams, seconds=0.2, rng=random.Random(seed), settings=settings or LoadSettings()
            )
            return await load.run()

    return asyncio.run(run())


def test_every_request_that_is_due_is_sent_and_told() -> None:
    streams = Stream("many", ("a", "b"), 500.0, writes_share=0.5), Stream("few", ("c",), 50.0)
    found = load_on(ok, *streams)
    assert Counter(sample.stream for sample in found) == {"many": 100, "few": 10}
    assert {sample.outcome for sample in found} == {Outcome.ANSWERED}
    assert {(sample.status, sample.cell, sample.served_by) for sample in found} == {(200, "cell-1", "me")}
    assert {sample.method for sample in found if sample.stream == "many"} == {"GET", "POST"}
    assert {sample.method for sample in found if sample.stream == "few"} == {"GET"}
    assert all(sample.lag_seconds >= 0 and sample.seconds > 0 for sample in found)


def test_the_same_seed_sends_the_same() -> None:
    def drawn(seed: int) -> list[tuple[str, str]]:
        found = load_on(ok, Stream("s", tuple("abcdef"), 200.0, writes_share=0.3), seed=seed)
        return [(sample.tenant, sample.method) for sample in sorted(found, key=lambda sample: sample.due)]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


def test_a_slow_answer_keeps_nobody_waiting() -> None:
    async def late(_head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        await ok(b"", writer)

    found = load_on(late, Stream("s", ("a",), 100.0))
    assert len(found) == 20
    assert {sample.status for sample in found} == {200}


def test_what_is_no_answer_is_told_apart() -> None:
    async def close(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def keep_silent(_head: bytes, _writer: asyncio.StreamWriter) -> None:
        pass

    async def say_no_length(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    stream = Stream("s", ("a",), 100.0)
    impatient = LoadSettings(answer_seconds=0.2, sweep_seconds=0.05)
    assert Counter(sample.outcome for sample in load_on(close, stream)) == {Outcome.BROKEN: 20}
    assert Counter(sample.outcome for sample in load_on(say_no_length, stream)) == {Outcome.BROKEN: 20}
    assert Counter(sample.outcome for sample in load_on(keep_silent, stream, settings=impatient)) == {
        Outcome.TIMED_OUT: 20
    }
    few = LoadSettings(answer_seconds=0.5, sweep_seconds=0.05, connections=1, max_connections=2)
    outcomes = Counter(sample.outcome for sample in load_on(keep_silent, stream, settings=few))
    assert outcomes == {Outcome.TIMED_OUT: 2, Outcome.UNSENT: 18}


def test_nobody_there_is_told_as_refused() -> None:
    load = Load("127.0.0.1", free_ports(1)[0], [Stream("s", ("a",), 100.0)], seconds=0.1, rng=random.Random(1))
    assert {(sample.outcome, sample.status) for sample in asyncio.run(load.run())} == {(Outcome.REFUSED, 0)}


@pytest.mark.parametrize("host", ["example.org", "192.0.2.1", "0.0.0.0", "::"])
def test_no_other_machine_is_loaded(host: str) -> None:
    with pytest.raises(ProvisionError, match="only this machine is loaded"):
        Load(host, 80, [Stream("s", ("a",), 1.0)], seconds=1, rng=random.Random(1))


def test_a_sum_of_samples() -> None:
    def sample(milliseconds: float, status: int, outcome: Outcome = Outcome.ANSWERED) -> Sample:
        return Sample("s", "a", "GET", 0.0, 0.0, milliseconds / 1000, outcome, status, "", "")

    found = seen([*(sample(number, 200) for number in range(100)), sample(500, 429), sample(1, 0, Outcome.BROKEN)])
    assert found.answers == {"200": 100, "429": 1, Outcome.BROKEN.value: 1}
    assert (found.p50_ms, found.p99_ms) == (50.0, 99.0)
    assert str(seen([])) == "nothing"
