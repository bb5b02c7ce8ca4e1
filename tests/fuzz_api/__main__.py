"""``make fuzz-api``: made-up requests against real control planes, held to what their OpenAPI description says.

Exit status 0 where nothing was wrong. ``build/fuzz/api.json`` has the figures; each failure is printed with a command
that asks again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from e2e.harness import admin_headers, eventually, free_ports
from fuzz_api.asking import ask
from support import plain_http
from unit.control.serving import fill
from unit.databases import new_database, running

RESULTS = Path("build/fuzz/api.json")
START_SECONDS = 60.0
ADMIN_SHARE = 0.5
"""Of the time on each database, what the admin gets; the other roles share the rest."""

SUBJECTS = {"viewer": None, "operator": None, "cell": "cell-1", "router": "router-1"}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="made-up requests against control planes' OpenAPI description")
    parser.add_argument("--seconds", type=int, default=600, help="how long in all (default 600)")
    parser.add_argument("--examples", type=int, default=100, help="of each operation in a round (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of what is made up (default 1)")
    options = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="cellplane-fuzz-api-") as name, databases(Path(name)) as found:
        for database, url in found.items():
            folder = Path(name) / database
            share = options.seconds / len(found)
            with control_plane(folder, url) as client:
                fill(client)
                tokens = {"admin": client.headers["authorization"].removeprefix("Bearer ")}
                for role, subject in SUBJECTS.items():
                    order = {"name": role, "role": role, "subject": subject}
                    tokens[role] = client.post("/v1/tokens", json=order).raise_for_status().json()["token"]
                for role, token in tokens.items():
                    of_role = ADMIN_SHARE if role == "admin" else (1 - ADMIN_SHARE) / len(SUBJECTS)
                    outcome = ask(
                        f"{role} on {database}",
                        str(client.base_url),
                        token,
                        folder,
                        seed=options.seed,
                        examples=options.examples,
                        seconds=max(int(share * of_role), 1),
                    )
                    print("" if outcome.passed else outcome.output, json.dumps(outcome.figures()), flush=True)
                    outcomes.append(outcome)
                client.get("/healthz").raise_for_status()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    figures = {"seed": options.seed, "runs": [outcome.figures() for outcome in outcomes]}
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"seed {options.seed}: {sum(outcome.cases for outcome in outcomes)} requests; written to {RESULTS}")
    sys.exit(0 if all(outcome.passed for outcome in outcomes) else 1)


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str | None]]:
    """Where directories are, by name: the URL of an empty database, or None for a file."""
    with running(folder / "postgres") as server:
        yield {"sqlite": None, "postgresql": new_database(server)}


@contextmanager
def control_plane(folder: Path, database_url: str | None) -> Iterator[httpx2.Client]:
    """A control plane as its own command runs it, and its admin."""
    (port,) = free_ports(1)
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "cellplane.control", "--no-guard-rails", "--state", str(folder / "state")]
    environment = {**os.environ, **({} if database_url is None else {"CELLPLANE_DIRECTORY_URL": database_url})}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log, env=environment)
    try:
        with plain_http.client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

            def is_up() -> bool:
                try:
                    return client.get("/healthz").status_code == 200
                except httpx2.HTTPError:
                    return False

            eventually(is_up, "the control plane is up", seconds=START_SECONDS)
            client.headers.update(admin_headers(folder / "state"))
            yield client
    finally:
        process.terminate()
        process.wait(START_SECONDS)


if __name__ == "__main__":
    main()
