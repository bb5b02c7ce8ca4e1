"""Moves that are made on another machine, as the control plane knows them."""

from typing import Any

import click

from cellplane.cli.options import connect
from cellplane.cli.output import print_json
from cellplane.moves.move import Wish

COMMAND = "cellplane move"


def ask(control_url: str, move_id: str, wish: Wish, *, as_json: bool = False) -> None:
    """Want something of a move, and say so."""
    with connect(control_url, COMMAND) as client:
        answer = client.put(f"/v1/moves/{move_id}/wish", {"wish": wish.value})
    if as_json:
        print_json(answer)
        return
    click.echo(f"{move_id} is asked to {wish.value}: its mover hears of it within seconds; {line(answer)}")


def moves(control_url: str, move_id: str | None) -> list[dict[str, Any]]:
    """One move, or all."""
    with connect(control_url, COMMAND) as client:
        if move_id is not None:
            return [client.get(f"/v1/moves/{move_id}")]
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = client.get("/v1/moves", limit=1000, after=after)
            found += page["items"]
            after = page["next"]
        return found


def line(move: dict[str, Any]) -> str:
    """A move in a line, as ``GET /v1/moves`` gives it."""
    said = f"{move['id']} {move['tenant']}: {move['source']} → {move['target']}, {move['phase']}"
    progress = move["progress"]
    if move["living"]:
        said += ", nobody has said how far it is" if progress is None else f", {doing(progress)}"
        if progress is not None and move["report_age_seconds"] >= SILENT_SECONDS:
            said += f" {move['report_age_seconds']:.0f} s ago"
        if move["wish"] != Wish.RUN.value:
            said += f", to {move['wish']}" + ("" if move["heard"] else " (not heard yet)")
    if move["pause_seconds"] is not None:
        said += f", writes waited {1000 * move['pause_seconds']:.0f} ms"
    return f"{said} ({move['reason']})" if move["reason"] else said


SILENT_SECONDS = 5.0
"""Age of a mover's word from which on it is said: it speaks each second."""


def doing(progress: dict[str, Any]) -> str:
    """What a mover is at, and how far."""
    said = progress["doing"] or "not begun"
    rows, expected = progress["rows"], progress["rows_expected"]
    if rows:
        said += f": {rows:,} rows" if rows > expected else f": {rows:,} of some {expected:,} rows"
    if progress["bytes"]:
        said += f", {progress['bytes'] / 1e6:,.1f} MB"
        if progress["bytes"] <= progress["bytes_expected"]:
            said += f" of {progress['bytes_expected'] / 1e6:,.1f}"
    if progress["eta_seconds"] is not None:
        said += f", about {duration(progress['eta_seconds'])} left"
    if progress["lag_seconds"] is not None:
        said += f", {1000 * progress['lag_seconds']:,.0f} ms behind"
    return said


def duration(seconds: float) -> str:
    """A time, for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 3 * 86_400 else f"{seconds / 86_400:.1f} days"
