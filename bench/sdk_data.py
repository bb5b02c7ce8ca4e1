"""What the guards of a cell's data cost, beside the same engine or pool without: the figures of ``docs/sdk-data.md``.

A transaction is a checkout, its statements, and a commit, against a real PostgreSQL on this machine. Each round takes
a few bare, guarded, and row-guarded transactions in turn, in an order drawn anew, so that what disturbs disturbs all.
Ratios are to the bare ones of the same round; the least times are those of the quietest round. CPU is that of the
client's process; time is what a caller waits.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool
from sqlalchemy import create_engine, text

from cellplane.cell import CellContext, entered
from cellplane.cell.data import RowGuard, cell_engine, cell_pool
from cellplane.cell.row_security import rls_sql
from cellplane.cell.wiring import CellManifest, Database
from e2e_app.servers import Postgres
from measure import summary, write_results

CELL = "cell-1"
CONTEXT = CellContext(CELL, 7, "tenant-7")
TENANTS = 200
ROWS = 20_000
STATEMENTS = (1, 10)
QUERY = "SELECT count(*) FROM orders WHERE tenant_id = 'tenant-7' AND id < 50"
VARIANTS = ("bare", "guarded", "row-guarded")
Transaction = Callable[[int], None]


@dataclass(frozen=True)
class Cost:
    """Of one transaction, in microseconds."""

    cpu_us: float
    wall_us: float


def main() -> None:
    """Measure, print, and write ``build/bench/sdk_data.json``."""
    parser = argparse.ArgumentParser(description="the guards of a cell's data, beside none")
    parser.add_argument("--pairs", type=int, default=101, help="rounds (default 101, least 7)")
    parser.add_argument("--transactions", type=int, default=30, help="in a row, of each kind and round (default 30)")
    parser.add_argument("--seed", type=int, default=1, help="of the order (default 1)")
    options = parser.parse_args()
    if options.pairs < 7:
        parser.error("a median of fewer than 7 rounds says too little")
    results = measure(options.pairs, options.transactions, options.seed)
    for name, found in results.items():
        print(name)
        for variant, costs in found.items():
            times = f"least {costs['cpu_us']['min']:7.1f} µs CPU {costs['wall_us']['min']:7.1f} µs"
            if variant == "bare":
                print(f"  {variant:12} {times}")
                continue
            ratio, wall = costs["cpu_ratio"], costs["wall_ratio"]
            print(
                f"  {variant:12} {times}   CPU × {ratio['median']:.3f} ({ratio['min']:.3f}–{ratio['max']:.3f})"
                f"   time × {wall['median']:.3f} ({wall['min']:.3f}–{wall['max']:.3f})"
            )
    print(write_results("sdk_data", results))


def measure(rounds: int, transactions: int, seed: int) -> dict[str, Any]:
    """Cost of a transaction of each kind, and the ratios to the bare one of the same round."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(Path(folder))
        try:
            server.start_and_wait()
            prepare(server)
            for kind, variants in (("SQLAlchemy engine", engines), ("psycopg pool", pools)):
                with variants(server) as each:
                    for statements in STATEMENTS:
                        name = f"{kind}, {statements} statement{'s' * (statements > 1)} a transaction"
                        results[name] = compared(each, statements, rounds, transactions, random.Random(seed))
        finally:
            server.stop()
    return results


def compared(
    variants: dict[str, Transaction], statements: int, rounds: int, transactions: int, order: random.Random
) -> dict[str, Any]:
    """Costs and ratios of one workload."""
    costs: dict[str, list[Cost]] = {name: [] for name in VARIANTS}
    with entered(CONTEXT):
        for transaction in variants.values():
            cost_of(transaction, statements, transactions)  # connections, prepared statements and caches
        for _ in range(rounds):
            for name in order.sample(VARIANTS, len(VARIANTS)):
                costs[name].append(cost_of(variants[name], statements, transactions))
    found: dict[str, Any] = {}
    for name, each in costs.items():
        found[name] = {
            "cpu_us": summary([cost.cpu_us for cost in each]),
            "wall_us": summary([cost.wall_us for cost in each]),
        }
        if name != "bare":
            pairs = list(zip(each, costs["bare"], strict=True))
            found[name]["cpu_ratio"] = summary([cost.cpu_us / bare.cpu_us for cost, bare in pairs])
            found[name]["wall_ratio"] = summary([cost.wall_us / bare.wall_us for cost, bare in pairs])
    return found


def cost_of(transaction: Transaction, statements: int, transactions: int) -> Cost:
    """Of one transaction, the mean of many in a row."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(transactions):
        transaction(statements)
    cpu_us, wall_us = (time.process_time() - cpu) * 1e6, (time.perf_counter() - wall) * 1e6
    return Cost(cpu_us / transactions, wall_us / transactions)


def prepare(server: Postgres) -> None:
    """A table of many tenants under row-level security, and the same without."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE app LOGIN")
        for name in ("bare", "guarded"):
            connection.execute(f"CREATE DATABASE {name}".encode())
    for name in ("bare", "guarded"):
        with psycopg.connect(address(server, name, "postgres"), autocommit=True) as connection:
            connection.execute(
                'CREATE TABLE orders (tenant_id text COLLATE "C", id integer, PRIMARY KEY (tenant_id, id))'
            )
            connection.execute(
                "INSERT INTO orders SELECT 'tenant-' || n %% %s, n / %s FROM generate_series(0, %s) AS n",
                [TENANTS, TENANTS, ROWS - 1],
            )
            connection.execute("GRANT SELECT ON orders TO app")
            connection.execute("ANALYZE orders")
            if name == "guarded":
                connection.execute(rls_sql(["orders"]).up.encode())


def address(server: Postgres, database: str, role: str = "app") -> str:
    """Of one of the databases."""
    return f"postgresql://{role}@127.0.0.1:{server.port}/{database}"


def manifest(server: Postgres, database: str) -> CellManifest:
    """That names this database alone."""
    return CellManifest(CELL, (Database(name=database, hosts=(f"127.0.0.1:{server.port}",)),))


@contextmanager
def engines(server: Postgres) -> Iterator[dict[str, Transaction]]:
    """Transactions by SQLAlchemy."""

    def url(database: str) -> str:
        return address(server, database).replace("postgresql:", "postgresql+psycopg:")

    made = {
        "bare": create_engine(url("bare")),
        "guarded": cell_engine(url("bare"), manifest(server, "bare")),
        "row-guarded": cell_engine(url("guarded"), manifest(server, "guarded"), row_guard=RowGuard()),
    }
    query = text(QUERY)

    def transaction(name: str) -> Transaction:
        engine = made[name]

        def run(statements: int) -> None:
            with engine.begin() as connection:
                for _ in range(statements):
                    if connection.scalar(query) != 50:
                        sys.exit("the benchmark sees other rows than it should")

        return run

    try:
        yield {name: transaction(name) for name in VARIANTS}
    finally:
        for engine in made.values():
            engine.dispose()


@contextmanager
def pools(server: Postgres) -> Iterator[dict[str, Transaction]]:
    """Transactions by psycopg."""
    bare: ConnectionPool[Any] = ConnectionPool(address(server, "bare"), min_size=1, max_size=1, open=True)
    guarded = cell_pool(address(server, "bare"), manifest(server, "bare"), min_size=1, max_size=1, open=True)
    row_guarded = cell_pool(
        address(server, "guarded"),
        manifest(server, "guarded"),
        row_guard=RowGuard(),
        min_size=1,
        max_size=1,
        open=True,
    )
    made: dict[str, ConnectionPool[Any]] = {"bare": bare, "guarded": guarded, "row-guarded": row_guarded}

    def transaction(name: str) -> Transaction:
        pool = made[name]

        def run(statements: int) -> None:
            with pool.connection() as connection:
                for _ in range(statements):
                    if connection.execute(QUERY).fetchone() != (50,):
                        sys.exit("the benchmark sees other rows than it should")

        return run

    try:
        yield {name: transaction(name) for name in VARIANTS}
    finally:
        for pool in made.values():
            pool.close()


if __name__ == "__main__":
    main()
