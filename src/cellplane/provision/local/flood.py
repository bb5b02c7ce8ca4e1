"""Floods the router of a local fleet with one tenant's requests, and watches what all others get meanwhile."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from cellplane.client import Client
from cellplane.credentials import local_admin_token
from cellplane.errors import ProvisionError
from cellplane.provision.local.folder import StateFolder, fleet_runs, read_json
from cellplane.provision.local.load import Load, Outcome, Sample, Stream
from cellplane.provision.local.settings import (
    FLOOD_BEFORE_SECONDS,
    FLOOD_OTHERS,
    FLOOD_OTHERS_RPS,
    MAX_FLOOD_RPS,
    UNLIMITED_FLOOD_RPS,
)

_FLOOD = "flood"
_OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Flood:
    """A flood that is about to be.

    Attributes:
        router: URL of the router.
        tenant: who sends too much.
        limit_rps: the limit of the tenant, requests per second; None where it has none.
        rate_rps: what it sends.
        others: tenants who go on sending a little.
    """

    router: str
    tenant: str
    limit_rps: float | None
    rate_rps: float
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What some requests got.

    Attributes:
        answers: their number by status, such as ``200``, or by what there was instead of an answer.
        p50_ms: median time of an answer, milliseconds; None without an answer.
        p99_ms: 99th percentile of it.
    """

    answers: dict[str, int]
    p50_ms: float | None
    p99_ms: float | None

    def __str__(self) -> str:
        counts = ", ".join(f"{name} ×{count:,}" for name, count in self.answers.items())
        return f"{counts or 'nothing'}{'' if self.p99_ms is None else f', p99 {self.p99_ms:.0f} ms'}"


@dataclass(frozen=True, slots=True)
class FloodReport:
    """What everybody got.

    Attributes:
        flood: the tenant who sent too much.
        others_before: everybody else, before.
        others: everybody else, meanwhile.
    """

    flood: Seen
    others_before: Seen
    others: Seen


def prepare(folder: StateFolder, tenant: str, *, times: float) -> Flood:
    """Find out what the tenant's limit is, and who else is there.

    Args:
        times: how many times the limit is sent.

    Raises:
        ProvisionError: no fleet runs here, or that would be more than one machine should send.
        ControlPlaneError: the control plane does not say.
    """
    endpoints = read_json(folder.endpoints)
    if endpoints is None or not fleet_runs(folder):
        raise ProvisionError(
            f"no local fleet runs in {folder.root}: start one with `cellplane demo`, or name its folder with --state"
        )
    control_url = endpoints["control"]
    with Client(control_url, "chaos", local_admin_token(control_url, folder.root)) as client:
        route = client.get("/v1/route", tenant=tenant)
        cells = {cell["id"]: cell for cell in client.list("/v1/cells")["items"]}
        listed = client.get("/v1/tenants", limit=FLOOD_OTHERS + 1)["items"]
    limit = _limit_rps(route["policy"], [cells[cell]["capacity"]["rps"] for cell in route["shard"]])
    rate = (limit or UNLIMITED_FLOOD_RPS) * times
    if rate > MAX_FLOOD_RPS:
        raise ProvisionError(
            f"{times:g} times {limit or UNLIMITED_FLOOD_RPS:g} requests a second are {rate:,.0f}, "
            f"and a flood has at most {MAX_FLOOD_RPS:,}: name fewer --times"
        )
    others = [item["id"] for item in listed if item["id"] != tenant and item["state"] == "active"]
    return Flood(endpoints["router"], tenant, limit, rate, tuple(others[:FLOOD_OTHERS]))


def run(flood: Flood, *, seconds: float, rng: random.Random, each_second: Callable[[str], None]) -> FloodReport:
    """Watch the others for a moment, then send, and return what everybody got.

    Args:
        seconds: how long the tenant sends too much.
        rng: draws tenants.
        each_second: takes a line about the second that has passed.
    """
    router = urlsplit(flood.router)
    assert router.hostname is not None, "the fleet wrote the URL itself"
    others = [Stream(_OTHERS, flood.others, FLOOD_OTHERS_RPS)] if flood.others else []
    told = 0

    def tell(load: Load) -> None:
        nonlocal told
        news, told = load.samples[told:], len(load.samples)
        each_second(f"{flood.tenant}: {seen(_of(news, _FLOOD))}; others: {seen(_of(news, _OTHERS))}")

    async def run_both() -> tuple[list[Sample], list[Sample]]:
        host, port = str(router.hostname), int(router.port or 0)
        before = Load(host, port, others, seconds=FLOOD_BEFORE_SECONDS, rng=rng)
        streams = [*others, Stream(_FLOOD, (flood.tenant,), flood.rate_rps)]
        during = Load(host, port, streams, seconds=seconds, rng=rng, each_second=tell)
        return await before.run(), await during.run()

    before, during = asyncio.run(run_both())
    return FloodReport(seen(_of(during, _FLOOD)), seen(before), seen(_of(during, _OTHERS)))


def seen(samples: Iterable[Sample]) -> Seen:
    """What these requests got."""
    found = list(samples)
    answers = Counter(
        str(sample.status) if sample.outcome is Outcome.ANSWERED else sample.outcome.value for sample in found
    )
    times = sorted(sample.seconds * 1000 for sample in found if sample.outcome is Outcome.ANSWERED)
    percentiles = [round(times[int(share * len(times))], 1) for share in (0.5, 0.99)] if times else [None, None]
    return Seen(dict(sorted(answers.items())), *percentiles)


def _of(samples: Iterable[Sample], stream: str) -> list[Sample]:
    return [sample for sample in samples if sample.stream == stream]


def _limit_rps(policy: dict[str, float | None] | None, capacities: list[float | None]) -> float | None:
    """What its policy says, or its share of its first cell (docs/traffic.md, Limits)."""
    if policy is not None and policy["rps"]:
        return policy["rps"]
    return None if not capacities or capacities[0] is None else capacities[0] / len(capacities)
