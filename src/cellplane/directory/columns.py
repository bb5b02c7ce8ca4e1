"""Types of columns that SQLite and PostgreSQL share. Migrations use them too: they stay as they are."""

from sqlalchemy import JSON, BigInteger, Integer, String
from sqlalchemy.dialects.postgresql import JSONB

Id = String().with_variant(String(collation="C"), "postgresql")
"""Compared byte by byte, whatever the language of the database: lists are by id, and pages begin behind one."""

Number = BigInteger().with_variant(Integer, "sqlite")
"""63 bits and a sign. SQLite's integers have them by that name alone, where one is a key."""

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""In PostgreSQL as JSONB, which can be compared."""
