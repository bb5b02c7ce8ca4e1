"""`cellplane tenant import` and `export`: tenants by the thousands, a line of JSON each."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO
from uuid import uuid4

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cellplane.cli.options import allow_option, connect, control_option, json_option, reason_option
from cellplane.cli.output import print_json
from cellplane.errors import CellplaneError

BATCH_LINES = 20_000
"""Tenants that are sent, and done or refused, together."""

MAX_BATCH_BYTES = 6 * 1024 * 1024
"""Most bytes of them: less than a control plane takes."""


@click.group()
def tenant() -> None:
    """Tenants by the thousands."""


@tenant.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@control_option
@json_option
@reason_option
@allow_option
def import_(file: Path, control_url: str, reason: str, *, as_json: bool) -> None:
    """Create or change the tenants of FILE, a line of JSON each; - is standard input.

    A line has an `id`, and what else is to be so: `cells`, `pool`, `tier`, `jurisdiction`, `attributes`, `load`,
    `state`, `shard_size`, `policy`. What it does not say stays as it is. Lines are done in batches; where one is
    refused, those before are done, and the same command goes on from there: what is so already is not changed again.
    """
    total = {"lines": 0, "created": 0, "changed": 0, "unchanged": 0}
    epoch, run = None, uuid4().hex
    lines = None if str(file) == "-" else _count_lines(file)
    with connect(control_url, reason) as client, _open(file) as stream, _progress() as progress:
        task = progress.add_task("tenants", total=lines)
        for first, batch, is_last in _batches(stream):
            try:
                answer = client.post_lines("/v1/bulk/tenants", batch, key=f"import-{run}-{first}", more=not is_last)
            except CellplaneError as error:
                done = f"; {total['lines']:,} before are done" if total["lines"] else ""
                raise CellplaneError(f"lines {first} and on: {error}{done}") from error
            for name in total:
                total[name] += answer[name]
            epoch = answer["epoch"]
            progress.update(task, completed=total["lines"])
    if as_json:
        print_json({**total, "epoch": epoch})
    else:
        click.echo(
            f"{total['created']:,} created, {total['changed']:,} changed, {total['unchanged']:,} as they were"
            + ("" if epoch is None else f" (epoch {epoch})")
        )


@tenant.command()
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default=None, help="A file, not standard output."
)
@control_option
def export(out: Path | None, control_url: str) -> None:
    """Print every tenant, a line of JSON each, as `cellplane tenant import` takes it."""
    count = 0
    target = nullcontext(sys.stdout.buffer) if out is None else out.open("wb")
    with connect(control_url) as client, target as stream, _progress() as progress:
        task = progress.add_task("tenants", total=None)
        for page in client.lines("/v1/bulk/tenants"):
            stream.write(page)
            count += page.count(b"\n")
            progress.update(task, completed=count)
    if out is not None:
        click.echo(f"{count:,} tenants in {out}")


def _batches(stream: IO[bytes]) -> Iterator[tuple[int, bytes, bool]]:
    """Number of the first line, the lines, and whether they are the last."""
    held: tuple[int, bytes] | None = None
    batch: list[bytes] = []
    first, number, size = 1, 0, 0
    for number, line in enumerate(stream, start=1):
        if batch and (len(batch) >= BATCH_LINES or size + len(line) > MAX_BATCH_BYTES):
            if held is not None:
                yield *held, False
            held, first, batch, size = (first, b"".join(batch)), number, [], 0
        batch.append(line)
        size += len(line)
    if batch:
        if held is not None:
            yield *held, False
        held = first, b"".join(batch)
    if held is not None:
        yield *held, True


def _count_lines(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(1 << 20), b""))


def _open(file: Path) -> IO[bytes]:
    return sys.stdin.buffer if str(file) == "-" else file.open("rb")


def _progress() -> Progress:
    """On standard error, and only where somebody looks."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
