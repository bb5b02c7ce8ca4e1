"""Reads from a database's catalogs what tables it has, and what of it matters to a move."""

from collections import defaultdict
from typing import Any

import psycopg
from psycopg.rows import dict_row

from cellplane.moves.tables import Column, Obstacle, Partition, Reference, Table

SCHEMA = "cellplane_moves"
"""Where a move keeps what is its own, in both databases."""

_TABLES = """
SELECT c.oid, format('%%I.%%I', n.nspname, c.relname) AS name, c.relkind = 'p' AS is_partitioned,
    c.relpersistence = 'u' AS is_unlogged, c.relreplident AS identity,
    coalesce(parts.rows, greatest(c.reltuples, 0))::bigint AS rows_estimate,
    coalesce(parts.bytes, pg_table_size(c.oid))::bigint AS bytes_estimate
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
    SELECT sum(greatest(l.reltuples, 0)) AS rows, sum(pg_table_size(l.oid)) AS bytes
    FROM pg_partition_tree(c.oid) p JOIN pg_class l ON l.oid = p.relid WHERE p.isleaf
) AS parts ON c.relkind = 'p'
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname NOT IN ('information_schema', %(schema)s)
"""

_COLUMNS = """
SELECT a.attrelid AS table, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
    a.attnotnull AS not_null, a.attgenerated <> '' AS is_generated,
    CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' ELSE '' END AS identity,
    pg_get_serial_sequence(format('%%I.%%I', n.nspname, c.relname), a.attname) AS sequence
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attrelid = ANY(%(tables)s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

# Also of sequences that no column owns.
_DEFAULTS = """
SELECT d.adrelid AS table, a.attname AS name, format('%%I.%%I', n.nspname, s.relname) AS sequence
FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace
WHERE d.adrelid = ANY(%(tables)s)
"""

_INDEXES = """
SELECT i.indrelid AS table, i.indisprimary AS is_primary, i.indisreplident AS is_identity, i.indisunique AS is_unique,
    array(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.place) AS columns
FROM pg_index i
WHERE i.indrelid = ANY(%(tables)s) AND (i.indisunique OR i.indisreplident)
"""

_REFERENCES = """
SELECT r.conrelid AS table, r.conname AS name, format('%%I.%%I', n.nspname, c.relname) AS target,
    array(SELECT a.attname::text FROM unnest(r.conkey) WITH ORDINALITY AS k(attnum, place)
        JOIN pg_attribute a ON a.attrelid = r.conrelid AND a.attnum = k.attnum ORDER BY k.place) AS columns,
    array(SELECT a.attname::text FROM unnest(r.confkey) WITH ORDINALITY AS k(attnum, place)
        JOIN pg_attribute a ON a.attrelid = r.confrelid AND a.attnum = k.attnum ORDER BY k.place) AS target_columns
FROM pg_constraint r JOIN pg_class c ON c.oid = r.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.contype = 'f' AND r.conrelid = ANY(%(tables)s) AND r.conparentid = 0
ORDER BY r.conname
"""


_PARTITIONS = """
SELECT t.root, l.oid, format('%%I.%%I', n.nspname, l.relname) AS name, l.relreplident AS identity,
    l.relpersistence = 'u' AS is_unlogged, l.relkind = 'f' AS is_foreign
FROM unnest(%(partitioned)s::oid[]) AS t(root), pg_partition_tree(t.root) AS p
JOIN pg_class l ON l.oid = p.relid JOIN pg_namespace n ON n.oid = l.relnamespace
WHERE p.isleaf AND p.level > 0 ORDER BY name
"""

# Their rows are among their parents', and would be carried twice.
_CHILDREN = """
SELECT i.inhparent AS table, format('%%I.%%I', n.nspname, c.relname) AS child FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.inhparent = ANY(%(tables)s) AND NOT c.relispartition ORDER BY child
"""


def read_tables(connection: psycopg.Connection[Any], left_out: tuple[str, ...] = ()) -> tuple[Table, ...]:
    """All tables of a database but the system's and those left out, by name."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_TABLES, {"schema": SCHEMA}).fetchall()
        rows = [row for row in rows if row["name"] not in left_out]
        roots = [row["oid"] for row in rows if row["is_partitioned"]]
        leaves = cursor.execute(_PARTITIONS, {"partitioned": roots}).fetchall() if roots else []
        tables = {"tables": [row["oid"] for row in rows]}
        columns, sequences = defaultdict[int, list[Column]](list), defaultdict[int, dict[str, str]](dict)
        for row in cursor.execute(_COLUMNS, tables):
            of = row.pop("table")
            sequence = row.pop("sequence")
            columns[of].append(Column(**row))
            if sequence is not None:
                sequences[of][row["name"]] = sequence
        for row in cursor.execute(_DEFAULTS, tables):
            sequences[row["table"]][row["name"]] = row["sequence"]
        keys, identities = dict[int, tuple[str, ...]](), dict[int, tuple[str, ...]]()
        uniques = defaultdict[int, set[tuple[str, ...]]](set)
        for row in cursor.execute(_INDEXES, {"tables": tables["tables"] + [leaf["oid"] for leaf in leaves]}):
            if row["is_unique"]:
                uniques[row["table"]].add(tuple(row["columns"]))
            if row["is_primary"]:
                keys[row["table"]] = tuple(row["columns"])
            if row["is_identity"]:
                identities[row["table"]] = tuple(row["columns"])
        children = defaultdict[int, list[Obstacle]](list)
        for row in cursor.execute(_CHILDREN, tables):
            children[row["table"]].append(
                Obstacle(
                    f"{row['child']} inherits from it, and its rows are among its own",
                    "make it a partitioned table, or end the inheritance",
                )
            )
        references = defaultdict[int, list[Reference]](list)
        for row in cursor.execute(_REFERENCES, tables):
            references[row["table"]].append(
                Reference(row["name"], tuple(row["columns"]), row["target"], tuple(row["target_columns"]))
            )
    found = []
    for row in rows:
        of, identity = row.pop("oid"), row.pop("identity")
        every = tuple(column.name for column in columns[of])

        def identified(oid: int, by: str, every: tuple[str, ...] = every) -> tuple[str, ...]:
            return {"d": keys.get(oid, ()), "i": identities.get(oid, ()), "f": every}.get(by, ())

        partitions = [
            Partition(leaf["name"], identified(leaf["oid"], leaf["identity"]), leaf["is_unlogged"], leaf["is_foreign"])
            for leaf in leaves
            if leaf["root"] == of
        ]
        found.append(
            Table(
                **row,
                columns=tuple(columns[of]),
                key=keys.get(of, ()),
                replica_identity=identified(of, identity),
                partitions=tuple(partitions),
                obstacles=tuple(children[of]),
                references=tuple(references[of]),
                sequences=tuple(sorted(set(sequences[of].values()))),
                numbered=tuple(sorted(sequences[of])),
                uniques=tuple(sorted(uniques[of])),
            )
        )
    return tuple(sorted(found, key=lambda table: table.name))
