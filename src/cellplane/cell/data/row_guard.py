"""Whether PostgreSQL really keeps this connection's role to the policies of ``cellplane.cell.row_security``."""

from collections.abc import Sequence

from cellplane.cell.data.steps import AsyncioConnection, Step, Steps, SyncConnection, run, run_async
from cellplane.cell.errors import RowGuardError
from cellplane.cell.row_security import TENANT_POLICY, qualified

# The role that was logged in: whoever takes another can be it again (RESET ROLE), as after work for the whole cell.
_ROLE = "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = session_user"

_TABLE = """
SELECT c.relrowsecurity, c.relforcerowsecurity, pg_has_role(session_user, c.relowner, 'USAGE')
FROM pg_class AS c WHERE c.oid = to_regclass(%(table)s)
"""

# Of those that let rows in, whether each applies to this role: is for everybody (0), or for whom it inherits from.
_POLICIES = """
SELECT p.polname::text, EXISTS (
    SELECT FROM unnest(p.polroles) AS r
    WHERE r = 0 OR (r <> 0 AND pg_has_role(session_user, r, 'USAGE'))
)
FROM pg_policy AS p WHERE p.polrelid = to_regclass(%(table)s) AND p.polpermissive ORDER BY p.polname
"""


def check_row_guard(connection: SyncConnection, tables: Sequence[str]) -> None:
    """Check that row-level security binds the role of this connection, for the start of an app.

    Args:
        connection: as the app uses it; inside of ``whole_cell`` where it is guarded.
        tables: those that ``rls_sql`` was for.

    Raises:
        RowGuardError: names every table and every reason for which it does not.
    """
    run(connection, _check(tables))


async def check_row_guard_async(connection: AsyncioConnection, tables: Sequence[str]) -> None:
    """As ``check_row_guard``, for asyncio."""
    await run_async(connection, _check(tables))


def _check(tables: Sequence[str]) -> Steps[None]:
    faults = []
    [(role, is_superuser, bypasses)] = yield Step(_ROLE, {})
    if is_superuser:
        faults.append(f"{role} is a superuser, whom no policy binds; connect as a role of the app's own")
    elif bypasses:
        faults.append(f"{role} has BYPASSRLS; ALTER ROLE {role} NOBYPASSRLS, or connect as another")
    for table in tables:
        parameters = {"table": qualified(table)}
        found = yield Step(_TABLE, parameters)
        if not found:
            faults.append(f"{table} is not there, or not visible to this role")
            continue
        is_on, is_forced, owns = found[0]
        policies = yield Step(_POLICIES, parameters)
        others = [name for name, applies in policies if applies and name != TENANT_POLICY]
        if not is_on:
            faults.append(f"{table} is not under row-level security; run what `cellplane cell rls {table}` prints")
        elif owns and not is_forced:
            faults.append(f"{role} owns {table}, which has no FORCE; ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        elif TENANT_POLICY not in [name for name, _ in policies]:
            faults.append(f"{table} has no policy {TENANT_POLICY}; run what `cellplane cell rls {table}` prints")
        elif others:
            faults.append(
                f"{table} has the policy {others[0]} too, which lets {role} see more; make it AS RESTRICTIVE, or for "
                "another role from which this one does not inherit"
            )
    if faults:
        raise RowGuardError(faults)
