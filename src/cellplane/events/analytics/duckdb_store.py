"""A store in one file, by DuckDB: one process writes, or many read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import duckdb

from cellplane.events.analytics.errors import QueryError, StoreError, StoreLockedError
from cellplane.events.analytics.tables import Store


class DuckDbStore(Store):
    """A DuckDB file.

    Args:
        path: of the file; it is made where it is not there.
        read_only: whether it is only asked, and statements can touch nothing else.

    Raises:
        StoreLockedError: another process has it.
        StoreError: it cannot be opened.
    """

    failures: ClassVar[tuple[type[Exception], ...]] = (duckdb.Error,)
    is_exclusive: ClassVar[bool] = True

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self._path = path
        self._is_attached = False
        if not read_only:
            # In memory, with the file attached: to attach it again costs a tenth of another start of DuckDB.
            self._connection = duckdb.connect(":memory:")
            try:
                self.take()
            except StoreError:
                self._connection.close()
                raise
            return
        if not path.exists():
            raise StoreError(
                f"expected a DuckDB file at {path}, found none: `cellplane analytics consume` makes it, and so does "
                "`cellplane demo`"
            )
        try:
            # SQL of people reads this file, and no other: neither files, nor the network, nor extensions.
            closed: dict[str, str | bool | int | float | list[str]] = {
                "enable_external_access": False,
                "lock_configuration": True,
            }
            self._connection = duckdb.connect(str(path), read_only=True, config=closed)
        except duckdb.Error as error:
            raise _refused(path, error) from error

    def take(self) -> None:
        """See Store."""
        if self._is_attached:
            return
        quoted = str(self._path).replace("'", "''")
        try:
            self._connection.execute(f"ATTACH '{quoted}' AS counts")
            self._connection.execute("USE counts")
        except duckdb.Error as error:
            raise _refused(self._path, error) from error
        self._is_attached = True

    def give_back(self) -> None:
        """See Store."""
        if self._is_attached:
            self._connection.execute("USE memory")
            self._connection.execute("DETACH counts")
            self._is_attached = False

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement."""
        return self._connection.execute(statement, list(parameters)).fetchall()

    def close(self) -> None:
        """Close the file, which others can have then."""
        self._connection.close()

    def ask(self, query: str, max_rows: int) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Columns and rows of a query."""
        try:
            statements = duckdb.extract_statements(query)
            if len(statements) != 1:
                raise QueryError(f"expected one query, found {len(statements)}")
            result = self._connection.execute(query)
            rows = result.fetchmany(max_rows)
        except duckdb.Error as error:
            raise QueryError(f"cannot be answered: {_line(error)}") from error
        return [column[0] for column in result.description or ()], rows


def _refused(path: Path, error: Exception) -> StoreError:
    """Why a file cannot be opened."""
    if "lock" not in str(error).lower():
        return StoreError(f"cannot open {path}: {_line(error)}")
    return StoreLockedError(
        f"expected {path} to be free, found that another process has it open: one process writes a DuckDB file, or "
        "many read it. Run `cellplane analytics consume` with --share, which gives it back between batches, or stop "
        "the other, or keep the counts in PostgreSQL, which has both at once"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
