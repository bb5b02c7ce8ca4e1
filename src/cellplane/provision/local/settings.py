"""Every choice, limit and interval of a local fleet."""

from dataclasses import dataclass
from pathlib import Path

from cellplane.provision.settings import ProvisionLimits

MAX_CELLS = 16
"""Most cells of a local fleet: each has four processes, and this is one machine."""

MAX_TENANTS = 9_999
"""Most tenants that a demo seeds."""

ANALYTICS = "analytics"
"""Name of the part that counts what all cells tell."""

NOT_CELLS = frozenset({ANALYTICS, "control", "router"})
"""Parts of a fleet that are no cells; no cell can be called so."""

STREAM_MAX_GIB = 1
"""Most that the stream of all cells' events holds, GiB: some two million events of the example."""

STREAM_ACK_SECONDS = 5.0
"""How long after a consumer was killed its last events come again, seconds: people wait for that here."""

LOWEST_PORT = 16_384
"""Lowest port that is chosen for a part: below are those that servers are known by."""

PORT_TRIES = 1_000
"""How many ports are tried for one part before giving up."""

LOCK_TRIES = 50
"""How often a state folder's lock is tried again while somebody merely looks at it, or its last owner leaves."""

LOCK_PAUSE_SECONDS = 0.02
"""Pause between these tries, seconds; a look takes microseconds."""

WISH_LOCK_TRIES = 100
"""How often the lock of wishes is tried before giving up: who has it writes one small file."""

ASK_TIMEOUT_SECONDS = 150.0
"""How long who asks for a cell waits until it is done, seconds: more than its database's making and its own start may
take."""

ASK_POLL_SECONDS = 0.05
"""Time between looks whether it is done, seconds."""

MAX_REFUSALS = 100
"""How many refused wishes are remembered, so that who asked can read why."""

MAX_FLOOD_RPS = 5_000
"""Most requests per second that a flood sends: one process can, and this is one machine."""

MAX_FLOOD_SECONDS = 600
"""Longest flood, seconds."""

UNLIMITED_FLOOD_RPS = 50.0
"""What a flood is a multiple of where its tenant has no limit, requests per second."""

FLOOD_BEFORE_SECONDS = 3.0
"""How long the others are watched before a flood begins, seconds."""

FLOOD_OTHERS_RPS = 60.0
"""Requests per second of all others together while a flood runs: enough for cells to be compared by them."""

FLOOD_OTHERS = 50
"""Most other tenants whose requests are watched."""

MAX_DELAY_SECONDS = 60.0
"""Longest delay of a slow cell, seconds: more than a router waits for an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """Settings of one local fleet."""

    state_dir: Path
    """Folder of everything that the fleet writes."""

    router_port: int = 8080
    """Port on which the router serves clients."""

    control_port: int = 8081
    """Port of the control plane's API."""

    cells: int = 3
    """How many cells it begins with."""

    limits: ProvisionLimits = ProvisionLimits(max_cells=MAX_CELLS)
    """The most that `cellplane cell create` makes."""

    health_timeout_seconds: float = 0.4
    """How long a cell may take to answer the router's health check, seconds."""

    tenants: int = 0
    """How many tenants to seed, tenant-001 and on."""

    host: str = "127.0.0.1"
    """Address of everything: a local fleet is nobody else's."""

    start_timeout_seconds: float = 60.0
    """How long one part may take to come up, seconds."""

    watch_interval_seconds: float = 0.1
    """Time between looks at the parts, seconds."""

    config_interval_seconds: float = 2.0
    """Time between looks whether the control plane has other settings or flags for cells, seconds: people wait for
    them here, and one that has none is one question a cell."""

    config_timeout_seconds: float = 2.0
    """How long one such question may take, seconds."""

    restart_pause_seconds: float = 0.3
    """Pause before the router's agent is started again after it died, seconds; the agent starts Envoy again."""

    stop_app_seconds: float = 3.0
    """How long the control plane, or an API or worker of a cell, may take to stop before it is killed, seconds."""

    stop_server_seconds: float = 4.0
    """How long a cell's database or queue may then take to stop before it is killed, seconds."""

    stop_router_seconds: float = 7.0
    """How long the router's agent may take to stop Envoy and then itself before both are killed, seconds: more than
    Envoy's admin interface, its drain and its own stop may take together."""

    probe_interval_seconds: float = 0.05
    """Time between looks whether a part that starts is up, seconds."""

    probe_timeout_seconds: float = 2.0
    """How long one such look may take, seconds."""
