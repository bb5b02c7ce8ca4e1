"""A forged control plane gives a real router tables that must not serve, and sound ones between."""

import random
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from cellplane.model import Cell, Fleet, JwtProvider, KeySource, KeySourceKind, Pool, StrategyName, Tenant, Topology
from cellplane.model import UnknownTenant as Unknown
from cellplane.routing import (
    PlacedTenants,
    RoutingTable,
    compile_overlay,
    compile_table,
    encode,
    encode_overlay,
)
from cellplane.signed_cookie import new_secret
from e2e.edge import StubCell, stub_cells
from e2e.harness import eventually
from fuzz.town import Router
from mutate.findings import ALARM_SECONDS, Findings
from mutate.tables import WAYS
from support import plain_http
from unit.agent.fake_control import FakeControl, fake_control

CELLS = ("cell-1", "cell-2", "cell-3", "cell-4")
TENANT = "acme"
BAD_KEYS = "bad-jwks.json"
SIGNS = ("cellplane_agent_tables_rejected_total", "table_rejected")
"""The metric that counts refused tables, and the line of the agent's log."""


class Forger:
    """A forged control plane, its router, and the sound tables that it has (``mutate.tables.Sound``)."""

    def __init__(self, folder: Path, router: Router, control: FakeControl, ports: Mapping[str, int]) -> None:
        self.router = router
        self._control = control
        self._ports = ports
        self._folder = folder
        self.epoch = 1
        self.cell = CELLS[0]
        self._live = b""

    def _topology(self, cell: str, jwks: str = "") -> Topology:
        """The fleet, with the tenant assigned to a cell; with ``jwks``, it believes an issuer."""
        sources = (KeySource.trusted_header("x-tenant-id"), KeySource(KeySourceKind.SUBDOMAIN, "shop.example"))
        issuers = (JwtProvider("id", "https://id.example", jwks_file=jwks),) if jwks else ()
        fleet = Fleet("shop", key_sources=sources, unknown_tenant=Unknown.HASH, jwt=issuers)
        # The last is abroad, and in a pool of its own.
        cells = tuple(
            Cell(name, "127.0.0.1", self._ports[name], jurisdiction="us" if name == CELLS[-1] else "eu")
            for name in CELLS
        )
        pools = (Pool("default", CELLS[:-1]), Pool("abroad", CELLS[-1:], StrategyName.RING))
        tenants = (
            Tenant(TENANT, (cell,)),
            Tenant("globex", (CELLS[1],)),
            Tenant("initech", (CELLS[-1],), pool="abroad"),
        )
        return Topology(fleet, cells, pools, tenants)

    def _base(self, epoch: int, cell: str, jwks: str = "") -> bytes:
        return encode(compile_table(self._topology(cell, jwks), epoch))

    @property
    def live(self) -> bytes:
        """See Sound."""
        return self._live

    @property
    def base(self) -> bytes:
        """See Sound."""
        return self._base(self.epoch + 1, self.cell)

    @property
    def overlay(self) -> bytes:
        """See Sound."""
        return self._overlay(self._live)

    @property
    def foreign(self) -> bytes:
        """See Sound."""
        return self._overlay(self._base(self.epoch, CELLS[1] if self.cell == CELLS[0] else CELLS[0]))

    @property
    def without_keys(self) -> bytes:
        """See Sound."""
        return self._base(self.epoch + 1, self.cell, str(self._folder / "nowhere.json"))

    @property
    def bad_keys(self) -> bytes:
        """See Sound."""
        return self._base(self.epoch + 1, self.cell, str(self._folder / BAD_KEYS))

    def _overlay(self, base: bytes) -> bytes:
        table = RoutingTable(base)
        placed = PlacedTenants.of(self._topology(CELLS[1]))
        stands_on = (table.epoch, table.sha256)
        return encode_overlay(compile_overlay(self._topology(CELLS[1]), stands_on, self.epoch + 1, placed, ()))

    def publish_sound(self) -> float:
        """Move the tenant by a table of a new epoch, and wait until it is live and the alarm is over; how long that
        took, in seconds."""
        self.epoch += 2
        self.cell = CELLS[(CELLS.index(self.cell) + 1) % 3]
        self._live = self._base(self.epoch, self.cell)
        began = time.monotonic()
        self._control.publish(self._live)
        eventually(self._is_taken, f"epoch {self.epoch} is live", seconds=3 * ALARM_SECONDS)
        return time.monotonic() - began

    def _is_taken(self) -> bool:
        last = self._control.last()
        return last.get("epoch") == self.epoch and last.get("rejected") is None

    def serves_right(self) -> bool:
        """Whether the tenant gets the answer that the last sound table says."""
        response = plain_http.get(f"http://127.0.0.1:{self.router.port}/x", headers={"x-tenant-id": TENANT}, timeout=10)
        if response.status_code != 200:
            return False
        seen = dict(response.json()["headers"])
        return (response.json()["cell"], seen["x-cell-epoch"]) == (self.cell, str(self.epoch))

    def attack(self, kind: str, number: int, rng: random.Random, findings: Findings) -> None:
        """Publish one that must not serve, and look what the router makes of it."""
        before, lines = self._counted(), self._lines()
        began = time.monotonic()
        self._control.publish(WAYS[kind](self, rng))
        try:
            eventually(lambda: bool(self._control.last().get("rejected")), "the alarm", seconds=ALARM_SECONDS)
        except AssertionError:
            findings.fail(number, kind, f"no alarm; the last report is {self._control.last()}")
            findings.count(kind, "nobody")
            return
        findings.slowest_alarm_s = max(findings.slowest_alarm_s, time.monotonic() - began)
        after = self._counted()
        by = [name for name in after if after[name] > before[name]]
        findings.count(kind, by[0] if by else "nobody")
        if not by:
            findings.fail(number, kind, f"{SIGNS[0]} does not count it")
        if self._lines() <= lines:
            findings.fail(number, kind, f"no line {SIGNS[1]} in the agent's log")
        if not self.serves_right():
            findings.fail(number, kind, "the table before does not serve any more")

    def _counted(self) -> dict[str, float]:
        return {name: self.router.metric(SIGNS[0], f'by="{name}"') for name in ("agent", "proxy")}

    def _lines(self) -> int:
        return self.router.log_path.read_text().count(SIGNS[1])


def attack_behind(folder: Path, numbers: Sequence[int], seed: int) -> Findings:
    """Play so many ways, in turn, against a router of its own."""
    findings = Findings()
    cookie_keys = folder / "cookie-keys"
    cookie_keys.write_text(f"a {new_secret()}\n")
    (folder / BAD_KEYS).write_text('{"keys": [{"kty": "RSA", "kid": "a", "n": "!", "e": "?", "x5c": ["no"]}]}')
    with ExitStack() as stack:
        stubs: dict[str, StubCell] = stack.enter_context(stub_cells(CELLS))
        control = stack.enter_context(fake_control())
        ports = {cell: stub.port for cell, stub in stubs.items()}
        router = Router(folder / "router", control.url, cookie_keys)
        stack.callback(router.end)
        forger = Forger(folder, router, control, ports)
        forger.publish_sound()
        router.wait_until_ready(lambda: bool(control.last().get("ready")))
        eventually(forger.serves_right, "the first table serves", seconds=ALARM_SECONDS)
        for number in numbers:
            kind = list(WAYS)[number % len(WAYS)]
            forger.attack(kind, number, random.Random(f"{seed}.{number}"), findings)
            findings.slowest_sound_s = max(findings.slowest_sound_s, forger.publish_sound())
            if not forger.serves_right():
                findings.fail(number, kind, "the next sound table does not serve")
        for fault in router.faults():
            findings.fail(-1, "the router", fault)
    return findings
