"""What a database's error says of the disk under it."""

from enum import Enum

from sqlalchemy.exc import DBAPIError

_FULL = {"SQLITE_FULL", "53100"}
_FAILING = ("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "58030")
"""As errors of SQLite are named, extended ones with more behind it, and those of PostgreSQL (``SQLSTATE``)."""


class DiskTrouble(Enum):
    """Why a disk takes nothing."""

    FULL = "is full: free space on it, and it goes on by itself"
    FAILING = "fails: look at its log (dmesg) and its mount; once it takes writes again, it goes on by itself"


def code_of(error: Exception) -> str:
    """What a database calls its error: SQLite by name, PostgreSQL by ``SQLSTATE``; empty where it is none of theirs."""
    original = error.orig if isinstance(error, DBAPIError) else None
    # SQLite's driver names its errors from Python 3.11 on, psycopg has the server's.
    return str(getattr(original, "sqlite_errorname", None) or getattr(original, "sqlstate", None) or "")


def disk_trouble(error: Exception) -> DiskTrouble | None:
    """What is wrong with the disk, by an error of the database; None where that is not what it says."""
    said = code_of(error)
    if said in _FULL:
        return DiskTrouble.FULL
    return DiskTrouble.FAILING if said.startswith(_FAILING) else None
