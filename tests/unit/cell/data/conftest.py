"""One PostgreSQL for these tests: a cell's database with two tenants' orders, and a role that row security binds."""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from cellplane.cell import CellContext
from cellplane.cell.data import RowGuard
from cellplane.cell.row_security import rls_sql
from cellplane.cell.wiring import CellManifest, Database
from e2e_app.servers import Postgres
from unit import databases

CELL = "cell-1"
GUARD = RowGuard(whole_cell_role="sweeper")
A = CellContext(CELL, 7, "acme")
B = CellContext(CELL, 7, "berta")

_ORDERS = """
CREATE TABLE orders (
    tenant_id text COLLATE "C" NOT NULL,
    id integer NOT NULL,
    note text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO app, sweeper;
"""


@dataclass(frozen=True)
class CellDatabase:
    """A cell's database: ``conninfo`` for psycopg and ``url`` for SQLAlchemy, as the role of the app."""

    server: Postgres
    name: str

    @property
    def conninfo(self) -> str:
        return f"postgresql://app@127.0.0.1:{self.server.port}/{self.name}"

    @property
    def url(self) -> str:
        return self.conninfo.replace("postgresql://", "postgresql+psycopg://")

    @property
    def owner(self) -> str:
        return self.conninfo.replace("app@", "postgres@")

    @property
    def manifest(self) -> CellManifest:
        return CellManifest(CELL, (Database(name=self.name, hosts=(f"localhost:{self.server.port}",)),))

    def run(self, *statements: str) -> None:
        """As the owner, whom row security does not bind."""
        with psycopg.connect(self.owner, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def rows(
        self, query: str = "SELECT tenant_id, id, note FROM orders ORDER BY tenant_id, id"
    ) -> list[tuple[object, ...]]:
        with psycopg.connect(self.owner) as connection:
            return connection.execute(query.encode()).fetchall()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with databases.running(tmp_path_factory.mktemp("cell-data")) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE ROLE app LOGIN")
            connection.execute("CREATE ROLE sweeper")
            connection.execute("GRANT sweeper TO app WITH INHERIT FALSE, SET TRUE")
        yield server


@pytest.fixture
def database(server: Postgres) -> Iterator[CellDatabase]:
    """A database with orders of two tenants, without row security."""
    url = databases.new_database(server)
    made = CellDatabase(server, url.rpartition("/")[2])
    made.run(_ORDERS, "INSERT INTO orders VALUES ('acme', 1, 'a'), ('acme', 2, 'a'), ('berta', 1, 'b')")
    yield made
    databases.drop_database(server, url)


@pytest.fixture
def guarded(database: CellDatabase) -> CellDatabase:
    """The same under row security."""
    database.run(rls_sql(["orders"], whole_cell_role="sweeper").up)
    return database
