"""Which store a path or a URL names, and whether its driver is there."""

import time
from collections.abc import Callable
from pathlib import Path

from cellplane.events.analytics.errors import StoreError, StoreLockedError
from cellplane.events.analytics.settings import AnalyticsSettings, QueryLimits
from cellplane.events.analytics.tables import Store


def open_for_writing(settings: AnalyticsSettings) -> Store:
    """Open the store of a consumer, and make its tables.

    Raises:
        StoreError: it cannot be opened, or another process has it.
    """
    store = _open(settings.store, settings.connect_seconds, settings.database_seconds, read_only=False)
    try:
        store.create()
    except store.failures as error:
        store.close()
        raise StoreError(f"cannot make the tables of the counts: {' '.join(str(error).split())}") from error
    return store


def open_for_reading(
    name: str,
    limits: QueryLimits,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Store:
    """Open a store that is asked. One that its consumer has open is waited for, ``limits.lock_wait_seconds`` long.

    Args:
        clock: seconds that only grow.
        sleep: waits between two tries.

    Raises:
        StoreLockedError: another process has it all the time.
        StoreError: it cannot be opened.
    """
    deadline = clock() + limits.lock_wait_seconds
    while True:
        try:
            return _open(name, limits.statement_seconds, limits.statement_seconds, read_only=True)
        except StoreLockedError as error:
            if clock() >= deadline:
                raise StoreLockedError(f"{error} (tried for {limits.lock_wait_seconds:g} s)") from error
        sleep(limits.lock_retry_seconds)


def _open(name: str, connect_seconds: float, statement_seconds: float, *, read_only: bool) -> Store:
    try:
        if name.startswith(("postgresql://", "postgres://")):
            from cellplane.events.analytics.postgres_store import PostgresStore  # noqa: PLC0415  # if it is asked for

            return PostgresStore(
                name, read_only=read_only, connect_seconds=connect_seconds, statement_seconds=statement_seconds
            )
        if "://" in name or not name:
            scheme = name.partition("://")[0]
            raise StoreError(f"expected the path of a DuckDB file, or postgresql://…; found {scheme[:20] or 'nothing'}")
        from cellplane.events.analytics.duckdb_store import DuckDbStore  # noqa: PLC0415  # if it is asked for

        return DuckDbStore(Path(name), read_only=read_only)
    except ModuleNotFoundError as error:
        raise StoreError(f"this store needs {error.name}: pip install 'cellplane[analytics]'") from error
