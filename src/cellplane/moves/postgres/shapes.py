"""Looks whether a tenant's tables still are those that a move guards, carries and has compared.

Migrations run while a tenant moves. A table that appears has no trigger and is in no publication; one that is made
anew has lost both. What a migration does to rows by itself (a column with a volatile default, a partition that is
attached with what is in it, a table that is written anew) no trigger hears of and no stream tells. So a move looks at
the catalogs again, in one statement of a millisecond: before writes are held, behind the fence, and before it deletes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from cellplane.moves.postgres.catalog import SCHEMA
from cellplane.moves.settings import MoverSettings

# What of a table changes its rows without a word to triggers or streams: its columns, its file, its partitions.
_LOOK = """
SELECT format('%%I.%%I', n.nspname, c.relname), c.relispartition,
    coalesce(pg_partition_root(c.oid)::oid, c.oid)::bigint,
    array(SELECT t.tgname::text FROM pg_trigger t
        WHERE t.tgrelid = c.oid AND t.tgenabled IN ('O', 'A') AND starts_with(t.tgname::text, %(triggers)s)),
    array(SELECT p.pubname::text FROM pg_publication_rel m JOIN pg_publication p ON p.oid = m.prpubid
        WHERE m.prrelid = c.oid AND p.pubname = ANY(%(streams)s)),
    c.oid::bigint, c.relfilenode::bigint, c.relreplident::text, c.relpersistence::text,
    (SELECT sum(hash_record_extended(ROW(a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated,
        a.attidentity), 0)) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
    AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname NOT IN ('information_schema', %(schema)s)
    AND EXISTS (SELECT 1 FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname = %(column)s AND a.attnum > 0 AND NOT a.attisdropped)
ORDER BY c.oid
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a move has on one table."""

    is_partition: bool
    root: str
    """The table whose partition it is; of any other, its own name."""

    triggers: frozenset[str]
    """The move's, those that are disabled left out."""

    streams: frozenset[str]
    """The move's publications that have it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The tables of a database that have the tenant's column, as they are at one moment."""

    digest: str
    """Another one where anything changed that changes rows by itself."""

    tables: Mapping[str, Watched]
    """By name, partitions too."""


def look(
    connection: psycopg.Connection[Any], settings: MoverSettings, triggers: str, streams: tuple[str, ...]
) -> Shape:
    """See how the tables are.

    Args:
        connection: in no transaction that keeps its snapshot.
        settings: which column, and which tables are left out.
        triggers: with which the names of the move's triggers begin.
        streams: names of its publications.
    """
    rows = connection.execute(
        _LOOK,
        {"triggers": triggers, "streams": list(streams), "column": settings.tenant_column, "schema": SCHEMA},
    ).fetchall()
    names = {row[5]: row[0] for row in rows}
    digest = hashlib.sha256()
    tables = {}
    for name, is_partition, root, guarded, published, *rest in rows:
        whole = names.get(root, name)
        if name in settings.left_out or whole in settings.left_out:
            continue
        tables[name] = Watched(is_partition, whole, frozenset(guarded), frozenset(published))
        digest.update(repr((name, whole, *rest)).encode())
    return Shape(digest.hexdigest(), tables)
