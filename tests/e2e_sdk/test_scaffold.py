"""What ``cellplane cell init`` makes is a service that passes its own tests, runs, and keeps its cell's boundary."""

import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner

from cellplane import __version__
from cellplane.cell import CellContext
from cellplane.cli.commands import cli
from cellplane.scaffold import MAX_NAME_CHARS, Project, write
from e2e_app.servers import Postgres, Process, eventually, free_port
from support import plain_http

ROOT = Path(__file__).resolve().parents[2]
RUN_SECONDS = 120
BIN = Path(sys.executable).parent


def run(folder: Path, *command: str | Path, **environ: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scaffold") / "order-history"
    result = CliRunner().invoke(cli, ["cell", "init", "order-history", "--folder", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("scaffold-postgres"))
    try:
        server.start_and_wait()
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("name", ["a", "order-history", "z" * MAX_NAME_CHARS])
def test_it_keeps_the_style_of_this_house_whatever_its_name(name: str, tmp_path: Path) -> None:
    write(tmp_path, Project.named(name).files())
    house = ["--no-cache", "--config", str(ROOT / "pyproject.toml"), "--config", "src = ['.', 'tests']"]
    run(tmp_path, BIN / "ruff", "check", *house, ".")
    run(tmp_path, BIN / "ruff", "format", "--check", *house, ".")


@pytest.mark.long
def test_its_types_are_sound(project: Path) -> None:
    run(project, BIN / "mypy", "--strict", "--explicit-package-bases", "order_history", "tests", MYPYPATH="tests")


def test_its_own_tests_pass_with_a_postgresql_of_their_own(project: Path, tmp_path: Path) -> None:
    # PostgreSQL refuses to run as root; in a user namespace root is somebody else.
    user = ["unshare", "--user", "--map-user=65534", "--map-group=65534", "--"] if os.geteuid() == 0 else []
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "tests")]
    without = {name: value for name, value in os.environ.items() if not name.startswith(("TEST_", "PYTEST_"))}
    without["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # those of this environment take longer than its tests
    done = subprocess.run(
        [*user, *pytest_],
        cwd=project,
        env=without,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 passed" in done.stdout


def test_it_runs_and_keeps_the_boundary_of_its_cell(project: Path, postgres: Postgres, tmp_path: Path) -> None:
    manifest = tmp_path / "cell.toml"
    manifest.write_text(
        (project / "cell.toml")
        .read_text()
        .replace("127.0.0.1:5432", f"localhost:{postgres.port}")
        .replace("order_history", "postgres")
    )
    port = free_port()
    environ = {
        **os.environ,
        "PYTHONPATH": str(project),
        "CELLPLANE_CELL_ID": "cell-1",
        "CELLPLANE_DATABASE_URL": postgres.url,
        "ORDER_HISTORY_MANIFEST": str(manifest),
        "ORDER_HISTORY_CONFIG": str(project / "config.json"),
    }
    command = [str(BIN / "uvicorn"), "--factory", "order_history.app:from_env", "--port", str(port)]
    app = Process("app", command, tmp_path / "app.log", environ)
    app.start()
    try:
        with plain_http.client(base_url=f"http://127.0.0.1:{port}") as client:
            eventually("it is ready", lambda: is_ready(client), 30.0)
            checked = CliRunner().invoke(
                cli, ["cell", "check", f"127.0.0.1:{port}", "--cell", "cell-1", "--path", "/items"]
            )
            assert checked.exit_code == 0, checked.output
            headers = CellContext("cell-1", 1, "acme").to_headers() | {"idempotency-key": "key-1"}
            assert client.post("/items", json={"text": "one"}, headers=headers).status_code == 201
            postgres.stop()
            answer = client.post("/items", json={"text": "two"}, headers=headers | {"idempotency-key": "key-2"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "two" not in answer.text
            assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 503)
            postgres.start_and_wait()
            eventually("it is ready again", lambda: is_ready(client))
            assert [item["text"] for item in client.get("/items", headers=headers).json()] == ["one"]
    finally:
        app.stop()
    log = app.log.read_text()
    assert "cell-1 None work on the data of the whole cell: start" in log
    assert "Traceback" not in log


def is_ready(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def test_its_image_has_what_it_is_built_from(project: Path, tmp_path: Path) -> None:
    lines = (project / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    steps = [(line.split()[0], shlex.split(line)[1:]) for line in lines if line]
    assert {name for name, _ in steps} == {
        *("FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "EXPOSE", "HEALTHCHECK", "CMD")
    }
    assert [words[1:] for name, words in steps if name == "FROM"] == [["AS", "build"], []], "two stages"
    names = [name for name, _ in steps]
    assert names[-3:] == ["EXPOSE", "HEALTHCHECK", "CMD"]
    assert names.index("USER") > max(at for at, name in enumerate(names) if name in {"FROM", "RUN", "COPY"})
    assert next(words for name, words in steps if name == "USER") == ["10001"], "not root"
    ignored = (project / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    copied = [words for name, words in steps if name == "COPY" and not words[0].startswith("--from")]
    for *sources, _target in copied:
        for source in sources:
            assert (project / source).exists()
            assert f"!{source}" in ignored
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert sorted(kept) == sorted(source for *sources, _ in copied for source in sources)
    # What the first stage installs: these sources alone make a package that has the app.
    for source in kept:
        run(tmp_path, "cp", "-r", project / source, tmp_path)
    run(tmp_path, BIN / "uv", "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, ".")
    (wheel,) = (tmp_path / "dist").glob("order_history-0.1.0-py3-none-any.whl")
    assert "order_history/app.py" in run(tmp_path, sys.executable, "-m", "zipfile", "-l", wheel)


def test_the_names_of_its_requirements_are_those_of_the_sdk(project: Path) -> None:
    needed = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
    assert needed[0] == f"cellplane[data,events,telemetry]>={__version__}"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"data", "events", "telemetry"} <= extras.keys()
