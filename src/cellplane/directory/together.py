"""Group commit: changes of requests that come at once share one transaction, and one wait for the disk.

Each is done or refused by itself, behind a savepoint, and sees those before it; none is acknowledged before all are
committed. Whoever finds that nobody writes does so for all that wait (DeWitt and others, Implementation Techniques for
Main Memory Database Systems, SIGMOD 1984, section 5.2).
"""

import threading
from collections import deque
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from cellplane.directory.failing import is_of_one_statement, refusal, too_long
from cellplane.directory.records import Author
from cellplane.directory.transaction import Transaction
from cellplane.errors import CellplaneError

Answer = TypeVar("Answer")

Begin = Callable[[Connection, Author, Collection[str]], Transaction]
"""Makes the transaction of one request, on a connection that may write."""


@dataclass(slots=True, eq=False)
class _Request(Generic[Answer]):
    author: Author
    unhealthy: Collection[str]
    do: Callable[[Transaction], Answer]
    answer: list[Answer] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self.error is not None or bool(self.answer)


@dataclass(frozen=True, slots=True)
class _Refused:
    error: Exception


class Together:
    """Does what several threads ask for in as few commits as there can be.

    Args:
        writing: the one transaction that writes now, which waits so many seconds for others; it commits where the block
            ends without an error.
        begin: makes the transaction of one request.
        most: requests of one commit.
        wait_seconds: how long a request waits until it is begun.
        clock: monotonic, seconds.
    """

    def __init__(
        self,
        writing: Callable[[float], AbstractContextManager[Connection]],
        begin: Begin,
        *,
        most: int,
        wait_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._writing = writing
        self._begin = begin
        self._most = most
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._waiting: deque[_Request[Any]] = deque()
        self._queueing = threading.Lock()
        self._leading = threading.Lock()

    def change(self, author: Author, unhealthy: Collection[str], do: Callable[[Transaction], Answer]) -> Answer:
        """Do it; return when it is committed.

        Raises:
            BusyError: others write for longer than is waited, and nothing was changed.
            DirectoryError: the database failed, and nothing was changed.
            UnknownOutcomeError: it failed in the commit.
            CellplaneError: what ``do`` raises, and nothing of it was changed.
        """
        request = _Request(author, unhealthy, do)
        until = self._clock() + self._wait_seconds
        with self._queueing:
            self._waiting.append(request)
        while not request.is_done:
            if not self._leading.acquire(timeout=self._left(until)):
                if self._withdraw(request):
                    raise too_long()
                # It is being done: who leads will tell.
                self._leading.acquire()
            try:
                if not request.is_done:
                    self._lead(request, self._left(until))
            finally:
                self._leading.release()
        if request.error is not None:
            raise request.error
        return request.answer[0]

    def _left(self, until: float) -> float:
        return max(0.0, until - self._clock())

    def _withdraw(self, request: _Request[Any]) -> bool:
        """Let it not be done; False where somebody does it already."""
        with self._queueing:
            if request not in self._waiting:
                return False
            self._waiting.remove(request)
            return True

    def _lead(self, leader: _Request[Any], wait_seconds: float) -> None:
        requests: list[_Request[Any]] = []
        try:
            with self._writing(wait_seconds) as connection:
                # Also those that came while others wrote.
                requests = self._take()
                done = [(request, self._do(connection, request)) for request in requests]
        except BaseException as error:
            if not requests and self._withdraw(leader):
                # It did not begin: those who wait, too, find out for themselves, each in its time.
                requests = [leader]
            for request in requests:
                request.error = error
            if not isinstance(error, CellplaneError):
                self._withdraw(leader)
                raise
            return
        for request, outcome in done:
            if isinstance(outcome, _Refused):
                request.error = outcome.error
            else:
                request.answer.append(outcome)

    def _take(self) -> list[_Request[Any]]:
        with self._queueing:
            return [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]

    def _do(self, connection: Connection, request: _Request[Any]) -> Any:
        """Do one of them, or nothing of it; its answer, or that it is refused.

        Raises:
            SQLAlchemyError: nobody knows what is left of the transaction: it is that of none.
        """
        savepoint = connection.begin_nested()
        try:
            transaction = self._begin(connection, request.author, request.unhealthy)
            answer = request.do(transaction)
            transaction.finish()
        except SQLAlchemyError as error:
            if not is_of_one_statement(error):
                raise
            savepoint.rollback()
            refused = refusal(error)
            refused.__cause__ = error
            return _Refused(refused)
        except Exception as error:  # noqa: BLE001  # raised to whoever asked
            savepoint.rollback()
            return _Refused(error)
        savepoint.commit()
        return answer
