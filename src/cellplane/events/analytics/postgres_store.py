"""A store in a PostgreSQL: many processes may write and read."""

from collections.abc import Sequence
from typing import Any, ClassVar

import psycopg

from cellplane.events.analytics.errors import QueryError, StoreError
from cellplane.events.analytics.tables import Store

# Any constant will do, as long as all consumers use the same and nobody else does.
_SCHEMA_LOCK = 0x63656C6C_616E616C


class PostgresStore(Store):
    """A PostgreSQL.

    Args:
        url: of the database.
        read_only: whether it is only asked.
        connect_seconds: longest connect.
        statement_seconds: longest statement.

    Raises:
        StoreError: it cannot be reached.
    """

    is_exclusive: ClassVar[bool] = False
    failures: ClassVar[tuple[type[Exception], ...]] = (psycopg.Error, OSError)

    def __init__(self, url: str, *, read_only: bool, connect_seconds: float, statement_seconds: float) -> None:
        try:
            self._connection = psycopg.connect(
                url,
                autocommit=True,
                connect_timeout=max(2, round(connect_seconds)),
                application_name="cellplane-analytics",
            )
        except psycopg.Error as error:
            raise StoreError(f"cannot connect to the PostgreSQL of the counts: {_line(error)}") from error
        self._read_only = read_only
        self.run("SELECT set_config('statement_timeout', ?, false)", (str(max(1, round(statement_seconds * 1000))),))

    def create(self) -> None:
        """Make what is not there; those who do so at once wait for each other."""
        self.run("BEGIN")
        self.run(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
        super().create()
        self.run("COMMIT")

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement."""
        cursor = self._connection.execute(_in_its_way(statement), list(parameters) or None)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def give_back(self) -> None:
        """See Store: others can read it anyway."""

    def take(self) -> None:
        """See Store: it is there."""

    def ask(self, query: str, max_rows: int) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Columns and rows of a query, in a transaction that can only read."""
        try:
            self._connection.autocommit = False
            self._connection.read_only = True
            # A cursor is of one query that gives rows: nothing else, such as COPY, can be declared as one.
            with self._connection.cursor("question") as cursor:
                cursor.execute(query)
                found = cursor.fetchmany(max_rows)
                columns = [column.name for column in cursor.description or ()]
        except psycopg.Error as error:
            raise QueryError(f"cannot be answered: {_line(error)}") from error
        finally:
            self._connection.close()
        return columns, found


def _in_its_way(statement: str) -> str:
    """With the placeholders of psycopg; the statements of tables.py and query.py have no other ``?``, and no ``%``."""
    return statement.replace("?", "%s")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
