"""Work in a cell's Kafka: the same rules as in NATS, on a fake broker, or on a real one where it is named."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from cellplane.cell import CellContext, Moves, NoCellContextError, current, entered
from cellplane.cell.errors import BrokerUnavailableError, ForeignSubjectError, InvalidMessageError, NotNowError
from cellplane.cell.messaging import CellMessage, CellSubjects, MessagingSettings, kafka
from cellplane.cell.messaging.kafka import CellKafka
from e2e_sdk.fake_kafka import FakeBroker

pytestmark = pytest.mark.anyio

REAL = os.environ.get("CELLPLANE_TEST_KAFKA", "")
QUICK = MessagingSettings(
    publish_seconds=10.0 if REAL else 0.5,
    connect_seconds=10.0,
    reconnect_min_seconds=0.05,
    fetch_seconds=0.5,
    handler_seconds=2.0,
    max_deliveries=3,
    retry_min_seconds=0.05,
    retry_max_seconds=0.1,
    not_now_seconds=0.05,
    stop_seconds=5.0,
    partitions=2,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class World:
    """A broker, and a cell that nobody else uses."""

    subjects: CellSubjects
    fake: FakeBroker | None
    settings: MessagingSettings = QUICK

    @property
    def orders(self) -> str:
        return self.subjects.own("orders")

    def context(self, tenant: str = "acme", epoch: int = 7) -> CellContext:
        return CellContext(self.subjects.cell_id, epoch, tenant)

    def queue(self) -> CellKafka:
        return CellKafka(REAL or "fake:9092", self.subjects, ["orders"], settings=self.settings)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[CellKafka]:
        queue = self.queue()
        queue.open()
        try:
            yield queue
        finally:
            await queue.close()

    async def produce(self, topic: str, data: bytes, headers: list[tuple[str, bytes]]) -> None:
        """As somebody does who uses no SDK."""
        producer = self.fake.producer() if self.fake else AIOKafkaProducer(bootstrap_servers=REAL)
        await producer.start()
        try:
            await producer.send_and_wait(topic, data, key=b"k", headers=headers)
        finally:
            await producer.stop()

    async def dead_letters(self, count: int) -> list[Any]:
        topic = self.subjects.dead("orders")
        if self.fake:
            logs = self.fake.topics[topic]
            await eventually("dead letters", lambda: sum(map(len, logs)) >= count)
            return [record for log in logs for record in log]
        client = AIOKafkaConsumer(topic, bootstrap_servers=REAL, auto_offset_reset="earliest")
        await client.start()
        try:
            async with asyncio.timeout(30):
                return [await client.getone() for _ in range(count)]
        finally:
            await client.stop()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    subjects = CellSubjects(f"cell-{random.getrandbits(40)}")
    if REAL:
        return World(subjects, None)
    broker = FakeBroker()
    monkeypatch.setattr(kafka, "AIOKafkaProducer", broker.producer)
    monkeypatch.setattr(kafka, "AIOKafkaConsumer", broker.consumer)
    monkeypatch.setattr(kafka, "AIOKafkaAdminClient", broker.admin)
    return World(subjects, broker)


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


class Handled:
    """Notes what it was given, and fails as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.messages: list[CellMessage] = []
        self._failures = list(failures)

    async def __call__(self, message: CellMessage) -> None:
        assert current() == message.context
        self.messages.append(message)
        if self._failures:
            raise self._failures.pop(0)

    @property
    def data(self) -> list[bytes]:
        return [message.data for message in self.messages]


@asynccontextmanager
async def consuming(queue: CellKafka, handle: Any, **named: Any) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(queue.consumer("orders", handle, **named).run(stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await running


async def test_work_is_done_in_its_context_and_in_the_tenants_order(world: World) -> None:
    handled, again = Handled(), Handled()
    async with world.opened() as queue:
        for number in range(20):
            with entered(world.context(f"tenant-{number % 3}")):
                await queue.publish(world.orders, b"%d" % number, headers={"kind": "new"}, message_id=f"m{number}")
        async with consuming(queue, handled):
            await eventually("all", lambda: len(handled.messages) == 20)
        with entered(world.context()):
            await queue.publish(world.orders, b"later")
        async with consuming(queue, again):
            await eventually("the last one", lambda: again.data == [b"later"])
    for tenant in range(3):
        seen = [int(message.data) for message in handled.messages if message.context.tenant_id == f"tenant-{tenant}"]
        assert seen == list(range(tenant, 20, 3))
    assert {(message.headers["kind"], message.message_id) for message in handled.messages} == {
        ("new", f"m{number}") for number in range(20)
    }


async def test_publishing_elsewhere_or_for_nobody_raises(world: World) -> None:
    queue = world.queue()
    with pytest.raises(NoCellContextError):
        await queue.publish(world.orders, b"")
    with entered(world.context()):
        with pytest.raises(ForeignSubjectError):
            await queue.publish("orders.cell-x", b"")
        with pytest.raises(InvalidMessageError):
            await queue.publish(world.orders, b"", headers={"x-message-id": "1"})


async def test_foreign_messages_and_those_without_a_context_are_dead_letters(world: World) -> None:
    own = [(name, value.encode()) for name, value in world.context().to_headers().items()]
    bad = [
        ("foreign-cell", [("x-cell-id", b"cell-x"), *own[1:]]),
        ("no-context", []),
        ("no-context", [*own, ("x-tenant-id", b"globex")]),
        ("no-context", [*own[:2], ("x-tenant-id", b"\xff")]),
    ]
    handled = Handled()
    async with world.opened() as queue:
        with entered(world.context()):
            await queue.publish(world.orders, b"fine")
        for number, (_, headers) in enumerate(bad):
            await world.produce(world.orders, b"%d" % number, [*headers, ("kind", b"odd")])
        async with consuming(queue, handled):
            letters = await world.dead_letters(len(bad))
            await eventually("the sound one", lambda: handled.data == [b"fine"])
    found = {letter.value: dict(letter.headers) for letter in letters}
    for number, (reason, _) in enumerate(bad):
        said = found[b"%d" % number]
        assert (said["x-dead-reason"], said["kind"]) == (reason.encode(), b"odd")
        assert said["x-dead-subject"] == world.orders.encode()


async def test_a_poison_message_is_tried_so_often_before_those_behind_it(world: World) -> None:
    handled = Handled(ValueError(), NotNowError("away"), LookupError(), KeyError())
    async with world.opened() as queue:
        with entered(world.context()):
            await queue.publish(world.orders, b"poison")
            await queue.publish(world.orders, b"fine")
        async with consuming(queue, handled):
            (letter,) = await world.dead_letters(1)
            await eventually("the next", lambda: handled.data[-1] == b"fine")
    assert handled.data == [b"poison"] * 4 + [b"fine"]
    assert dict(letter.headers)["x-dead-detail"] == b"delivery 3 of 3 failed: KeyError"


async def test_a_message_of_a_tenant_that_moved_goes_to_the_hook_or_is_a_dead_letter(
    world: World, tmp_path: Path
) -> None:
    moves = Moves.create(tmp_path / "moves", world.subjects.cell_id)
    moves.note("acme", "cell-7", 8)
    handled, passed_on = Handled(), Handled()
    async with world.opened() as queue:
        with entered(world.context()):
            await queue.publish(world.orders, b"before")
        async with consuming(queue, handled, moved=moves.moved):
            (letter,) = await world.dead_letters(1)
            assert dict(letter.headers)["x-dead-reason"] == b"tenant-moved"
        with entered(world.context()):
            await queue.publish(world.orders, b"later")
        async with consuming(queue, handled, moved=moves.moved, on_moved=passed_on):
            await eventually("passed on", lambda: passed_on.data == [b"later"])
    assert handled.messages == []


async def test_a_stop_leaves_what_was_not_done(world: World) -> None:
    first, second = Handled(*(NotNowError("away") for _ in range(1000))), Handled()
    async with world.opened() as queue:
        with entered(world.context()):
            await queue.publish(world.orders, b"one")
        async with consuming(queue, first):
            await eventually("asked", lambda: first.messages)
        async with consuming(queue, second):
            await eventually("done", lambda: second.data == [b"one"])


def _has(handled: Handled, data: bytes) -> bool:
    return data in handled.data


async def test_a_broker_that_is_down_is_waited_for(world: World) -> None:
    handled = Handled()
    world.settings = replace(QUICK, publish_seconds=0.5)
    if world.fake is None:
        pytest.skip("the broker is not this test's to stop")
    world.fake.is_up = False
    async with world.opened() as queue, consuming(queue, handled):
        for number in range(2):
            with entered(world.context()), pytest.raises(BrokerUnavailableError, match="no connection or no answer"):
                await queue.publish(world.orders, b"too early")
            world.fake.is_up = True

            async def published(number: int = number) -> bool:
                with entered(world.context()):
                    try:
                        await queue.publish(world.orders, b"%d" % number)
                    except BrokerUnavailableError:
                        return False
                    return True

            await eventually("published", published)
            await eventually("handled", partial(_has, handled, b"%d" % number))
            world.fake.is_up = False
        world.fake.is_up = True


async def test_nobody_listens_at_the_address() -> None:
    subjects = CellSubjects("cell-3")
    queue = CellKafka("127.0.0.1:1", subjects, ["orders"], settings=replace(QUICK, publish_seconds=0.5))
    queue.open()
    try:
        with entered(CellContext("cell-3", 7, "acme")), pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1"):
            await queue.publish("orders.cell-3", b"")
        stop = asyncio.Event()
        running = asyncio.create_task(queue.consumer("orders", Handled()).run(stop))
        await asyncio.sleep(0.3)
        stop.set()
        async with asyncio.timeout(20):
            await running
    finally:
        await queue.close()
