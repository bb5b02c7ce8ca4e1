"""``make bench-move``, one half: a move's copy and comparison beside a plain COPY. Real PostgreSQL, loopback.

Each round carries the same rows of one tenant between the same two servers, in an order that is drawn anew:

- ``plain``: ``psql`` piped into ``psql``: COPY of a query into COPY, binary, into a table with its primary key: the
  baseline;
- ``move``: the copy of a move, with its slot and its snapshot; then the comparison of all rows at both ends.
"""

import argparse
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

import measure
from cellplane.moves.postgres.mover import PostgresMover
from cellplane.provision.local.parts import postgres_binary
from e2e_app.servers import Postgres

TENANT = "acme"
GOAL_COPY_RATIO = 0.6
GOAL_VERIFY_ROWS_PER_S = 300_000
TABLE = b"""
CREATE TABLE entries (
    tenant_id text COLLATE "C" NOT NULL,
    id bigint NOT NULL,
    amount numeric(12, 2) NOT NULL,
    made timestamptz NOT NULL,
    note text NOT NULL,
    PRIMARY KEY (tenant_id, id)
)"""
FILL = b"""
INSERT INTO entries
SELECT tenant, number, number %% 100000 / 100.0, timestamptz '2026-01-01' + number * interval '1 second',
    md5(number::text)
FROM (VALUES ('acme', %(rows)s), ('globex', %(rows)s / 20)) AS wanted(tenant, count),
    generate_series(1, count) AS number"""
SERVER = (
    "-c",
    "wal_level=logical",
    "-c",
    "max_wal_size=4GB",
    "-c",
    "shared_buffers=512MB",
    "-c",
    "checkpoint_timeout=30min",
)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="a move's copy and comparison beside a plain COPY")
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the tenant (default 10,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds (default 3)")
    parser.add_argument("--seed", type=int, default=1, help="of the order of ways (default 1)")
    options = parser.parse_args()
    print(f"seed {options.seed}; {os.cpu_count()} cores; {options.rows:,} rows", flush=True)
    with tempfile.TemporaryDirectory(prefix="cellplane-bench-") as folder:
        results = _measure(Path(folder), options)
    holds = True
    for name, found, goal in (
        ("copy_ratio", results["copy_ratio"]["median"], GOAL_COPY_RATIO),
        ("verify_rows_per_s", results["verify_rows_per_s"], GOAL_VERIFY_ROWS_PER_S),
    ):
        holds &= found >= goal
        print(f"{'holds' if found >= goal else 'DOES NOT HOLD'}: {name} ≥ {goal:,}, found {found:,}")
    print(f"written to {measure.add_results('move', results)}")
    sys.exit(0 if holds else 1)


def _measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    servers = []
    try:
        for name in ("source", "target"):
            (folder / name).mkdir()
            server = Postgres(folder / name, *SERVER)
            server.start_and_wait()
            servers.append(server)
        source, target = servers[0].url, servers[1].url
        for url in (source, target):
            _execute(url, TABLE)
        with psycopg.connect(source) as connection:
            connection.execute(FILL, {"rows": options.rows})
        for url in (source, target):
            _execute(url, b"VACUUM ANALYZE")
        rng = random.Random(options.seed)
        plain, moved, compared = [], [], []
        for number in range(options.rounds):
            ways = ["plain", "move"]
            rng.shuffle(ways)
            for way in ways:
                _execute(target, b"TRUNCATE entries")
                for url in (source, target):
                    _execute(url, b"CHECKPOINT")
                if way == "plain":
                    plain.append(_plain(source, target, options.rows))
                else:
                    copying, comparing = _move(source, target, options.rows, f"r{number}")
                    moved.append(copying)
                    compared.append(comparing)
            print(
                f"round {number + 1}: plain {plain[-1]:.1f} s, copy {moved[-1]:.1f} s, comparison {compared[-1]:.1f} s",
                flush=True,
            )
    finally:
        for server in servers:
            server.stop()
    ratios = [ours / theirs for ours, theirs in zip(plain, moved, strict=True)]
    return {
        "rows": options.rows,
        "copy_ratio": measure.summary(ratios),
        "copy_rows_per_s": round(options.rows / statistics.median(moved)),
        "plain_rows_per_s": round(options.rows / statistics.median(plain)),
        "verify_rows_per_s": round(options.rows / statistics.median(compared)),
    }


def _plain(source: str, target: str, rows: int) -> float:
    psql = shlex.quote(str(postgres_binary("psql")))
    out = f"COPY (SELECT * FROM entries WHERE tenant_id = '{TENANT}') TO STDOUT (FORMAT binary)"
    into = "COPY entries FROM STDIN (FORMAT binary)"
    command = f"{psql} -Xqc {shlex.quote(out)} {source} | {psql} -Xqc {shlex.quote(into)} {target}"
    began = time.perf_counter()
    subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], check=True)
    took = time.perf_counter() - began
    _check(target, rows)
    return took


def _move(source: str, target: str, rows: int, move_id: str) -> tuple[float, float]:
    mover = PostgresMover(TENANT, move_id, source, target)
    mover.prepare()
    began = time.perf_counter()
    mover.copy()
    copying = time.perf_counter() - began
    mover.follow()
    began = time.perf_counter()
    verdict = mover.compare()
    comparing = time.perf_counter() - began
    if not verdict.is_same or verdict.rows < rows:
        sys.exit(f"the copy is not the same: {verdict}")
    _check(target, rows)
    mover.part()
    mover.forget()
    mover.close()
    return copying, comparing


def _check(url: str, rows: int) -> None:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM entries").fetchone()
    if found != (rows,):
        sys.exit(f"{found} rows were copied, and not {rows}")


def _execute(url: str, statement: bytes) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


if __name__ == "__main__":
    main()
