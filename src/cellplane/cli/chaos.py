"""`cellplane chaos`: break a local fleet on purpose."""

import random
import re
import secrets
import time
from dataclasses import asdict
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from cellplane.cli.options import DEFAULT_STATE, json_option, state_option
from cellplane.cli.output import print_json
from cellplane.provision.local import chaos as local_chaos
from cellplane.provision.local import flood as local_flood
from cellplane.provision.local.folder import StateFolder
from cellplane.provision.local.gray import GrayFaults
from cellplane.provision.local.settings import MAX_DELAY_SECONDS, MAX_FLOOD_SECONDS, LocalSettings


class _Share(click.ParamType[float]):
    """A percentage, as a share."""

    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%?", str(value))
        share = float(found[1]) / 100 if found else 0.0
        if not 0 < share <= 1:
            self.fail(f"expected a percentage above 0 and up to 100, such as 3%, found {value!r}", param, ctx)
        return share


class _Delay(click.ParamType[float]):
    """A duration, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s)", str(value))
        seconds = float(found[1]) / (1000 if found[2] == "ms" else 1) if found else 0.0
        if not 0 < seconds <= MAX_DELAY_SECONDS:
            self.fail(
                f"expected a duration above 0 and up to {MAX_DELAY_SECONDS:g}s, such as 2s or 300ms, found {value!r}",
                param,
                ctx,
            )
        return seconds


@click.group()
def chaos() -> None:
    """Break a local fleet: kill and restore a cell, `control`, `router` or `analytics`; make a cell ill; flood it."""


def _folder_of(context: click.Context) -> StateFolder:
    return StateFolder(Path(context.params.get("state_dir") or DEFAULT_STATE).absolute())


def _complete_part(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(part) for part in local_chaos.parts(_folder_of(context)) if part.startswith(incomplete)]


def _complete_cell(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(cell) for cell in local_chaos.cells(_folder_of(context)) if cell.startswith(incomplete)]


@chaos.command()
@click.argument("part", shell_complete=_complete_part)
@state_option
def kill(part: str, state_dir: Path) -> None:
    """Kill PART with SIGKILL, and keep it down until it is restored."""
    pids = local_chaos.kill(StateFolder(state_dir.absolute()), part, now_ns=time.time_ns())
    click.echo(f"{part}: killed {', '.join(map(str, pids)) or 'nothing, it was down already'}")


@chaos.command()
@click.argument("part", shell_complete=_complete_part)
@state_option
def restore(part: str, state_dir: Path) -> None:
    """Start PART again, and end what `slow` and `errors` did to it."""
    timeout = LocalSettings(state_dir=state_dir).start_timeout_seconds
    folder = StateFolder(state_dir.absolute())
    seconds = local_chaos.restore(folder, part, now_ns=time.time_ns(), timeout_seconds=timeout)
    click.echo(f"{part}: up again after {seconds:.1f} s")


@chaos.command()
@click.argument("cell", shell_complete=_complete_cell)
@click.option("--delay", type=_Delay(), default="2s", show_default=True, help="How late its answers are.")
@click.option("--share", type=_Share(), default="20%", show_default=True, help="Part of its requests.")
@state_option
def slow(cell: str, delay: float, share: float, state_dir: Path) -> None:
    """Let CELL answer a part of its requests late, with a green health check."""
    faults = local_chaos.slow(StateFolder(state_dir.absolute()), cell, share=share, delay_seconds=delay)
    _say_ill(cell, faults)


@chaos.command()
@click.argument("cell", shell_complete=_complete_cell)
@click.argument("share", type=_Share(), metavar="PERCENT")
@state_option
def errors(cell: str, share: float, state_dir: Path) -> None:
    """Let CELL answer PERCENT of its requests with 500, with a green health check."""
    _say_ill(cell, local_chaos.errors(StateFolder(state_dir.absolute()), cell, share=share))


def _say_ill(cell: str, faults: GrayFaults) -> None:
    click.echo(f"{cell}: {faults}; its health check is green. `cellplane chaos restore {cell}` ends it.")


@chaos.command()
@click.argument("tenant")
@click.option(
    "--times",
    type=click.FloatRange(0, 1000, min_open=True),
    default=20,
    show_default=True,
    help="How many times its limit TENANT sends; of 50 requests a second where it has none.",
)
@click.option(
    "--seconds", type=click.IntRange(1, MAX_FLOOD_SECONDS), default=30, show_default=True, help="How long it sends."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=None, help="Of what is drawn; by default any.")
@state_option
@json_option
def flood(tenant: str, times: float, seconds: int, seed: int | None, state_dir: Path, *, as_json: bool) -> None:
    """Send many times what TENANT may, and show what it gets, and what all others get meanwhile."""
    flooding = local_flood.prepare(StateFolder(state_dir.absolute()), tenant, times=times)
    seed = secrets.randbits(32) if seed is None else seed
    if not as_json:
        limit = "without a limit" if flooding.limit_rps is None else f"limit {flooding.limit_rps:g}"
        click.echo(f"{tenant} ({limit}) sends {flooding.rate_rps:g} requests a second for {seconds} s; seed {seed}")
    report = local_flood.run(
        flooding,
        seconds=seconds,
        rng=random.Random(seed),  # noqa: S311  # no secret
        each_second=(lambda _line: None) if as_json else click.echo,
    )
    if as_json:
        print_json({"tenant": tenant, "rate_rps": flooding.rate_rps, "seed": seed, **asdict(report)})
        return
    click.echo(f"\n{tenant}: {report.flood}")
    click.echo(f"others: {report.others}; before: {report.others_before}")
