"""A cell's queues in NATS JetStream (extra ``nats``)::

    subjects = CellSubjects("cell-3")
    queue = CellNats(settings.nats_url, subjects, ["orders"])
    queue.open()                                             # needs no server yet
    await queue.publish(subjects.own("orders"), b"…")        # in a context, whose tenant it is for
    await queue.consumer("orders", handle).run(stop)         # until the event is set
    await queue.waiting("orders")                            # what no worker has been given yet

Messages are handled at least once: one that was handled as its worker died comes again. What waits is kept on disk; a
full stream refuses what is new. Dead letters are in a stream of their own, on ``dead.orders.cell-3``.
"""

from collections.abc import Callable, Mapping

from nats.js.api import Header
from nats.js.errors import NotFoundError

from cellplane.cell.door import nobody_moved
from cellplane.cell.messaging.handling import Desk
from cellplane.cell.messaging.message import Handler, outgoing
from cellplane.cell.messaging.nats_connection import NatsConnection, Session
from cellplane.cell.messaging.nats_consumer import NatsConsumer, durable_name

WORKERS = "workers"
"""Name of the consumer of each kind of work, where an app has one of it."""


class CellNats(NatsConnection):
    """One cell's queues; ``NatsConnection`` says what it is made of, and how it is opened and closed."""

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = None,
    ) -> None:
        """Queue work for the tenant of the context; returns when JetStream has stored it.

        Args:
            subject: of this cell, by ``CellSubjects.own``.
            data: the work.
            headers: of the app.
            message_id: makes a repetition harmless, for ``duplicate_seconds``.

        Raises:
            NoCellContextError: nobody knows for whom it is.
            ForeignSubjectError: the subject is another cell's.
            InvalidMessageError: it is too large, or a header cannot be one.
            BrokerUnavailableError: it is not known to be stored.
        """
        _, all_headers = outgoing(self.subjects, subject, data, headers, self.settings)
        if message_id is not None:
            all_headers[Header.MSG_ID.value] = message_id
        await self.store(self.stream, subject, data, all_headers)

    async def ping(self) -> None:
        """Ask JetStream for this cell's streams, such as for ``CellHealth``.

        Raises:
            BrokerUnavailableError: it does not answer, or has them not.
        """

        async def look(session: Session) -> None:
            for stream in (self.stream, self.dead_stream):
                await session.stream.stream_info(stream)

        await self.ask(look)

    async def waiting(self, base: str, *, durable: str = WORKERS) -> int:
        """How many messages of one kind of work no worker has been given yet.

        Args:
            base: the kind of work, such as ``orders``.
            durable: the consumer's name, as it is given to ``consumer``.

        Raises:
            BrokerUnavailableError: nobody says.
        """
        subject = self.subjects.own(base)

        async def count(session: Session) -> int:
            try:
                found = await session.stream.consumer_info(self.stream, durable_name(durable, base))
            except NotFoundError:  # no worker has been there yet
                info = await session.stream.stream_info(self.stream, subjects_filter=subject)
                return (info.state.subjects or {}).get(subject, 0)
            return found.num_pending or 0

        return await self.ask(count)

    def consumer(
        self,
        base: str,
        handle: Handler,
        *,
        durable: str = WORKERS,
        moved: Callable[[str], int | None] = nobody_moved,
        on_moved: Handler | None = None,
    ) -> NatsConsumer:
        """Who handles one kind of work. All processes of a cell share it: each message goes to one.

        Args:
            base: the kind of work, such as ``orders``.
            handle: does a message's work.
            durable: the consumer's name at the server, before the kind of work; there can be one for each kind.
            moved: the epoch by which a tenant is another cell's; ``Moves.moved`` is one.
            on_moved: takes the messages of tenants that were given away; without it they are dead letters.
        """
        assert base in self.bases, f"{base} is none of the kinds of work that this queue was made for"
        return NatsConsumer(self, base, durable, Desk(self.subjects, handle, moved, on_moved, self.settings))
