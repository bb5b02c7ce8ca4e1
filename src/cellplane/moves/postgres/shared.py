"""Looks whether the rows that everybody shares, and a tenant's rows reference, are at the other database too.

Neither COPY nor what replication applies looks at foreign keys: a row that references nothing is taken as it is. So
what is referenced is looked for before anything is copied, and what was referenced since, before the flip.
"""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from cellplane.moves.errors import NotTheSameError
from cellplane.moves.postgres.guard import named
from cellplane.moves.postgres.ranges import type_of
from cellplane.moves.settings import MoverSettings
from cellplane.moves.tables import Reference, Survey, Table, not_at_the_target

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Shared:
    """What the rows of one tenant reference of tables that are everybody's."""

    tenant_id: str
    move_id: str
    settings: MoverSettings

    def missing(self, written: Connection, read: Connection, found: Survey) -> tuple[str, ...]:
        """What ``read`` lacks, one of each reference, of what any of the tenant's rows at ``written`` reference."""
        return self._missing(written, read, found, is_all=True)

    def missing_since(self, written: Connection, read: Connection, found: Survey) -> tuple[str, ...]:
        """As ``missing``, of the rows alone that were written since all were compared. Two statements, whatever the
        number of tables: writes may be waiting.
        """
        return self._missing(written, read, found, is_all=False)

    def require_carried(self, target: Connection, found: Survey) -> None:
        """Look, behind a copy, for what all of the tenant's rows reference that are at the target, however many.

        Raises:
            NotTheSameError: something is not there.
        """
        for table, reference in found.shared_references:
            columns = sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(each)) for each in reference.columns)
            same = sql.SQL(" AND ").join(
                sql.SQL("r.{} = t.{}").format(sql.Identifier(there), sql.Identifier(here))
                for here, there in zip(reference.columns, reference.target_columns, strict=True)
            )
            row = target.execute(
                sql.SQL(
                    "SELECT {} FROM {} AS t WHERE t.{} = {} AND {} "
                    "AND NOT EXISTS (SELECT 1 FROM {} AS r WHERE {}) LIMIT 1"
                ).format(
                    columns,
                    named(table),
                    sql.Identifier(self.settings.tenant_column),
                    sql.Literal(self.tenant_id),
                    _present(reference),
                    sql.SQL(reference.table),
                    same,
                )
            ).fetchone()
            if row is not None:
                raise NotTheSameError(not_at_the_target(table, reference, row))

    def _missing(self, written: Connection, read: Connection, found: Survey, *, is_all: bool) -> tuple[str, ...]:
        references = list(found.shared_references)
        if not references:
            return ()
        parts = [
            self._referenced(number, table, reference, is_all=is_all)
            for number, (table, reference) in enumerate(references)
        ]
        wanted: dict[int, list[list[str]]] = {}
        for number, key in written.execute(sql.SQL(" UNION ALL ").join(parts)):
            wanted.setdefault(number, []).append(key)
        if not wanted:
            return ()
        looks, values = [], list[list[str]]()
        for number, keys in wanted.items():
            looks.append(_absent(number, *references[number]))
            values += [[key[place] for key in keys] for place in range(len(references[number][1].columns))]
        return tuple(
            f"{references[number][0].name} references {references[number][1].table} ({', '.join(key)}), which the "
            "other cell does not have: bring its shared tables up to date, then ask again"
            for number, key in read.execute(sql.SQL(" UNION ALL ").join(looks), values)
        )

    def _referenced(self, number: int, table: Table, reference: Reference, *, is_all: bool) -> sql.Composed:
        """What the rows ``t`` reference, each once."""
        rows = sql.SQL("{} AS t").format(named(table)) if is_all else self._touched(table)
        texts = sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(each)) for each in reference.columns)
        return sql.SQL("(SELECT DISTINCT {}, ARRAY[{}] FROM {} WHERE t.{} = {} AND {} LIMIT {})").format(
            number,
            texts,
            rows,
            sql.Identifier(self.settings.tenant_column),
            self.tenant_id,
            _present(reference),
            self.settings.shared_max,
        )

    def _touched(self, table: Table) -> sql.Composed:
        same = sql.SQL(" AND ").join(
            sql.SQL("r.{} = (noted.key->>{})::{}").format(sql.Identifier(name), place, sql.SQL(type_of(table, name)))
            for place, name in enumerate(table.key)
        )
        # OFFSET 0 keeps the planner from another way than to look for each key by itself.
        return sql.SQL(
            "(SELECT DISTINCT key FROM cellplane_moves.touched WHERE move_id = {} AND table_name = {}) AS noted, "
            "LATERAL (SELECT * FROM {} AS r WHERE {} OFFSET 0) AS t"
        ).format(self.move_id, table.name, named(table), same)


def _present(reference: Reference) -> sql.Composed:
    """That a row ``t`` references anything."""
    return sql.SQL(" AND ").join(sql.SQL("t.{} IS NOT NULL").format(sql.Identifier(each)) for each in reference.columns)


def _absent(number: int, table: Table, reference: Reference) -> sql.Composed:
    """One of the keys that are not there; an array of texts for each column is its parameter."""
    places = [sql.Identifier(f"c{place}") for place in range(len(reference.columns))]
    arrays = sql.SQL(", ").join(
        sql.SQL("%s::text[]::{}[]").format(sql.SQL(type_of(table, name))) for name in reference.columns
    )
    same = sql.SQL(" AND ").join(
        sql.SQL("r.{} = wanted.{}").format(sql.Identifier(name), place)
        for name, place in zip(reference.target_columns, places, strict=True)
    )
    return sql.SQL(
        "(SELECT {}, ARRAY[{}] FROM unnest({}) AS wanted({}) WHERE NOT EXISTS (SELECT 1 FROM {} AS r WHERE {}) LIMIT 1)"
    ).format(
        number,
        sql.SQL(", ").join(sql.SQL("wanted.{}::text").format(place) for place in places),
        arrays,
        sql.SQL(", ").join(places),
        sql.SQL(reference.table),
        same,
    )
