"""What a transaction is told of its scope, for the policies of ``cellplane.cell.row_security``."""

from dataclasses import dataclass
from typing import NamedTuple

from cellplane.cell.data.scope import WHOLE_CELL
from cellplane.cell.row_security import TENANT_SETTING, quoted

NO_TRANSACTION = (
    "expected a transaction, which can be told whose rows it sees; found autocommit. Begin one, or go without row_guard"
)

# Until the transaction's end, so that it is also right behind a pooler that gives each transaction another connection;
# and always, so that what a connection was told before, by whomever, is not left standing.
_PIN = f"SELECT set_config('{TENANT_SETTING}', %s, true)"
_PIN_WITH_ROLE = f"{_PIN}, set_config('role', %s, true)"


class Pin(NamedTuple):
    """The statement with which a transaction begins, and its parameters."""

    statement: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowGuard:
    """Tell each transaction whose rows it may see: those of its tenant.

    Raises:
        RowGuardError: the role's name cannot be one.
    """

    whole_cell_role: str | None = None
    """Role that a transaction for the whole cell takes (``SET LOCAL ROLE``), and that sees all rows (``rls_sql``). The
    app's role has to be its member, without inheriting from it. None: such a transaction sees no row of any tenant."""

    def __post_init__(self) -> None:
        if self.whole_cell_role is not None:
            quoted(self.whole_cell_role)

    def pin(self, scope: str) -> Pin:
        """What a transaction for this scope begins with."""
        if scope == WHOLE_CELL and self.whole_cell_role is not None:
            return Pin(_PIN_WITH_ROLE, (scope, self.whole_cell_role))
        return Pin(_PIN, (scope,))
