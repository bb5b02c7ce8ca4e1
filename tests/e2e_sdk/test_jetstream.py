"""Work in a cell's real JetStream: whose it is, what is refused, and what broken workers and brokers change."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from cellplane.cell import CellContext, MovedTo, Moves, NoCellContextError, current, current_or_none, entered
from cellplane.cell.errors import (
    BrokerUnavailableError,
    DeliveryFailedError,
    ForeignSubjectError,
    InvalidMessageError,
    NotNowError,
)
from cellplane.cell.messaging import CellMessage, CellSubjects, MessagingSettings
from cellplane.cell.messaging.jetstream import CellNats
from e2e_app.servers import Nats

pytestmark = pytest.mark.anyio

SUBJECTS = CellSubjects("cell-3")
ORDERS = SUBJECTS.own("orders")
ACME = CellContext("cell-3", 7, "acme")
QUICK = MessagingSettings(
    publish_seconds=1.0,
    connect_seconds=2.0,
    reconnect_min_seconds=0.05,
    reconnect_max_seconds=0.2,
    ping_seconds=1,
    watch_seconds=0.02,
    close_seconds=1.0,
    fetch_seconds=0.5,
    handler_seconds=2.0,
    ack_seconds=1.0,
    max_deliveries=3,
    retry_min_seconds=0.1,
    retry_max_seconds=0.2,
    not_now_seconds=0.1,
    stop_seconds=3.0,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    server = Nats(tmp_path_factory.mktemp("nats"))
    server.start_and_wait()
    yield server
    server.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Nats]:
    """A server that the test may break."""
    server = Nats(tmp_path)
    yield server
    server.stop()


async def eventually(what: str, probe: Callable[[], Any], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while True:
        found = probe()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def opened(server: Nats, settings: MessagingSettings = QUICK) -> AsyncIterator[CellNats]:
    queue = CellNats(server.url, SUBJECTS, ["orders", "mails.urgent"], settings=settings, name="test")
    queue.open()
    try:
        yield queue
    finally:
        await queue.close()


class Handled:
    """Notes what it was given, and fails as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.messages: list[CellMessage] = []
        self.contexts: list[CellContext] = []
        self._failures = list(failures)

    async def __call__(self, message: CellMessage) -> None:
        self.messages.append(message)
        self.contexts.append(current())
        if self._failures:
            raise self._failures.pop(0)


@asynccontextmanager
async def consuming(queue: CellNats, handle: Any, **named: Any) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(queue.consumer("orders", handle, **named).run(stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await running


@asynccontextmanager
async def bystander(server: Nats) -> AsyncIterator[Client]:
    """A client that speaks to the broker as somebody does who uses no SDK."""
    client = Client()
    await client.connect(server.url)
    try:
        await _forget(client)
        yield client
    finally:
        await client.close()


async def _forget(client: Client) -> None:
    for stream in ("CELL-cell-3", "DEAD-cell-3"):
        try:
            await client.jetstream().delete_stream(stream)
        except NotFoundError:
            continue


async def dead_letters(client: Client, count: int = 1, subject: str = "dead.orders.cell-3") -> list[Msg]:
    stream = client.jetstream()

    async def all_there() -> bool:
        try:
            return (await stream.stream_info("DEAD-cell-3")).state.messages >= count
        except NotFoundError:
            return False

    await eventually(f"{count} dead letters", all_there)
    pull = await stream.pull_subscribe(subject, durable=f"reader-{random.getrandbits(32)}", stream="DEAD-cell-3")
    return await pull.fetch(count, timeout=5)


async def waiting(client: Client) -> int:
    return (await client.jetstream().stream_info("CELL-cell-3")).state.messages


async def is_empty(client: Client) -> bool:
    return await waiting(client) == 0


async def connected(queue: CellNats) -> None:
    await eventually("a connection", lambda: queue.is_connected)


async def test_work_is_done_in_the_context_that_it_was_published_in(shared: Nats) -> None:
    handled = Handled()
    async with bystander(shared) as client, opened(shared) as queue:
        with entered(ACME):
            await queue.publish(ORDERS, b"one", headers={"X-Kind": "new"}, message_id="1")
            await queue.publish(ORDERS, b"one", headers={"X-Kind": "new"}, message_id="1")
        with entered(CellContext("cell-3", 8, "globex")):
            await queue.publish(ORDERS, b"two")
        await queue.ping()
        assert await queue.waiting("orders") == 2
        async with consuming(queue, handled):
            await eventually("both", lambda: len(handled.messages) == 2)
            await eventually("both are gone", lambda: is_empty(client))
        with entered(ACME):
            await queue.publish(ORDERS, b"three")
        assert (await queue.waiting("orders"), await queue.waiting("mails.urgent")) == (1, 0)
        assert {(message.data, message.context.tenant_id, message.context.epoch) for message in handled.messages} == {
            (b"one", "acme", 7),
            (b"two", "globex", 8),
        }
        assert {context.tenant_id for context in handled.contexts} == {"acme", "globex"}
        (first,) = [message for message in handled.messages if message.data == b"one"]
        assert (first.headers["X-Kind"], first.subject, first.delivery) == ("new", ORDERS, 1)
        assert current_or_none() is None


async def test_publishing_elsewhere_or_for_nobody_raises(shared: Nats) -> None:
    async with bystander(shared), opened(shared) as queue:
        with pytest.raises(NoCellContextError):
            await queue.publish(ORDERS, b"")
        with entered(ACME):
            for foreign in ("orders.cell-4", "orders", "orders.*", "orders.>", "dead.orders.cell-3", "cell-3", ""):
                with pytest.raises(ForeignSubjectError, match="Cells do not speak to each other"):
                    await queue.publish(foreign, b"")
            with pytest.raises(InvalidMessageError, match="at most 524288 bytes"):
                await queue.publish(ORDERS, b"x" * 524_289)
            for name, value in [
                ("X-Tenant-Id", "globex"),
                ("Nats-Rollup", "all"),
                ("x-dead-reason", "x"),
                ("a b", "x"),
                ("a", "x\r\nx-tenant-id: globex"),
                ("a", "ä"),
                ("a", "x" * 1025),
            ]:
                with pytest.raises(InvalidMessageError):
                    await queue.publish(ORDERS, b"", headers={name: value})
            with pytest.raises(InvalidMessageError, match="32 headers"):
                await queue.publish(ORDERS, b"", headers={f"h{number}": "" for number in range(33)})
        with entered(CellContext("cell-4", 7, "acme")), pytest.raises(ForeignSubjectError):
            await queue.publish(ORDERS, b"")


async def test_foreign_messages_and_those_without_a_context_are_dead_letters(shared: Nats) -> None:
    handled = Handled()
    own = ACME.to_headers()
    async with bystander(shared) as client, opened(shared) as queue:
        await connected(queue)
        bad: list[tuple[str, dict[str, str]]] = [
            ("foreign-cell", {**own, "x-cell-id": "cell-4"}),
            ("no-context", {}),
            ("no-context", {**own, "x-tenant-id": ""}),
            ("no-context", {**own, "x-cell-epoch": "-1"}),
            ("no-context", {**own, "X-Tenant-Id": "globex"}),
        ]
        for number, (_, headers) in enumerate(bad):
            all_headers = {**headers, "X-Kind": "odd", "Nats-Msg-Id": f"m{number}"}
            await client.jetstream().publish(ORDERS, b"%d" % number, headers=all_headers)
        async with consuming(queue, handled):
            letters = await dead_letters(client, len(bad))
            await eventually("nothing waits", lambda: is_empty(client))
        found = {letter.data: dict(letter.headers or {}) for letter in letters}
        for number, (reason, headers) in enumerate(bad):
            said = found[b"%d" % number]
            assert said["x-dead-reason"] == reason, said
            assert said["x-dead-detail"]
            assert (said["x-dead-subject"], said["x-dead-deliveries"]) == (ORDERS, "1")
            assert (said["X-Kind"], said["x-dead-nats-msg-id"]) == ("odd", f"m{number}")
            assert headers.items() <= said.items()
        assert handled.messages == []


async def test_a_message_of_a_tenant_that_moved_goes_to_the_hook_or_is_a_dead_letter(
    shared: Nats, tmp_path: Path
) -> None:
    moves = Moves.create(tmp_path / "moves", "cell-3")
    handled, passed_on = Handled(), Handled()
    async with bystander(shared) as client, opened(shared) as queue:
        with entered(ACME):
            await queue.publish(ORDERS, b"before")
        moves.note("acme", "cell-7", 8)
        async with consuming(queue, handled, moved=moves.moved):
            (letter,) = await dead_letters(client)
        assert letter.headers is not None
        assert letter.headers["x-dead-reason"] == "tenant-moved"
        assert "by epoch 8" in letter.headers["x-dead-detail"]
        with entered(ACME):
            await queue.publish(ORDERS, b"later")
        async with consuming(queue, handled, moved=moves.moved, on_moved=passed_on):
            await eventually("passed on", lambda: passed_on.messages)
            await eventually("nothing waits", lambda: is_empty(client))
        (message,) = passed_on.messages
        assert message.data == b"later"
        assert moves.of(message.context.tenant_id, message.context.epoch) == MovedTo("cell-7", 8)
        assert handled.messages == []
        moves.note("acme", "cell-3", 9)
        with entered(ACME):
            await queue.publish(ORDERS, b"back")
        async with consuming(queue, handled, moved=moves.moved):
            await eventually("handled", lambda: handled.messages)


async def test_a_poison_message_is_tried_so_often_and_then_is_a_dead_letter(shared: Nats) -> None:
    handled = Handled(ValueError("a secret"), LookupError(), KeyError())
    async with bystander(shared) as client, opened(shared) as queue:
        with entered(ACME):
            await queue.publish(ORDERS, b"poison")
        async with consuming(queue, handled):
            (letter,) = await dead_letters(client)
            with entered(ACME):
                await queue.publish(ORDERS, b"fine")
            await eventually("the next is handled", lambda: handled.messages[-1].data == b"fine")
            await eventually("nothing waits", lambda: is_empty(client))
    assert [message.delivery for message in handled.messages] == [1, 2, 3, 1]
    assert letter.headers is not None
    assert letter.headers["x-dead-reason"] == "poison"
    assert letter.headers["x-dead-detail"] == "delivery 3 of 3 failed: KeyError"
    assert letter.headers["x-dead-deliveries"] == "3"


async def test_a_handler_says_which_failures_it_foresaw_and_that_no_delivery_can_help(
    shared: Nats, caplog: pytest.LogCaptureFixture
) -> None:
    handled = Handled(DeliveryFailedError("nobody answers"), DeliveryFailedError("no such order", for_good=True))
    async with bystander(shared) as client, opened(shared) as queue:
        with entered(ACME):
            await queue.publish(ORDERS, b"odd", message_id="odd-1")
        async with consuming(queue, handled):
            (letter,) = await dead_letters(client)
            await eventually("nothing waits", lambda: is_empty(client))
    assert [message.delivery for message in handled.messages] == [1, 2]
    assert letter.headers is not None
    assert letter.headers["x-dead-reason"] == "poison"
    assert letter.headers["x-dead-detail"] == "delivery 2 failed for good: no such order"
    (told,) = [record for record in caplog.records if "a delivery failed: nobody answers" in record.getMessage()]
    assert told.exc_info is None
    (dead,) = [vars(record) for record in caplog.records if "a dead letter: poison: " in record.getMessage()]
    assert (dead["tenant"], dead["subject"], dead["delivery"], dead["message_id"]) == ("acme", ORDERS, 2, "odd-1")


async def test_a_handler_that_hangs_is_cancelled(shared: Nats) -> None:
    seen: list[int] = []

    async def hang(message: CellMessage) -> None:
        seen.append(message.delivery)
        await asyncio.sleep(60)

    settings = replace(QUICK, handler_seconds=0.1, max_deliveries=2)
    async with bystander(shared) as client, opened(shared, settings) as queue:
        with entered(ACME):
            await queue.publish(ORDERS, b"slow")
        async with consuming(queue, hang):
            (letter,) = await dead_letters(client)
    assert seen == [1, 2]
    assert letter.headers is not None
    assert letter.headers["x-dead-detail"] == "delivery 2 of 2 failed: it took longer than 0.1 s"


async def test_a_handler_that_works_longer_than_the_server_waits_keeps_its_message(shared: Nats) -> None:
    seen: list[int] = []

    async def work(message: CellMessage) -> None:
        seen.append(message.delivery)
        await asyncio.sleep(1.2)

    async with bystander(shared) as client, opened(shared, replace(QUICK, ack_seconds=0.5)) as queue:
        with entered(ACME):
            await queue.publish(ORDERS, b"long")
        async with consuming(queue, work):
            await eventually("done", lambda: is_empty(client))
    assert seen == [1]


async def test_what_has_to_wait_is_no_poison(shared: Nats) -> None:
    handled = Handled(*(NotNowError("the database is away") for _ in range(8)))
    async with bystander(shared) as client, opened(shared) as queue:
        with entered(ACME):
            await queue.publish(ORDERS, b"later")
        async with consuming(queue, handled):
            await eventually("done", lambda: is_empty(client))
    assert [message.delivery for message in handled.messages] == [1] * 9


async def test_what_waits_for_a_tenant_that_moves_meanwhile_is_given_up(shared: Nats, tmp_path: Path) -> None:
    moves = Moves.create(tmp_path / "moves", "cell-3")
    waiting, left = Handled(*(NotNowError("the database refuses") for _ in range(1000))), Handled()
    async with bystander(shared) as client, opened(shared) as queue:
        for named in ({"on_moved": left}, {}):
            with entered(CellContext("cell-3", 7, f"acme-{len(named)}")):
                await queue.publish(ORDERS, b"later")
            async with consuming(queue, waiting, moved=moves.moved, **named):
                await eventually("it waits", lambda: waiting.messages)
                moves.note(f"acme-{len(named)}", "cell-7", 8)
                await eventually("it waits no longer", lambda: is_empty(client))
            waiting.messages.clear()
        (letter,) = await dead_letters(client)
    assert [message.data for message in left.messages] == [b"later"]
    assert letter.headers is not None
    assert letter.headers["x-dead-reason"] == "tenant-moved"


async def test_a_stop_gives_back_what_has_to_wait(shared: Nats) -> None:
    first, second = Handled(*(NotNowError("away") for _ in range(1000))), Handled()
    async with bystander(shared) as client, opened(shared) as queue:
        with entered(ACME):
            await queue.publish(ORDERS, b"later")
        async with consuming(queue, first):
            await eventually("asked", lambda: first.messages)
        async with consuming(queue, second):
            await eventually("done", lambda: is_empty(client))
    assert [message.data for message in second.messages] == [b"later"]


async def test_a_dead_letter_that_is_too_large_with_its_reason_is_cut(shared: Nats) -> None:
    larger = replace(QUICK, max_message_bytes=10_000_000)
    async with bystander(shared) as client, opened(shared, larger) as queue:
        await connected(queue)
        await client.jetstream().publish(ORDERS, b"x" * (client.max_payload - 100), headers={"a": "b"})
        async with consuming(queue, Handled()):
            (letter,) = await dead_letters(client)
        assert letter.headers is not None
        assert letter.headers["x-dead-cut-from-bytes"] == str(client.max_payload - 100)
        assert len(letter.data) == 64 * 1024
        with entered(ACME), pytest.raises(InvalidMessageError, match="with headers"):
            await queue.publish(ORDERS, b"x" * (client.max_payload - 10))


async def test_a_full_queue_refuses_what_is_new(shared: Nats) -> None:
    async with bystander(shared), opened(shared, replace(QUICK, max_queue_messages=2)) as queue:
        with entered(ACME):
            await queue.publish(ORDERS, b"1")
            await queue.publish(ORDERS, b"2")
            with pytest.raises(BrokerUnavailableError, match="maximum messages exceeded"):
                await queue.publish(ORDERS, b"3")


async def test_another_kind_of_work_is_added_by_another_release(shared: Nats) -> None:
    async with bystander(shared) as client, opened(shared) as older:
        await connected(older)
        newer = CellNats(shared.url, SUBJECTS, ["bills"], settings=QUICK)
        newer.open()
        await connected(newer)
        await newer.close()
        assert (await client.jetstream().stream_info("CELL-cell-3")).config.subjects == [
            "bills.cell-3",
            "mails.urgent.cell-3",
            "orders.cell-3",
        ]


def test_credentials_are_not_shown() -> None:
    queue = CellNats("nats://user:secret@one:4223, two", SUBJECTS, ["orders"])
    assert queue.brokers == ("one:4223", "two:4222")
    assert "secret" not in str(queue.unavailable(TimeoutError()))


async def test_a_broker_that_is_down_at_the_start_is_waited_for(own: Nats) -> None:
    handled = Handled()
    async with opened(own) as queue, consuming(queue, handled):
        with entered(ACME), pytest.raises(BrokerUnavailableError, match="no connection or no answer in time"):
            await queue.publish(ORDERS, b"too early")
        # Longer than the test may take.
        async with opened(own, replace(QUICK, publish_seconds=600.0, connection_wait_seconds=0.0)) as impatient:
            with entered(ACME), pytest.raises(BrokerUnavailableError):
                await impatient.publish(ORDERS, b"too early")
            for question in (impatient.ping(), impatient.waiting("orders")):
                with pytest.raises(BrokerUnavailableError, match="no connection"):
                    await question
        await asyncio.to_thread(own.start_and_wait)
        with entered(ACME):
            await eventually("published", lambda: published(queue, b"one"))
        await eventually("handled", lambda: handled.messages)


def _has(stored: set[bytes], goal: int) -> bool:
    return len(stored) > goal


async def test_a_subject_that_another_stream_has_is_told(shared: Nats, caplog: pytest.LogCaptureFixture) -> None:
    async with bystander(shared) as client:
        await client.jetstream().add_stream(name="OLD", subjects=["orders.>"])
        try:
            async with opened(shared) as queue:
                await eventually("it is told", lambda: "subjects overlap with an existing stream" in caplog.text)
                await client.jetstream().delete_stream("OLD")
                await connected(queue)
        finally:
            with suppress(NotFoundError):
                await client.jetstream().delete_stream("OLD")


async def test_a_stream_that_was_removed_is_made_again(shared: Nats) -> None:
    async with bystander(shared) as client, opened(shared) as queue:
        await connected(queue)
        await _forget(client)
        with entered(ACME):
            with pytest.raises(BrokerUnavailableError, match="NoStreamResponseError"):
                await queue.publish(ORDERS, b"lost")
            await eventually("published", lambda: published(queue, b"one"))
        await _forget(client)
        with pytest.raises(BrokerUnavailableError, match="stream not found"):
            await queue.ping()
        await eventually("it answers", lambda: answers(queue))


async def test_a_task_that_is_cancelled_ends_also_where_its_answer_comes_at_that_moment(shared: Nats) -> None:
    async def forget(_session: object) -> str:
        # As ``asyncio.wait_for`` of Python 3.11 does, by which the client waits.
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return "an answer"

    async with opened(shared) as queue:
        await connected(queue)
        asking = asyncio.create_task(queue.ask(forget))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.wait({asking}, timeout=30)
        assert asking.cancelled()


async def answers(queue: CellNats) -> bool:
    try:
        await queue.ping()
    except BrokerUnavailableError:
        return False
    return True


async def published(queue: CellNats, data: bytes) -> bool:
    try:
        await queue.publish(ORDERS, data, message_id=data.decode())
    except BrokerUnavailableError:
        return False
    return True


@pytest.mark.parametrize("how", ["killed", "hangs"])
async def test_a_broker_that_is_gone_in_between_loses_nothing(own: Nats, how: str) -> None:
    """Publishes without end while the broker is killed, or hangs, again and again."""
    await asyncio.to_thread(own.start_and_wait)
    rng = random.Random(4)
    stored: set[bytes] = set()
    seen: set[bytes] = set()

    async def note(message: CellMessage) -> None:
        seen.add(message.data)

    async def publish(queue: CellNats) -> None:
        with entered(ACME):
            for number in range(10_000):
                data = b"%d" % number
                if await published(queue, data):
                    stored.add(data)
                await asyncio.sleep(0.005)

    async with opened(own) as queue, consuming(queue, note):
        publishing = asyncio.create_task(publish(queue))
        for _ in range(2):
            await asyncio.sleep(0.3 + rng.random())
            if how == "killed":
                await asyncio.to_thread(own.kill)
                await asyncio.sleep(rng.random())
                await asyncio.to_thread(own.start_and_wait)
            else:
                own.signal(signal.SIGSTOP)
                await asyncio.sleep(1 + rng.random())
                own.signal(signal.SIGCONT)
            goal = len(stored) + 5
            await eventually("publishing goes on", partial(_has, stored, goal))
        publishing.cancel()
        await asyncio.wait({publishing})
        await eventually("all that was stored is handled", lambda: stored <= seen)


TESTS = str(Path(__file__).resolve().parents[1])
WORKER = """
import asyncio, os, signal, sys
from pathlib import Path
from cellplane.cell.messaging import CellSubjects
from cellplane.cell.messaging.jetstream import CellNats
from e2e_sdk.test_jetstream import QUICK

async def handle(message):
    with Path(sys.argv[2]).open("a") as file:
        file.write(f"{message.delivery}\\n")
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    queue = CellNats(sys.argv[1], CellSubjects("cell-3"), ["orders"], settings=QUICK)
    queue.open()
    await queue.consumer("orders", handle).run(asyncio.Event())

asyncio.run(main())
"""


async def test_a_message_that_kills_its_workers_becomes_a_dead_letter(shared: Nats, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, shared.url, str(tmp_path / "deliveries")]
    handled = Handled()
    async with bystander(shared) as client, opened(shared) as queue:
        with entered(ACME):
            await queue.publish(ORDERS, b"deadly")
        for _ in range(QUICK.max_deliveries):
            died = await asyncio.to_thread(
                subprocess.run, command, env={"PYTHONPATH": TESTS}, timeout=30, check=False, capture_output=True
            )
            assert died.returncode == -9, died.stderr
        async with consuming(queue, handled):
            (letter,) = await dead_letters(client)
    assert (tmp_path / "deliveries").read_text().split() == ["1", "2", "3"]
    assert handled.messages == []
    assert letter.headers is not None
    assert letter.headers["x-dead-reason"] == "poison"
    assert letter.headers["x-dead-detail"] == "no worker has answered for any of 3 deliveries"
