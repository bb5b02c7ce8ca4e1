"""What an outbox and its relay raise; the project's tree is drawn in ``cellplane.errors``.

EventsError
├── InvalidEventError    no event can be made of this
├── NoTransactionError   the event would be added outside of the app's transaction
├── OutboxMissingError   the cell's database has no outbox yet
├── OutboxFullError      as many events wait as may, and the app is to wait too
└── OutboxDiskFullError  the disk of the cell's database is full
"""

from cellplane.cell.errors import CellError


class EventsError(CellError):
    """An event cannot be added, or carried out of the cell."""


class InvalidEventError(EventsError):
    """No event can be made of this.

    Args:
        field: of the event.
        message: what was expected, and what was found.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class NoTransactionError(EventsError):
    """The event would be added outside of the app's transaction."""

    def __init__(self) -> None:
        super().__init__(
            "expected a connection inside of a transaction, found one that commits each statement by itself. Add the "
            "event in the transaction that makes the change it tells of, such as in `with connection.transaction():`"
        )


class OutboxMissingError(EventsError):
    """The cell's database has no outbox yet."""

    def __init__(self) -> None:
        super().__init__(
            "expected the tables of the outbox in this cell's database, found none. Call create_outbox() once before, "
            "such as where the app creates its own tables, with the same search_path"
        )


class OutboxFullError(EventsError):
    """As many events wait as may. Nothing was added; the transaction can go on without the event, or be taken back.

    Args:
        max_events: that may wait.
    """

    def __init__(self, max_events: int) -> None:
        super().__init__(
            f"expected room for the event, found {max_events:,} that wait or were counted as waiting. Refuse the "
            "request (503) until the relay has carried some out: see whether it runs, and reaches the stream"
        )
        self.max_events = max_events


class OutboxDiskFullError(EventsError):
    """The disk of the cell's database is full. Nothing was added: the transaction has to be taken back."""

    def __init__(self) -> None:
        super().__init__(
            "expected room on the disk of this cell's database, found none: the event was not added, and the "
            "transaction must be rolled back. Free space, or a smaller max_events; nothing else has to be done"
        )
