"""A tenant's work goes from one real JetStream to another: none is lost, none is done twice, none is another's."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError

from cellplane.cell import CellContext, Moves, entered
from cellplane.cell.messaging import CellMessage, CellSubjects, MessagingSettings
from cellplane.cell.messaging.jetstream import CellNats
from cellplane.moves.carriers.carrier import Way
from cellplane.moves.carriers.jetstream import JetStreamCarrier
from cellplane.moves.carriers.stream import QueueEnd
from cellplane.moves.carriers.subjects import SubjectPattern
from cellplane.moves.errors import NotInTimeError, NotMovableError, StoreError
from cellplane.moves.settings import CarrierSettings
from e2e_app.servers import Nats
from support.depth import examples

SOURCE, TARGET = "cell-1", "cell-2"
EPOCH = 40


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nats, Nats]]:
    made = [Nats(tmp_path_factory.mktemp(name)) for name in (SOURCE, TARGET)]
    try:
        for server in made:
            server.start_and_wait()
        yield made[0], made[1]
    finally:
        for server in made:
            server.stop()


Told = tuple[str, str | None, str]
"""Subject, message id, text."""


class Queues:
    """Both cells' streams, as somebody sees them who uses no SDK."""

    def __init__(self, servers: tuple[Nats, Nats]) -> None:
        self.ends = {
            cell: QueueEnd(cell, server.url, f"CELL-{cell}")
            for cell, server in zip((SOURCE, TARGET), servers, strict=True)
        }

    def carrier(self, *subjects: str, tenant: str = "acme", **settings: object) -> JetStreamCarrier:
        patterns = [SubjectPattern(each) for each in subjects or ("orders.{tenant}.>",)]
        limits = CarrierSettings(**settings)  # type: ignore[arg-type]
        ends = (self.ends[SOURCE], self.ends[TARGET])
        return JetStreamCarrier("work", tenant, "m1", ends, patterns, settings=limits)

    def on(self, cell: str, work: Callable[[JetStreamContext], object]) -> None:
        async def run() -> None:
            client = Client()
            await client.connect(self.ends[cell].url)
            try:
                await work(client.jetstream())  # type: ignore[misc]
            finally:
                await client.close()

        asyncio.run(run())

    def make(self, **changes: object) -> None:
        for cell in (SOURCE, TARGET):

            async def make(stream: JetStreamContext, cell: str = cell) -> None:
                for name in ("CELL", "DEAD"):
                    with suppress(NotFoundError):
                        await stream.delete_stream(f"{name}-{cell}")
                config = StreamConfig(
                    name=f"CELL-{cell}",
                    subjects=["orders.>", f"deliveries.{cell}"],
                    retention=RetentionPolicy.WORK_QUEUE,
                    discard=DiscardPolicy.NEW,
                )
                await stream.add_stream(replace(config, **changes))  # type: ignore[arg-type]

            self.on(cell, make)

    def remember(self, cell: str, seconds: float) -> None:
        """Let a stream forget message ids after so long."""

        async def forget(stream: JetStreamContext) -> None:
            config = (await stream.stream_info(f"CELL-{cell}")).config
            await stream.update_stream(replace(config, duplicate_window=seconds))

        self.on(cell, forget)

    def put(self, cell: str, *messages: tuple[str, str | None, str], **headers: str) -> None:
        async def put(stream: JetStreamContext) -> None:
            for subject, message_id, text in messages:
                named = {} if message_id is None else {"Nats-Msg-Id": message_id}
                # As the SDK does, which names the stream in a header.
                await stream.publish(subject, text.encode(), stream=f"CELL-{cell}", headers={**headers, **named})

        self.on(cell, put)

    def waiting(self, cell: str) -> list[Told]:
        found: list[Told] = []

        async def read(stream: JetStreamContext) -> None:
            state = (await stream.stream_info(f"CELL-{cell}")).state
            sequence = state.first_seq
            while True:
                try:
                    message = await stream.get_msg(f"CELL-{cell}", sequence, subject=">", next=True)
                except NotFoundError:
                    break
                assert message.seq is not None
                headers = message.headers or {}
                text = (message.data or b"").decode()
                found.append((message.subject or "", headers.get("x-message-id") or headers.get("Nats-Msg-Id"), text))
                sequence = message.seq + 1

        self.on(cell, read)
        return found

    def do(self, cell: str, *texts: str) -> None:
        """Do work, as a worker does that answers for it."""

        async def work(stream: JetStreamContext) -> None:
            pull = await stream.pull_subscribe("", durable="all", stream=f"CELL-{cell}")
            for message in await pull.fetch(100, timeout=0.3):
                await (message.ack_sync() if message.data.decode() in texts else message.nak())

        self.on(cell, work)


@pytest.fixture
def queues(servers: tuple[Nats, Nats]) -> Queues:
    found = Queues(servers)
    found.make()
    return found


def orders(tenant: str, count: int) -> list[Told]:
    return [(f"orders.{tenant}.new", f"{tenant}-{number}", f"{tenant} {number}") for number in range(count)]


def test_what_waits_goes_over_in_order_with_its_ids_and_what_is_anothers_stays(queues: Queues) -> None:
    mine, others = orders("acme", 700), orders("globex", 5)
    queues.put(SOURCE, *mine[:300], *others, *mine[300:])
    carrier = queues.carrier()
    carrier.prepare()
    assert carrier.estimate().things == 700
    carrier.copy(Way.THERE, lambda _: None)
    carrier.finish(Way.THERE, 5)
    assert queues.waiting(TARGET) == [], "no worker there sees it before the flip"
    carrier.hand_over(Way.THERE, EPOCH)
    assert queues.waiting(TARGET) == mine
    assert queues.waiting(SOURCE) == others
    carrier.hand_over(Way.THERE, EPOCH)
    carrier.clean(Way.THERE, EPOCH)
    assert queues.waiting(TARGET) == mine


def test_what_was_done_since_it_was_looked_up_is_not_done_again(queues: Queues) -> None:
    queues.put(SOURCE, *orders("acme", 3))
    carrier = queues.carrier()
    carrier.copy(Way.THERE, lambda _: None)
    queues.do(SOURCE, "acme 1")
    carrier.finish(Way.THERE, 5)
    carrier.hand_over(Way.THERE, EPOCH)
    assert [text for _, _, text in queues.waiting(TARGET)] == ["acme 0", "acme 2"]


def test_what_comes_back_undone_is_there_though_the_server_knows_its_id_and_what_was_done_is_not(
    queues: Queues,
) -> None:
    queues.put(SOURCE, *orders("acme", 3))
    queues.carrier().hand_over(Way.THERE, EPOCH)
    queues.do(TARGET, "acme 1")
    queues.put(TARGET, ("orders.acme.new", "acme-new", "new"))
    queues.carrier().hand_over(Way.BACK, EPOCH + 1)
    assert queues.waiting(TARGET) == []
    back = queues.waiting(SOURCE)
    assert sorted(text for _, _, text in back) == ["acme 0", "acme 2", "new"]
    assert {message_id for _, message_id, _ in back} == {"acme-0", "acme-2", "acme-new"}, "workers know them by these"
    queues.carrier().hand_over(Way.THERE, EPOCH + 2)
    assert sorted(queues.waiting(TARGET)) == sorted(back), "and once more"


def test_messages_without_an_id_are_carried_once_all_the_same(queues: Queues) -> None:
    queues.put(SOURCE, ("orders.acme.new", None, "a"), ("orders.acme.new", None, "a"))
    queues.carrier().hand_over(Way.THERE, EPOCH)
    assert [text for _, _, text in queues.waiting(TARGET)] == ["a", "a"]


def test_a_queue_of_the_sdk_moves_by_the_tenant_in_its_header_and_is_worked_at_the_other_cell(
    queues: Queues, tmp_path: Path
) -> None:
    done: list[tuple[str, CellContext, str | None]] = []
    is_done = asyncio.Event()

    async def handle(message: CellMessage) -> None:
        done.append((message.data.decode(), message.context, message.message_id))
        is_done.set()

    async def publish() -> None:
        queue = CellNats(queues.ends[SOURCE].url, CellSubjects(SOURCE), ["deliveries"])
        queue.open()
        for tenant in ("acme", "globex"):
            with entered(CellContext(SOURCE, 7, tenant)):
                await queue.publish(f"deliveries.{SOURCE}", tenant.encode(), message_id=f"id-{tenant}")
        await queue.close()

    async def work() -> None:
        # The tenant was here before, and went by epoch 20: only what comes by a later table is its work here.
        moves = Moves.create(tmp_path / "moves", TARGET)
        moves.note("acme", SOURCE, 20)
        settings = MessagingSettings(fetch_seconds=0.2)
        queue = CellNats(queues.ends[TARGET].url, CellSubjects(TARGET), ["deliveries"], settings=settings)
        queue.open()
        stop = asyncio.Event()
        running = asyncio.create_task(queue.consumer("deliveries", handle, moved=moves.moved).run(stop))
        try:
            async with asyncio.timeout(20):
                await is_done.wait()
        finally:
            stop.set()
            await running
            await queue.close()

    asyncio.run(publish())
    carrier = queues.carrier("deliveries.{cell}")
    carrier.prepare()
    assert carrier.estimate().things == 1
    carrier.finish(Way.THERE, 5)
    carrier.hand_over(Way.THERE, EPOCH)
    asyncio.run(work())
    assert done == [("acme", CellContext(TARGET, EPOCH, "acme"), "id-acme")]
    assert [text for _, _, text in queues.waiting(SOURCE)] == ["globex"]


def test_an_id_that_another_message_has_there_keeps_none_away(queues: Queues) -> None:
    queues.put(TARGET, ("orders.globex.new", "17", "another's"))
    queues.remember(SOURCE, 0.1)
    # A condition of its publisher's, which holds for the stream here alone.
    queues.put(SOURCE, ("orders.acme.new", "17", "mine"), **{"Nats-Expected-Last-Sequence": "0"})
    time.sleep(0.3)
    queues.put(SOURCE, ("orders.acme.old", "18", "mine too"), ("orders.acme.new", "17", "mine, and new"))
    for _ in range(2):
        queues.carrier().hand_over(Way.THERE, EPOCH)
    assert queues.waiting(SOURCE) == []
    assert sorted(queues.waiting(TARGET)) == [
        ("orders.acme.new", "17", "mine"),
        ("orders.acme.new", "17", "mine, and new"),
        ("orders.acme.old", "18", "mine too"),
        ("orders.globex.new", "17", "another's"),
    ]


def test_a_worker_that_has_a_message_in_hand_as_it_goes_goes_on_with_the_next(queues: Queues) -> None:
    took: list[str] = []

    async def run() -> None:
        is_in_hand, is_gone, is_next = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def handle(message: CellMessage) -> None:
            took.append(message.context.tenant_id)
            if message.context.tenant_id == "acme":
                is_in_hand.set()
                await is_gone.wait()
            else:
                is_next.set()

        settings = MessagingSettings(fetch_seconds=0.2, lanes=1)
        queue = CellNats(queues.ends[SOURCE].url, CellSubjects(SOURCE), ["deliveries"], settings=settings)
        queue.open()
        for tenant in ("acme", "globex"):
            with entered(CellContext(SOURCE, 7, tenant)):
                await queue.publish(f"deliveries.{SOURCE}", tenant.encode())
        stop = asyncio.Event()
        running = asyncio.create_task(queue.consumer("deliveries", handle).run(stop))
        try:
            async with asyncio.timeout(20):
                await is_in_hand.wait()
                await asyncio.to_thread(queues.carrier("deliveries.{cell}").hand_over, Way.THERE, EPOCH)
                is_gone.set()
                await is_next.wait()
        finally:
            is_gone.set()
            stop.set()
            await running
            await queue.close()

    asyncio.run(run())
    assert took == ["acme", "globex"]
    assert [text for _, _, text in queues.waiting(TARGET)] == ["acme"], "so it may be done twice, under the same id"
    assert queues.waiting(SOURCE) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"retention": RetentionPolicy.LIMITS}, "keeps messages by limits"),
        ({"deny_delete": True}, "lets no message be removed"),
        ({"subjects": ["orders.*"]}, "does not take orders.acme.>"),
    ],
)
def test_streams_that_cannot_be_carried_are_refused_with_advice(
    queues: Queues, changes: dict[str, object], said: str
) -> None:
    queues.make(**changes)
    with pytest.raises(NotMovableError, match=said):
        queues.carrier().prepare()


def test_too_much_work_gives_up_before_the_flip(queues: Queues) -> None:
    queues.put(SOURCE, *orders("acme", 4))
    with pytest.raises(NotInTimeError, match="4 messages of acme wait, and 3"):
        queues.carrier(queue_messages=3).finish(Way.THERE, 5)
    queues.make(max_msgs=4)
    queues.put(SOURCE, *orders("acme", 4))
    queues.put(TARGET, *orders("globex", 1))
    with pytest.raises(NotInTimeError, match="and 3 are the most"):
        queues.carrier().finish(Way.THERE, 5)


def test_a_server_that_is_away_is_said_by_the_cells_and_without_passwords(queues: Queues) -> None:
    away = QueueEnd(TARGET, "nats://someone:secret@127.0.0.1:9", "CELL-cell-2")
    pattern = SubjectPattern("orders.{tenant}.>")
    carrier = JetStreamCarrier("work", "acme", "m1", (queues.ends[SOURCE], away), [pattern])
    with pytest.raises(StoreError, match="NATS of cell-1 or cell-2 cannot be used") as raised:
        carrier.finish(Way.THERE, 5)
    assert "secret" not in str(raised.value)
    assert "secret" not in repr(away)


KILLED = """
import sys
from cellplane.moves.carriers.carrier import Way
from cellplane.moves.carriers.jetstream import JetStreamCarrier
from cellplane.moves.carriers.stream import QueueEnd
from cellplane.moves.carriers.subjects import SubjectPattern
from cellplane.moves.settings import CarrierSettings
ends = tuple(QueueEnd(cell, url, f"CELL-{cell}") for cell, url in zip(("cell-1", "cell-2"), sys.argv[1:3]))
pattern = SubjectPattern("orders.{tenant}.>")
carrier = JetStreamCarrier("work", "acme", "m1", ends, [pattern], settings=CarrierSettings(queue_batch=7))
carrier.hand_over(Way[sys.argv[3]], 40)
"""


@pytest.mark.parametrize("seed", range(examples(1)))
def test_killed_at_any_point_it_goes_on_and_all_is_there_once(queues: Queues, seed: int) -> None:
    rng = random.Random(seed)
    mine = orders("acme", 40)
    queues.put(SOURCE, *mine)
    for way, cell in ((Way.THERE, TARGET), (Way.BACK, SOURCE)):
        for _ in range(3):
            point = rng.choice(["move.queue.read", "move.queue.published", "move.queue.removed"])
            fault = f"{point}:{rng.randint(1, 2)}"
            command = [sys.executable, "-c", KILLED, queues.ends[SOURCE].url, queues.ends[TARGET].url, way.name]
            ended = subprocess.run(command, env={"CELLPLANE_FAULT": fault}, timeout=60, check=False)
            print(f"seed {seed}: {way.name} {fault}: {ended.returncode}")
            assert ended.returncode == -9
        queues.carrier().hand_over(way, EPOCH)
        assert sorted(queues.waiting(cell)) == sorted(mine)
    assert queues.waiting(TARGET) == []
