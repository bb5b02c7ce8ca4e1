"""Who may call the control plane, and who did: the directory's book of tokens and of calls."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from cellplane.directory import audit, tokens
from cellplane.directory.audit import AuditEntry, AuditFilter
from cellplane.directory.database import Database
from cellplane.directory.tokens import TokenRecord
from cellplane.errors import ConflictError, NotFoundError


class AccessBook:
    """Tokens and the audit, in the directory's database. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def token(self, token_id: str) -> TokenRecord | None:
        """One token; None where there is none."""
        with self._database.reading() as connection:
            return tokens.read_token(connection, token_id)

    def tokens(self, *, limit: int, after: str = "") -> tuple[TokenRecord, ...]:
        """Tokens by id, behind one."""
        with self._database.reading() as connection:
            return tokens.read_tokens(connection, limit=limit, after=after)

    def create_token(self, record: TokenRecord, entry: AuditEntry | None, max_tokens: int) -> None:
        """Keep a token, with its entry in the audit where a call made it.

        Raises:
            ConflictError: there are so many already.
        """
        with self._database.writing() as connection:
            if tokens.count_tokens(connection) >= max_tokens:
                raise ConflictError(f"there are {max_tokens} tokens, which is the limit: dead ones go by themselves")
            tokens.write_token(connection, record)
            if entry is not None:
                audit.write_audit(connection, [replace(entry, at=self._database.now(connection))])

    def revoke_token(self, token_id: str, entry: AuditEntry) -> TokenRecord:
        """Let a token count no more.

        Raises:
            NotFoundError: there is none of this id.
        """
        with self._database.writing() as connection:
            record = tokens.read_token(connection, token_id)
            if record is None:
                raise NotFoundError(f"no token has the id {token_id!r}: `cellplane token list` shows them")
            now = self._database.now(connection)
            audit.write_audit(connection, [replace(entry, at=now)])
            return tokens.revoke_token(connection, record, now)

    def calls(self, wanted: AuditFilter, *, limit: int, before: int | None = None) -> tuple[AuditEntry, ...]:
        """Entries of the audit, the newest first."""
        with self._database.reading() as connection:
            return audit.read_audit(connection, wanted, limit=limit, before=before)

    def note(self, entries: Sequence[AuditEntry], uses: Mapping[str, datetime]) -> None:
        """Put refused calls on record, and when tokens were last used."""
        with self._database.writing() as connection:
            if entries:
                audit.write_audit(connection, entries)
            tokens.note_uses(connection, uses)

    def forget(self, *, audit_days: float, audit_rows: int, dead_token_days: float) -> None:
        """Forget what is older than that, and of the audit all but the last rows."""
        with self._database.writing() as connection:
            now = self._database.now(connection)
            audit.forget_audit(connection, before=now - timedelta(days=audit_days), kept=audit_rows)
            tokens.forget_dead_tokens(connection, now - timedelta(days=dead_token_days))
