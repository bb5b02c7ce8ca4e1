"""What waits for delivery, in this cell's NATS JetStream: the ids of rows, never their content."""

from uuid import UUID

from cellplane.cell import CellContext, entered
from cellplane.cell.errors import DeliveryFailedError
from cellplane.cell.messaging import CellMessage, CellSubjects
from cellplane.cell.messaging.jetstream import CellNats
from notifications.model import Reference
from notifications.settings import Settings

KIND = "deliveries"
"""Of work. Its subject is ``deliveries.<cell>``."""


class Queue(CellNats):
    """This cell's queue. What cannot be queued raises ``BrokerUnavailableError``, and is left to the worker's sweep.

    Args:
        settings: the process's settings.
        name: of this process, for people who look at the server's connections.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        subjects = CellSubjects(settings.cell.cell_id)
        super().__init__(settings.cell.nats_url, subjects, [KIND], name=name, settings=settings.queue)

    async def add(self, notification_id: UUID) -> None:
        """Queue a notification of the context's tenant. Its id makes a repetition harmless."""
        text = str(notification_id)
        await self.publish(self.subjects.own(KIND), text.encode(), message_id=text)

    async def add_again(self, reference: Reference) -> None:
        """Queue what an earlier request left, as that would have."""
        with entered(CellContext(self.subjects.cell_id, reference.epoch, reference.tenant_id)):
            await self.add(reference.id)


def reference_of(message: CellMessage) -> Reference:
    """Say which notification a message is about.

    Raises:
        DeliveryFailedError: it is no message of this app, and never will be.
    """
    try:
        notification_id = UUID(message.data.decode())
    except ValueError as error:
        raise DeliveryFailedError("expected the id of a notification", for_good=True) from error
    return Reference(message.context.tenant_id, notification_id, message.context.epoch)
