"""What belongs to a tenant's rows without being one of them: shared rows, what waits to be told, and numbers."""

from collections.abc import Sequence

from cellplane.moves.errors import NotInTimeError, NotTheSameError
from cellplane.moves.settings import MoverSettings
from cellplane.moves.sqlite.carrying import End
from cellplane.moves.sqlite.catalog import unquoted, whose
from cellplane.moves.sqlite.files import Connection
from cellplane.moves.sqlite.words import listed, quoted, statement
from cellplane.moves.tables import Reference, Survey, Table, not_at_the_target


def require_shared(target: End, found: Survey, tenant_id: str, settings: MoverSettings) -> None:
    """What the tenant's rows reference of tables that are everybody's has to be at the target too.

    Raises:
        NotTheSameError: something is not.
    """
    for table, reference in found.shared_references:
        same = " AND ".join(
            f"r.{quoted(there)} = t.{quoted(here)}"
            for here, there in zip(reference.columns, reference.target_columns, strict=True)
        )
        row = target.connection.execute(
            statement(
                "SELECT", listed(reference.columns, "t."), "FROM", table.name, "AS t",
                "WHERE", f"t.{whose(settings.tenant_column)}", "AND", _present(reference),
                "AND NOT EXISTS (SELECT 1 FROM", reference.table, "AS r WHERE", same, ") LIMIT 1",
            ),
            (tenant_id,),
        ).fetchone()  # fmt: skip
        if row is not None:
            raise NotTheSameError(not_at_the_target(table, reference, row))


def _present(reference: Reference) -> str:
    return " AND ".join(f"t.{quoted(each)} IS NOT NULL" for each in reference.columns)


def missing_shared(source: End, target: End, found: Survey, tenant_id: str, settings: MoverSettings) -> tuple[str, ...]:
    """As ``require_shared``, before anything is copied: what the target lacks, one of each reference."""
    missing = []
    for table, reference in found.shared_references:
        wanted = source.connection.execute(
            statement(
                "SELECT DISTINCT", listed(reference.columns, "t."), "FROM", table.name, "AS t",
                "WHERE", f"t.{whose(settings.tenant_column)}", "AND", _present(reference), "LIMIT ?",
            ),
            (tenant_id, settings.shared_max),
        ).fetchall()  # fmt: skip
        same = " AND ".join(f"r.{quoted(there)} = ?" for there in reference.target_columns)
        words = statement("SELECT 1 FROM", reference.table, "AS r WHERE", same)
        absent = next((row for row in wanted if target.connection.execute(words, row).fetchone() is None), None)
        if absent is not None:
            missing.append(not_at_the_target(table, reference, absent))
    return tuple(missing)


def wait_for_outbox(written: End, tenant_id: str, settings: MoverSettings, within_seconds: float) -> None:
    """What is to be told outside is told by this cell before the other tells more: in the order of the tenant.

    Raises:
        NotInTimeError: it is not.
    """
    name = settings.outbox.rpartition(".")[2]
    connection, file = written.connection, written.file
    if connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone() is None:
        return
    began = file.monotonic()
    waits = statement("SELECT 1 FROM", quoted(name), "WHERE tenant_id = ? LIMIT 1")
    while connection.execute(waits, (tenant_id,)).fetchone():
        if file.monotonic() - began > within_seconds:
            raise NotInTimeError(
                f"the outbox still has events of {tenant_id}: does its relay run, and the stream take them?"
            )
        file.pause(settings.poll_seconds)


def carry_sequences(written: End, read: End, tables: Sequence[Table], settings: MoverSettings) -> None:
    """Numbers that were given are not given again, nor those that the former cell now gives to others."""
    names = [unquoted(table) for table in tables if table.sequences]
    if not names:
        return
    given = {name: _sequence(written.connection, name) for name in names}
    with read.file.writing(read.connection):
        for name in names:
            wanted = max(_sequence(read.connection, name), given[name] + settings.sequence_gap)
            done = read.connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (wanted, name))
            if done.rowcount == 0:
                read.connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, wanted))


def _sequence(connection: Connection, name: str) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (name,)).fetchone()
    return 0 if row is None else int(row[0])
