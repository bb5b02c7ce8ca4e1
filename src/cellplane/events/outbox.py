"""The outbox: events are added in the transaction that makes the change they tell of, so both are there or neither.

Needs no driver of its own: the connection is the app's, of psycopg, SQLAlchemy or Django.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid4

from cellplane.events.errors import (
    InvalidEventError,
    NoTransactionError,
    OutboxDiskFullError,
    OutboxFullError,
    OutboxMissingError,
)
from cellplane.events.event import Event, to_json, to_record
from cellplane.events.settings import EventLimits, OutboxSettings
from cellplane.events.state import STATE, OutboxState

# Any constant will do, as long as all processes of a cell use the same and nobody else does.
SCHEMA_LOCK = 0x63656C6C_6F757462

_ADD = "SELECT cellplane_outbox_add(CAST({} AS jsonb))"
_MAX_EVENTS = "SELECT max_events FROM cellplane_outbox_state"
_SET = """
INSERT INTO cellplane_outbox_state (max_events, when_full, trim_every, limit_seq)
VALUES ({max_events}, '{when_full}', {trim_every}, cellplane_outbox_last() + {max_events})
ON CONFLICT (one_row) DO UPDATE SET
    limit_seq = cellplane_outbox_state.limit_seq + EXCLUDED.max_events - cellplane_outbox_state.max_events,
    max_events = EXCLUDED.max_events, when_full = EXCLUDED.when_full, trim_every = EXCLUDED.trim_every
"""

_DISK_FULL = "53100"
_MISSING = frozenset({"42P01", "42883"})  # undefined_table, undefined_function
_LIMITS = EventLimits()


class Outbox:
    """Adds events, in the caller's transaction. Holds nothing: one for a process will do.

    Args:
        now: the time, with its offset from UTC.
        new_id: makes the ids of events that have none.
    """

    def __init__(
        self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC), new_id: Callable[[], UUID] = uuid4
    ) -> None:
        self._now = now
        self._new_id = new_id

    def add(self, connection: Any, *events: Event) -> int:
        """Add events, in this order, to be published once the transaction is committed.

        Add an event after the write that it tells of: then events of a row come in the order of its changes.

        Args:
            connection: of psycopg, SQLAlchemy (``Connection`` or ``Session``) or Django, in a transaction.

        Returns:
            How many are new: events whose ids wait already are not added again.

        Raises:
            InvalidEventError: an event cannot be stored.
            NoCellContextError: outside of a request, an event does not say for whom it is.
            NoTransactionError: the connection commits each statement by itself.
            OutboxFullError: there is no room, and the outbox is to refuse then; the transaction goes on.
            OutboxDiskFullError: the database's disk is full.
            OutboxMissingError: there is no outbox.
        """
        text = self._to_text(events)
        if not text:
            return 0
        _check_transaction(connection)
        try:
            added = int(_ask(connection, _ADD, text))
            if added < 0:
                raise OutboxFullError(_ask(connection, _MAX_EVENTS))
        except Exception as error:
            raise _told(error) from error
        return added

    async def add_async(self, connection: Any, *events: Event) -> int:
        """As ``add``, on psycopg's ``AsyncConnection``, or SQLAlchemy's ``AsyncConnection`` or ``AsyncSession``."""
        text = self._to_text(events)
        if not text:
            return 0
        _check_transaction(connection)
        try:
            added = int(await _ask_async(connection, _ADD, text))
            if added < 0:
                raise OutboxFullError(await _ask_async(connection, _MAX_EVENTS))
        except Exception as error:
            raise _told(error) from error
        return added

    def state(self, connection: Any) -> OutboxState:
        """How full the outbox is, and what its relays did; cheap, however much waits.

        Args:
            connection: as of ``add``, in a transaction or not.

        Raises:
            OutboxMissingError: there is no outbox.
        """
        try:
            return OutboxState.parse(_ask(connection, STATE))
        except Exception as error:
            raise _told(error) from error

    async def state_async(self, connection: Any) -> OutboxState:
        """As ``state``, on an asynchronous connection."""
        try:
            return OutboxState.parse(await _ask_async(connection, STATE))
        except Exception as error:
            raise _told(error) from error

    def _to_text(self, events: Sequence[Event]) -> str:
        if len(events) > _LIMITS.add_max_events:
            raise InvalidEventError(
                "events", f"expected at most {_LIMITS.add_max_events:,} a call, found {len(events):,}"
            )
        return to_json([to_record(event, self._now, self._new_id) for event in events]) if events else ""


def schema() -> list[str]:
    """The statements that make the outbox, each of which can be run again."""
    return files("cellplane.events").joinpath("outbox.sql").read_text().strip().split("\n\n")[1:]


def create_outbox(connection: Any, settings: OutboxSettings | None = None) -> None:
    """Create the outbox, or bring it to these settings; in the caller's transaction, which has to be committed.

    Processes that do so at once wait for each other. Events that wait stay.

    Args:
        connection: as of ``Outbox.add``, of a role that may create tables.
        settings: how much may wait, and what happens then.
    """
    for statement in _creating(settings or OutboxSettings()):
        _run(connection, statement)


async def create_outbox_async(connection: Any, settings: OutboxSettings | None = None) -> None:
    """As ``create_outbox``, on an asynchronous connection."""
    for statement in _creating(settings or OutboxSettings()):
        await _run_async(connection, statement)


def _creating(settings: OutboxSettings) -> list[str]:
    numbers = {"max_events": settings.max_events, "trim_every": settings.trim_every}
    put = _SET.format(**numbers, when_full=settings.when_full.value)
    # CREATE … IF NOT EXISTS fails when two processes do it at once.
    return [f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})", *schema(), put]


def _is_sqlalchemy(connection: Any) -> bool:
    return type(connection).__module__.startswith("sqlalchemy.") or hasattr(connection, "get_bind")


def _check_transaction(connection: Any) -> None:
    """Refuse connections of psycopg and Django that commit each statement by itself, where they can be asked."""
    if getattr(connection, "in_atomic_block", None) is False:
        raise NoTransactionError
    info = getattr(connection, "info", None)
    status = getattr(info, "transaction_status", None)
    if getattr(connection, "autocommit", False) is True and getattr(status, "name", "") == "IDLE":
        raise NoTransactionError


def _ask(connection: Any, statement: str, *parameters: str) -> Any:
    """The one value that a statement gives."""
    if _is_sqlalchemy(connection):
        return connection.execute(*_for_sqlalchemy(statement, parameters)).scalar_one()
    with _cursor(connection) as cursor:
        cursor.execute(statement.format("%s"), parameters or None)
        return cursor.fetchone()[0]


async def _ask_async(connection: Any, statement: str, *parameters: str) -> Any:
    if _is_sqlalchemy(connection):
        return (await connection.execute(*_for_sqlalchemy(statement, parameters))).scalar_one()
    async with _cursor(connection) as cursor:
        await cursor.execute(statement.format("%s"), parameters or None)
        return (await cursor.fetchone())[0]


def _run(connection: Any, statement: str) -> None:
    if _is_sqlalchemy(connection):
        connection.execute(*_for_sqlalchemy(statement, ()))
        return
    with _cursor(connection) as cursor:
        cursor.execute(statement)


async def _run_async(connection: Any, statement: str) -> None:
    if _is_sqlalchemy(connection):
        await connection.execute(*_for_sqlalchemy(statement, ()))
        return
    async with _cursor(connection) as cursor:
        await cursor.execute(statement)


def _cursor(connection: Any) -> Any:
    """A cursor that gives tuples, whatever rows the app's connection makes."""
    if type(connection).__module__.startswith("psycopg"):
        from psycopg.rows import tuple_row  # noqa: PLC0415  # only where the app has it

        return connection.cursor(row_factory=tuple_row)
    return connection.cursor()


def _for_sqlalchemy(statement: str, parameters: Sequence[str]) -> tuple[Any, dict[str, str]]:
    from sqlalchemy import text  # noqa: PLC0415  # only where the app has it

    return text(statement.format(":given")), dict(zip(("given",), parameters, strict=False))


def _told(error: Exception) -> Exception:
    """The error as this package tells it, where it has a word for it."""
    causes = (error, getattr(error, "orig", None), error.__cause__)
    states = {getattr(cause, "sqlstate", None) for cause in causes}
    if _DISK_FULL in states:
        return OutboxDiskFullError()
    if states & _MISSING:
        return OutboxMissingError()
    return error
