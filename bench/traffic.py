"""``make bench-router``, second part: CPU of Envoy for each request with everything on.

The baseline is that of the first part: the same Envoy, where the client names the cluster. Beside it run, in turn: the
decision alone; with the board, limits of tenants and cells, and answers that name their cell; the same with an access
log; and with a token that is verified on every request, of 500 that each worker remembers: of ES256, and of RS256,
whose signature is four times as long. The baseline also runs with requests that carry such a token, which it passes on
unread: what the token costs any proxy. Ratios of pairs count.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

import measure
import routers
from cellplane.model import Capacity, Cell, Fleet, JwtProvider, KeySource, KeySourceKind, Policy, Pool, Tenant, Topology
from cellplane.router.envoy.engine import EnvoyEngine
from cellplane.router.settings import RouterSettings
from cellplane.router.tables import StoredTable
from cellplane.routing import RoutingTable, compile_table, encode

LIMITS = {"without_jwt": 1.20, "full": 1.35}
"""Most that a request may cost, in requests of the baseline."""

TENANTS = 500
CONNECTIONS = 16
BASELINE = "baseline"
CARRIED = "baseline, token carried"
FULL_LONG = "full, RS256"
SHORT, LONG = "ES256", "RS256"
"""Algorithms of tokens, whose signatures have 86 and 342 characters. What is not named otherwise has the shorter."""
HUGE_RPS = 1e6
"""A limit that counts every request and refuses none."""

SCRIPT = """
math.randomseed({seed})
local tokens = {{{tokens}}}
request = function()
  local n = math.random({tenants})
  local name = string.format("tenant-%07d", n)
  return wrk.format("GET", "/", {{{headers}}})
end
"""
_NAMED = '["x-tenant-id"] = name, ["x-cell-id"] = "cell-" .. (n % {cells} + 1)'
_BY_HEADER = '["x-tenant-id"] = name'
_BY_TOKEN = '["authorization"] = "Bearer " .. tokens[n]'


class EngineRouter:
    """A router as its agent runs it, without the agent."""

    def __init__(self, name: str, settings: RouterSettings, stored: StoredTable) -> None:
        self.name = name
        self.url = f"http://{routers.HOST}:{settings.port}/"
        self._runner = asyncio.Runner()
        self._engine = EnvoyEngine(settings)
        self._runner.run(self._engine.start(stored))
        record = settings.state_dir / "envoy" / "process.json"
        self._pid = int(json.loads(record.read_bytes())["pid"])

    def pid(self) -> int:
        """See Router."""
        return self._pid

    def stop(self) -> None:
        """See Router."""
        self._runner.run(self._engine.stop())
        self._runner.close()


def main() -> None:
    """Run the benchmark."""
    options = measure.pair_options("CPU per request with everything on, against the baseline")
    with tempfile.TemporaryDirectory(prefix="cellplane-bench-") as name, ExitStack() as stack:
        passed = _compare(Path(name), stack, options)
    sys.exit(0 if passed else 1)


def make_table(folder: Path, port: int, *, verified: bool) -> StoredTable:
    """Tenants that are pinned to 16 cells, with limits; known by a header, or by a claim."""
    source = KeySource(KeySourceKind.JWT_CLAIM, "tenant") if verified else KeySource.trusted_header("x-tenant-id")
    issuers = (JwtProvider("id", "https://id.example", ("bench",), jwks_file=str(folder / "jwks.json")),)
    ids = routers.cell_ids()
    topology = Topology(
        Fleet("bench", key_sources=(source,), jwt=issuers if verified else (), policy=Policy(rps=HUGE_RPS)),
        tuple(Cell(cell, routers.HOST, port, capacity=Capacity(rps=HUGE_RPS, concurrency=10_000)) for cell in ids),
        (Pool("default", tuple(ids)),),
        tuple(Tenant(f"tenant-{n:07}", (ids[n % len(ids)],)) for n in range(1, TENANTS + 1)),
    )
    path = folder / f"table-{'verified' if verified else 'plain'}.cpt"
    path.write_bytes(encode(compile_table(topology, 1)))
    return StoredTable(RoutingTable(path.read_bytes()), path)


def make_tokens(folder: Path) -> dict[str, list[str]]:
    """A token of each tenant, by algorithm; the keys that verify them are a file of the folder."""
    keys: dict[str, RSAKey | ECKey] = {
        SHORT: ECKey.generate_key("P-256", {"kid": SHORT, "use": "sig"}),
        LONG: RSAKey.generate_key(2048, {"kid": LONG, "use": "sig"}),
    }
    (folder / "jwks.json").write_text(json.dumps({"keys": [key.as_dict(private=False) for key in keys.values()]}))
    common = {"iss": "https://id.example", "aud": "bench", "exp": 4_000_000_000}
    return {
        name: [
            jwt.encode({"alg": name, "kid": name}, {**common, "tenant": f"tenant-{n:07}"}, key)
            for n in range(1, TENANTS + 1)
        ]
        for name, key in keys.items()
    }


def _compare(folder: Path, stack: ExitStack, options: argparse.Namespace) -> bool:
    backend = routers.BackendEnvoy(folder)
    stack.callback(backend.stop)
    tokens = make_tokens(folder)
    plain = make_table(folder, backend.port, verified=False)
    verified = make_table(folder, backend.port, verified=True)
    compared: dict[str, routers.Router] = {
        BASELINE: routers.plain_router(BASELINE, plain, folder, {"cluster_header": "x-cell-id"}),
        CARRIED: routers.plain_router(CARRIED, plain, folder, {"cluster_header": "x-cell-id"}),
        "decision": routers.module_router("decision", plain, folder),
    }
    for label, stored, logged in (
        ("without_jwt", plain, False),
        ("without_jwt, logged", plain, True),
        ("full", verified, False),
        (FULL_LONG, verified, False),
        ("full, logged", verified, True),
    ):
        settings = routers.settings_of(label, folder)
        if logged:
            settings = replace(settings, access_log=folder / f"{label}.log")
        compared[label] = EngineRouter(label, settings, stored)
    scripts = {}
    for label, router in compared.items():
        stack.callback(router.stop)
        named = _NAMED.format(cells=routers.CELLS)
        by_token = label.startswith("full")
        headers = {BASELINE: named, CARRIED: f"{named}, {_BY_TOKEN}"}.get(label, _BY_TOKEN if by_token else _BY_HEADER)
        sent = tokens[LONG if label == FULL_LONG else SHORT] if by_token or label == CARRIED else []
        listed = ",".join(f'"{token}"' for token in sent)
        scripts[label] = folder / f"{label}.lua"
        text = SCRIPT.format(seed=options.seed, tokens=listed, tenants=TENANTS, headers=headers)
        scripts[label].write_text(text)
    costs: dict[str, list[float]] = {label: [] for label in compared}
    labels = list(compared)
    print(f"seed {options.seed}; {options.pairs} rounds of {options.seconds} s for each of {', '.join(labels)}")
    for round_number in range(-1, options.pairs):
        turn = round_number % len(labels)
        for label in labels[turn:] + labels[:turn]:
            seconds = 1 if round_number < 0 else options.seconds
            before = measure.cpu_us(compared[label].pid())
            load = measure.run_wrk(compared[label].url, scripts[label], connections=CONNECTIONS, seconds=seconds)
            cost = (measure.cpu_us(compared[label].pid()) - before) / load.requests
            if round_number >= 0:
                costs[label].append(cost)
        if round_number >= 0:
            shown = ", ".join(f"{label} {costs[label][-1]:.1f}" for label in labels)
            print(f"round {round_number + 1}: µs per request: {shown}", flush=True)
    return _report(costs)


def _report(costs: dict[str, list[float]]) -> bool:
    results: dict[str, object] = {}
    print(f"\n{'router':<24} {'least µs':>9} {'median µs':>9} {'ratio':>7} {'least':>7} {'most':>7}")
    medians: dict[str, float] = {}
    for label, of_label in costs.items():
        ratio = measure.summary([cost / base for cost, base in zip(of_label, costs[BASELINE], strict=True)])
        cost = measure.summary(of_label)
        print(
            f"{label:<24} {cost['min']:>9.1f} {cost['median']:>9.1f} {ratio['median']:>7.3f} {ratio['min']:>7.3f} "
            f"{ratio['max']:>7.3f}"
        )
        name = label.replace(", ", "_")
        medians[label] = ratio["median"]
        results[f"ratio_{name}"] = ratio["median"]
        results[f"ratio_{name}_spread"] = ratio
        results[f"cpu_us_{name}"] = cost
    of_carried = measure.summary([full / base for full, base in zip(costs["full"], costs[CARRIED], strict=True)])
    results["ratio_full_of_carried"] = of_carried["median"]
    print(f"full, of a baseline whose requests carry the token too: {of_carried['median']:.3f}")
    path = measure.write_results("traffic", results)
    passed = all(medians[label] <= limit for label, limit in LIMITS.items())
    for label, limit in LIMITS.items():
        verdict = "holds" if medians[label] <= limit else "DOES NOT HOLD"
        print(f"{verdict}: ratio_{label} {medians[label]:.3f} ≤ {limit:.2f}")
    print(f"written to {path}")
    return passed


if __name__ == "__main__":
    main()
