"""A tenant's work that waits in streams of NATS JetStream: handed over to the other cell's behind the flip.

A message is published at the one cell, with its headers and its message id, and removed at the other when that has it
on disk, in the order in which it was queued. So it is lost at no point, and at both cells only for the moment between,
or until somebody goes on after a crash; a repetition has the same id, which JetStream itself leaves out while it
remembers it, and by which workers know it. A worker that has a message in hand as it goes may still do it: as
everywhere with JetStream, work is done at least once.

Nothing is published before the flip. So there is nothing to take back where a move ends before it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import nats.errors
from nats.js.api import Header, RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError

from cellplane.cell.context import CELL_ID, EPOCH, TENANT_ID
from cellplane.cell.messaging.message import MESSAGE_ID
from cellplane.faults import fault_point
from cellplane.moves.carriers.carrier import Carrier, Load, Way
from cellplane.moves.carriers.stream import QueueEnd, Stream, Waiting, connected, header
from cellplane.moves.carriers.subjects import SubjectPattern, covers
from cellplane.moves.errors import NotInTimeError, NotMovableError, StoreError
from cellplane.moves.settings import CarrierSettings

T = TypeVar("T")

_OF_ITS_STREAM = ("nats-expected-", "nats-rollup")
"""Headers that hold for the stream that a message was published to, and for no other."""

_LEAST_RANGE = 256
"""Positions of a stream that are looked through by one: fewer are not worth another question."""


@dataclass(slots=True)
class _Looked:
    """What was found of a stream: up to where, and which messages are the tenant's."""

    last: int = 0
    sequences: list[int] = field(default_factory=list)


class JetStreamCarrier(Carrier):
    """Hands a tenant's queued work over.

    Args:
        name: for messages.
        tenant_id: whose.
        move_id: of the move.
        ends: the cell that has the tenant, and the one that is to have it.
        subjects: of the work.
        tenant_header: names the tenant in messages whose subject does not; by default the SDK's.
        settings: limits and times.
    """

    def __init__(
        self,
        name: str,
        tenant_id: str,
        move_id: str,
        ends: tuple[QueueEnd, QueueEnd],
        subjects: Sequence[SubjectPattern],
        *,
        tenant_header: str = TENANT_ID,
        settings: CarrierSettings | None = None,
    ) -> None:
        self.name = name
        self._tenant_id = tenant_id
        self._move_id = move_id
        self._ends = {Way.THERE: ends, Way.BACK: (ends[1], ends[0])}
        self._subjects = subjects
        self._tenant_header = tenant_header
        self._settings = settings or CarrierSettings()
        self._looked: dict[tuple[Way, SubjectPattern], _Looked] = {}

    def estimate(self) -> Load:
        """See ``Carrier``."""
        self._run(self._check())
        return Load(self._run(self._look_anew(Way.THERE)))

    def prepare(self) -> None:
        """See ``Carrier``. Both streams are looked at; nothing is changed."""
        self._run(self._check())

    def copy(self, way: Way, told: Callable[[int], None]) -> Load:
        """See ``Carrier``. Nothing is copied: it is looked up what waits, so that little is to be looked up later."""
        told(0)
        self._run(self._look_anew(way))
        return Load(0, 0)

    def compare(self) -> None:
        """See ``Carrier``. There is no copy."""

    def finish(self, way: Way, within_seconds: float) -> None:
        """See ``Carrier``. Both ends answer, and what waits is not too much for the time and for the other end."""

        async def finish() -> tuple[int, int]:
            try:
                async with asyncio.timeout(within_seconds), self._connected(way) as (here, there):
                    return await self._look(here, way), await self._free(there)
            except TimeoutError as error:
                raise NotInTimeError(f"{self.name}: NATS did not answer within {within_seconds:.1f} s") from error

        waiting, free = self._run(finish())
        most = min(free, self._settings.queue_messages)
        if waiting > most:
            raise NotInTimeError(
                f"{self.name}: {waiting} messages of {self._tenant_id} wait, and {most} are the most that the other "
                "cell's stream has room for, or that writes wait for: move the tenant when less waits"
            )

    def hand_over(self, way: Way, epoch: int) -> None:
        """See ``Carrier``."""
        self._run(self._carry(way, epoch))

    def clean(self, way: Way, epoch: int) -> None:
        """See ``Carrier``. What came to the cell that the tenant has left is still its work, and goes the same way."""
        self._run(self._carry(way, epoch))

    async def _check(self) -> None:
        """Find out whether either end can be taken from, and takes what the other has.

        Raises:
            NotMovableError: one of them cannot.
        """
        refusals = []
        async with self._connected(Way.THERE) as (source, target):
            for one, other in ((source, target), (target, source)):
                config = await self._config(one)
                where = f"{self.name}: the stream {one.end.stream} of {one.end.cell}"
                # As JetStream says it: nats-py leaves it a text.
                if config.retention != RetentionPolicy.WORK_QUEUE.value:
                    refusals.append(
                        f"{where} keeps messages by {config.retention}: expected one of work (workqueue), where what "
                        "is there is what is not done"
                    )
                if config.deny_delete:
                    refusals.append(f"{where} lets no message be removed (deny_delete)")
                for pattern in self._subjects:
                    subject = pattern.of(self._tenant_id, one.end.cell)
                    if not any(covers(each, subject) for each in config.subjects or ()):
                        refusals.append(f"{where} does not take {subject}: add the subject to it, or mend the pattern")
                room = one.room_bytes(config)
                largest = other.room_bytes(await self._config(other))
                if room < largest:
                    refusals.append(
                        f"{where} takes {room} bytes a message, and that of {other.end.cell} {largest}: it could not "
                        "take all that waits there"
                    )
        if refusals:
            raise NotMovableError(tuple(refusals))

    async def _config(self, session: Stream) -> StreamConfig:
        try:
            return (await session.info()).config
        except NotFoundError as error:
            where = f"{self.name}: {session.end.cell}"
            refusal = f"{where} has no stream {session.end.stream}: its app makes it where it starts"
            raise NotMovableError((refusal,)) from error

    async def _free(self, there: Stream) -> int:
        """How many messages an end has room for."""
        info = await there.info()
        most = info.config.max_msgs
        return most - info.state.messages if most and most > 0 else self._settings.queue_messages

    async def _look_anew(self, way: Way) -> int:
        # From the beginning: much of what was seen before is done by now.
        self._looked = {known: looked for known, looked in self._looked.items() if known[0] is not way}
        async with self._connected(way) as (here, _):
            return await self._look(here, way)

    async def _look(self, here: Stream, way: Way) -> int:
        """Find out which messages of the tenant wait, going on from what is known; returns how many those are."""
        return sum([len((await self._look_at(here, way, pattern)).sequences) for pattern in self._subjects])

    async def _look_at(self, here: Stream, way: Way, pattern: SubjectPattern) -> _Looked:
        looked = self._looked.setdefault((way, pattern), _Looked())
        try:
            state = (await here.info()).state
        except NotFoundError:
            return looked
        first, last = max(state.first_seq, looked.last + 1), state.last_seq
        subject = pattern.of(self._tenant_id, here.end.cell)
        width = max(_LEAST_RANGE, -(-(last - first + 1) // self._settings.queue_lanes))
        found = await asyncio.gather(
            *(
                self._look_through(here, subject, pattern, start, min(start + width - 1, last))
                for start in range(first, last + 1, width)
            )
        )
        looked.sequences.extend(sequence for part in found for sequence in part)
        looked.last = max(looked.last, last)
        return looked

    async def _look_through(
        self, here: Stream, subject: str, pattern: SubjectPattern, first: int, last: int
    ) -> list[int]:
        found = []
        sequence = first
        while sequence <= last:
            message = await here.next(sequence, subject)
            if message is None or message.sequence > last:
                break
            if pattern.names_tenant or header(message.headers, self._tenant_header) == self._tenant_id:
                found.append(message.sequence)
            sequence = message.sequence + 1
        return found

    async def _carry(self, way: Way, epoch: int) -> None:
        async with self._connected(way) as (here, there):
            for pattern in self._subjects:
                looked = await self._look_at(here, way, pattern)
                step = self._settings.queue_batch
                while looked.sequences:
                    batch, rest = looked.sequences[:step], looked.sequences[step:]
                    try:
                        async with asyncio.timeout(self._settings.queue_seconds):
                            await self._carry_batch(here, there, pattern, batch, epoch)
                    except TimeoutError as error:
                        raise StoreError(
                            f"{self.name}: NATS of {here.end.cell} or {there.end.cell} took more than "
                            f"{self._settings.queue_seconds} s for {len(batch)} messages: see that both run"
                        ) from error
                    looked.sequences = rest

    async def _carry_batch(
        self, here: Stream, there: Stream, pattern: SubjectPattern, batch: list[int], epoch: int
    ) -> None:
        # Asked for anew: what was done since it was looked up is not there any more.
        got = await asyncio.gather(*(here.at(sequence) for sequence in batch))
        messages = [message for message in got if message is not None]
        fault_point("move.queue.read")
        stream = there.end.stream
        new = [
            replace(
                message,
                subject=pattern.at(message.subject, there.end.cell),
                headers=self._headers(message, here.end, there.end, epoch),
            )
            for message in messages
        ]
        futures = [
            await there.jetstream.publish_async(each.subject, each.data, stream=stream, headers=dict(each.headers))
            for each in new
        ]
        answers = await asyncio.gather(*futures, return_exceptions=True)
        for each, answer in zip(new, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            if answer.duplicate and not self._is_that(await there.at(answer.seq), each):
                await self._publish_anew(there, each)
        fault_point("move.queue.published")
        await asyncio.gather(*(here.remove(message.sequence) for message in messages))
        fault_point("move.queue.removed")

    def _is_that(self, there: Waiting | None, message: Waiting) -> bool:
        """Whether what the stream has under a message's id is the message, which came before a crash."""
        return (
            there is not None
            and (there.subject, there.data) == (message.subject, message.data)
            and header(there.headers, self._tenant_header) == header(message.headers, self._tenant_header)
        )

    async def _publish_anew(self, there: Stream, message: Waiting) -> None:
        """Publish by another id what the stream does not take by its own: it was here before and comes back undone, or
        another has its id.
        """
        message_id = message.headers[Header.MSG_ID.value]
        another = {MESSAGE_ID: message_id, Header.MSG_ID.value: f"{message_id}/{self._move_id}/{message.sequence}"}
        # Should that one be known as well, then it is by this move, from before a crash.
        await there.jetstream.publish(
            message.subject, message.data, stream=there.end.stream, headers={**message.headers, **another}
        )

    def _headers(self, message: Waiting, here: QueueEnd, there: QueueEnd, epoch: int) -> dict[str, str]:
        """Those of a message as it is published at the other cell: by the table of the move, the tenant is its."""
        headers = {
            name: value for name, value in message.headers.items() if not name.lower().startswith(_OF_ITS_STREAM)
        }
        for name, value in list(headers.items()):
            if name.lower() == CELL_ID and value == here.cell:
                headers[name] = there.cell
            elif name.lower() == EPOCH and value.isdecimal():
                headers[name] = str(max(int(value), epoch))
        message_id = headers.pop(MESSAGE_ID, None) or headers.get(Header.MSG_ID.value)
        # Without an id a repetition after a crash could not be told from another message.
        headers[Header.MSG_ID.value] = message_id or f"{here.cell}/{here.stream}/{message.sequence}"
        return headers

    @asynccontextmanager
    async def _connected(self, way: Way) -> AsyncIterator[tuple[Stream, Stream]]:
        here, there = self._ends[way]
        async with connected(here, self._settings) as first, connected(there, self._settings) as second:
            yield first, second

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run(work)
        except (nats.errors.Error, OSError, asyncio.IncompleteReadError) as error:
            cells = " or ".join(end.cell for end in self._ends[Way.THERE])
            reason = " ".join(f"{type(error).__name__} {error}".split())
            raise StoreError(f"{self.name}: NATS of {cells} cannot be used: {reason}") from error
