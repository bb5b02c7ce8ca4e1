"""Whose a database is: one row in it says so, as an address that is right may be a proxy's that leads elsewhere."""

from cellplane.cell.data.steps import AsyncioConnection, Step, Steps, SyncConnection, run, run_async
from cellplane.cell.errors import ForeignDatabaseError
from cellplane.cell.settings import check_cell_id

# Of two that create a table at once one fails, also with IF NOT EXISTS. Any constant will do that nobody else uses.
_LOCK = 0x63656C6C_69640001

_IS_THERE = "SELECT to_regclass('cellplane_cell_identity') IS NOT NULL"
_TAKE_LOCK = f"SELECT pg_advisory_xact_lock({_LOCK})"
_CREATE = """
CREATE TABLE IF NOT EXISTS cellplane_cell_identity (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    cell_id text NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now()
)
"""
_CLAIM = "INSERT INTO cellplane_cell_identity (cell_id) VALUES (%(cell_id)s) ON CONFLICT DO NOTHING"
_OWNER = "SELECT cell_id FROM cellplane_cell_identity"


def claim_database(connection: SyncConnection, cell_id: str) -> None:
    """Make a database this cell's at the first start, and check at every other that it is.

    It needs the right to create a table once; later, to read it. A connection that is guarded is used inside of
    ``whole_cell``. The row is there for others once the transaction is committed, which is the caller's.

    Args:
        connection: of psycopg or SQLAlchemy, or a session.
        cell_id: of this cell.

    Raises:
        ForeignDatabaseError: it is another cell's.
        InvalidSettingError: ``cell_id`` cannot be one.
    """
    run(connection, _claim(cell_id))


async def claim_database_async(connection: AsyncioConnection, cell_id: str) -> None:
    """As ``claim_database``, for asyncio."""
    await run_async(connection, _claim(cell_id))


def _claim(cell_id: str) -> Steps[None]:
    check_cell_id("cell_id", cell_id)
    owner = (yield Step(_OWNER, {})) if (yield Step(_IS_THERE, {}))[0][0] else []
    if not owner:
        yield Step(_TAKE_LOCK, {})
        yield Step(_CREATE, {})
        yield Step(_CLAIM, {"cell_id": cell_id})
        owner = yield Step(_OWNER, {})
    if owner[0][0] != cell_id:
        raise ForeignDatabaseError(cell_id, str(owner[0][0]))
