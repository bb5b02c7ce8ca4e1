"""``python -m cellplane.router``: a router's agent as a process, with its Envoy."""

import asyncio
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import click
from prometheus_client import start_http_server

from cellplane.errors import ControlPlaneError, KeyFileError, RouterError
from cellplane.logs import configure_logs
from cellplane.router.agent import Agent
from cellplane.router.envoy.engine import EnvoyEngine
from cellplane.router.metrics import AgentMetrics
from cellplane.router.settings import RouterSettings
from cellplane.router.sources import Sources
from cellplane.router.trust import TrustedKeys

_STOPS = (signal.SIGTERM, signal.SIGINT)


@click.command()
@click.option("--id", "router_id", default="router-1", show_default=True, help="Name of this router.")
@click.option("--control", "control_url", default="", help="URL of the control plane; not named: there is none.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    help="Folder or base URL of a target, for when the control plane cannot be reached; several are asked in order.",
)
@click.option(
    "--trust",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File of public keys whose signatures count (`cellplane keys`); several add up. Not named: unsigned is taken.",
)
@click.option("--fleet", default="", help="Fleet whose tables are taken; not named: any.")
@click.option(
    "--token-file",
    envvar="CELLPLANE_TOKEN_FILE",
    type=click.Path(path_type=Path),
    help="File of the token with which it asks the control plane; read again when it changes.",
)
@click.option(
    "--control-ca",
    envvar="CELLPLANE_CONTROL_CA",
    type=click.Path(path_type=Path),
    help="PEM file of the authorities that vouch for the control plane.",
)
@click.option(
    "--control-cert",
    envvar="CELLPLANE_CONTROL_CERT",
    type=click.Path(path_type=Path),
    help="PEM file of the certificate that is shown to the control plane.",
)
@click.option(
    "--control-key",
    envvar="CELLPLANE_CONTROL_KEY",
    type=click.Path(path_type=Path),
    help="PEM file of its private key.",
)
@click.option("--state", type=click.Path(path_type=Path), required=True, help="Folder of this router.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address for clients.")
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="Port for clients.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the metrics, its own and Envoy's; 0: none.",
)
@click.option(
    "--tls-certificate",
    type=click.Path(path_type=Path),
    help="PEM file of the certificate, with its chain, that clients are shown; followed when it changes.",
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM file of its private key.")
@click.option("--access-log", type=click.Path(path_type=Path), help="File of one JSON line a request.")
@click.option(
    "--access-log-share",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Share of the requests below 400 that have a line; all others have one.",
)
@click.option(
    "--cookie-keys",
    type=click.Path(path_type=Path),
    help="File of the keys of signed routing cookies; looked at again when it changes.",
)
@click.option(
    "--proof-keys",
    type=click.Path(path_type=Path),
    help="File of the keys by which cells know that a router sent a request; looked at again when it changes.",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(0, 300),
    default=0.5,
    show_default=True,
    help="How long a stop waits for requests under way, and for connections to close.",
)
@click.option(
    "--health-timeout",
    "health_timeout_seconds",
    type=click.FloatRange(0.05, 60),
    default=0.4,
    show_default=True,
    help="How long a cell may take to answer a health check; two in a row that take longer, and it is down.",
)
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Envoy's worker threads.")
def main(metrics_port: int, state: Path, **options: object) -> None:
    """Run a router."""
    configure_logs("router")
    if (options["tls_certificate"] is None) != (options["tls_key"] is None):
        raise click.UsageError("TLS needs both --tls-certificate and --tls-key")
    if not options["control_url"] and not options["sources"]:
        raise click.UsageError("tables come from somewhere: name --control, --source or both")
    settings = RouterSettings(state_dir=state, **options)  # type: ignore[arg-type]  # click has checked the types
    try:
        trust = TrustedKeys.of(settings, time.time)
        rng = random.Random()  # noqa: S311  # for pauses, not for secrets
        sources = Sources.of(settings, trust, rng)
    except (ControlPlaneError, KeyFileError) as error:
        raise click.ClickException(str(error)) from error
    try:
        with suppress(asyncio.CancelledError):
            asyncio.run(_serve(settings, sources, trust, metrics_port, rng))
    except RouterError as error:
        raise click.ClickException(str(error)) from error


async def _serve(
    settings: RouterSettings, sources: Sources, trust: TrustedKeys, metrics_port: int, rng: random.Random
) -> None:
    metrics = AgentMetrics()
    engine = EnvoyEngine(settings)
    loop = asyncio.get_running_loop()
    if metrics_port:
        metrics.show_proxy(
            lambda: asyncio.run_coroutine_threadsafe(engine.metrics(), loop).result(settings.admin_timeout_seconds)
        )
        start_http_server(metrics_port, "127.0.0.1", metrics.registry)
    agent = Agent(settings, engine, sources, trust, metrics, rng=rng)
    running = asyncio.create_task(agent.run())

    def stop() -> None:
        # Asked twice is asked once: a stop that is cut short would leave Envoy behind.
        if not running.cancelling():
            running.cancel()

    for number in _STOPS:
        loop.add_signal_handler(number, stop)
    try:
        await running
    finally:
        # Nor does one that comes while the process ends make it look as if it had been killed.
        for number in _STOPS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
