"""What an error of the directory's database means: whose it is, and with what they are refused."""

from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError, StatementError

from cellplane.directory.disk import DiskTrouble, code_of, disk_trouble
from cellplane.errors import BusyError, CellplaneError, DirectoryError, DiskError, ValidationError

_BUSY = ("SQLITE_BUSY", "55P03")
"""What SQLite and PostgreSQL say where the one that writes was waited for too long."""


def is_of_one_statement(error: SQLAlchemyError) -> bool:
    """Whether what came before the statement still stands, behind a savepoint: the database and its disk are well."""
    is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return isinstance(error, StatementError) and not is_lost and disk_trouble(error) is None


def too_long() -> BusyError:
    """What is told to whoever has waited too long for those of the same process that write."""
    return BusyError("nothing was changed: others write to the directory for longer than is waited; ask again")


def refusal(error: SQLAlchemyError) -> CellplaneError:
    """What is told to whoever asked for a statement that failed. Nothing was changed."""
    reason = str(getattr(error, "orig", None) or error).strip()
    if isinstance(error, DataError):
        # Of text with a NUL, which PostgreSQL does not hold: nobody is named so, and the database is not to blame.
        return ValidationError(
            "request", f"expected values that the directory's database can hold; found one of which it says: {reason}"
        )
    if code_of(error).startswith(_BUSY):
        return BusyError(f"nothing was changed: others write to the directory ({reason}); ask again")
    trouble = disk_trouble(error)
    if trouble is not None:
        return DiskError(
            f"nothing was changed: the disk of the directory {trouble.value} ({reason})",
            is_full=trouble is DiskTrouble.FULL,
        )
    return DirectoryError(f"the directory's database failed, nothing was changed: {reason}")
