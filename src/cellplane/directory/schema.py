"""The directory's tables. ``info["kind"]`` is what the change log calls a table's resources."""

from sqlalchemy import JSON, Column, Float, Integer, MetaData, String, Table

metadata = MetaData()

fleet = Table(
    "fleet",
    metadata,
    Column("name", String, primary_key=True),
    Column("key_header", String, nullable=False),
    Column("default_pool", String, nullable=False),
    Column("unknown_tenant", String, nullable=False),
    Column("retry_after_seconds", Integer, nullable=False),
    info={"kind": "fleet"},
)

cells = Table(
    "cells",
    metadata,
    Column("id", String, primary_key=True),
    Column("address", String, nullable=False),
    Column("port", Integer, nullable=False),
    Column("region", String, nullable=False),
    Column("jurisdiction", String, nullable=False),
    Column("status", String, nullable=False),
    Column("weight", Float, nullable=False),
    info={"kind": "cell"},
)

pools = Table(
    "pools",
    metadata,
    Column("name", String, primary_key=True),
    Column("cells", JSON, nullable=False),
    Column("strategy", String, nullable=False),
    Column("virtual_nodes", Integer, nullable=False),
    info={"kind": "pool"},
)

tenants = Table(
    "tenants",
    metadata,
    Column("id", String, primary_key=True),
    Column("cell", String, nullable=True, index=True),
    Column("state", String, nullable=False),
    info={"kind": "tenant"},
)

changes = Table(
    "changes",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=True),
    Column("at", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("id", String, nullable=False),
    Column("action", String, nullable=False),
    Column("before", JSON(none_as_null=True), nullable=True),
    Column("after", JSON(none_as_null=True), nullable=True),
    sqlite_autoincrement=True,
)

publications = Table(
    "publications",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("sha256", String, nullable=False),
    Column("at", String, nullable=False),
)
