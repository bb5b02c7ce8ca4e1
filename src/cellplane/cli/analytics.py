"""`cellplane analytics`: count the events of all cells, and show what was counted."""

import asyncio
import dataclasses
import signal
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellplane.cell.logs import log_json
from cellplane.cli.options import json_option, state_option
from cellplane.cli.output import print_json, print_table
from cellplane.errors import CellplaneError
from cellplane.events.analytics.query import By, Count, Question, counts
from cellplane.events.analytics.settings import AnalyticsSettings, QueryLimits
from cellplane.events.analytics.stores import open_for_reading
from cellplane.events.settings import DEFAULT_STREAM, StreamSettings
from cellplane.provision.local.folder import StateFolder

if TYPE_CHECKING:
    from cellplane.events.analytics.consumer import AnalyticsConsumer

GIB = 1024**3

_STORE = "Path of a DuckDB file, or postgresql://… of a database, with the counts"
_STORE_VARIABLE = "CELLPLANE_ANALYTICS_STORE"


@click.group()
def analytics() -> None:
    """Count the events of all cells, and show what was counted."""


@analytics.command()
@click.option("--store", envvar=_STORE_VARIABLE, required=True, help=f"{_STORE}.")
@click.option(
    "--events",
    "events_url",
    envvar="CELLPLANE_EVENTS_URL",
    required=True,
    help="URL of the NATS that has the stream of all cells' events, as it is for relays.",
)
@click.option(
    "--stream",
    envvar="CELLPLANE_EVENTS_STREAM",
    default=DEFAULT_STREAM,
    show_default=True,
    help="Name of the stream, as it is for relays.",
)
@click.option(
    "--stream-max-gib",
    type=click.IntRange(1, 1_000_000),
    default=StreamSettings.max_bytes // GIB,
    show_default=True,
    help="Most that the stream holds, where it is not there yet and is made now.",
)
@click.option(
    "--consumer",
    default=AnalyticsSettings.consumer,
    show_default=True,
    help="Name under which NATS knows what is counted: the next run goes on there. Another store needs another.",
)
@click.option("--sum", "sums", multiple=True, help="Sum up this number of the events' data too (repeatable).")
@click.option(
    "--share", is_flag=True, help="Give a DuckDB file back between batches, so that `query` can read it meanwhile."
)
@click.option("--until-end", is_flag=True, help="End once all is counted that the stream has now, and do not run on.")
@click.option(
    "--ack-seconds",
    type=click.FloatRange(0.1, 3600),
    default=AnalyticsSettings.ack_seconds,
    show_default=True,
    help="After so many seconds without an answer, such as of a run that was killed, events come again.",
)
def consume(
    *,
    store: str,
    events_url: str,
    stream: str,
    stream_max_gib: int,
    consumer: str,
    sums: tuple[str, ...],
    share: bool,
    until_end: bool,
    ack_seconds: float,
) -> None:
    """Count events as they come, until it is stopped, or until the stream's end of now.

    Each event counts once, on the day on which it happened, however late or often it comes. What cannot be counted is
    kept with its reason, in the table event_dead_letters. The stream is made where it is not there.
    """
    settings = AnalyticsSettings(
        events_url,
        store,
        stream=StreamSettings(stream, max_bytes=stream_max_gib * GIB),
        consumer=consumer,
        sums=sums,
        shares_store=share,
        ack_seconds=ack_seconds,
    )
    try:
        from cellplane.events.analytics.consumer import AnalyticsConsumer  # noqa: PLC0415  # of an extra of its own
    except ModuleNotFoundError as error:
        raise CellplaneError(f"analytics need {error.name}: pip install 'cellplane[analytics]'") from error
    log_json(None, process="analytics")
    consuming = AnalyticsConsumer(settings)
    asyncio.run(_consume(consuming, until_end=until_end))
    print_json(dataclasses.asdict(consuming.status()))


@analytics.command()
@click.option("--store", envvar=_STORE_VARIABLE, help=f"{_STORE}; by default those of the local fleet.")
@state_option
@click.option(
    "--by",
    multiple=True,
    type=click.Choice([by.value for by in By]),
    help="A row for each (repeatable); what is not named is added up. By default all four.",
)
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="First day, of UTC.")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Last day, of UTC.")
@click.option("--tenant", help="Of this tenant alone.")
@click.option("--cell", help="Of this cell alone.")
@click.option("--type", "type_", help="Of events of this type alone.")
@click.option("--sql", help="Answer this one query instead; it can only read.")
@click.option(
    "--limit",
    type=click.IntRange(1, QueryLimits.max_rows),
    default=QueryLimits.max_rows,
    show_default=True,
    help="Most rows. Counts with more are refused, a query of your own is cut.",
)
@json_option
def query(
    *,
    store: str | None,
    state_dir: Path,
    by: tuple[str, ...],
    first: datetime | None,
    last: datetime | None,
    tenant: str | None,
    cell: str | None,
    type_: str | None,
    sql: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show how many events there were, by day, tenant, cell and type, and the sums of their numbers.

    A DuckDB file that its consumer has open is waited for, some seconds.

    For --sql: event_days has the counts, event_sums the sums, event_facts the events of the last days one by one, and
    event_dead_letters what could not be counted.
    """
    question = Question(
        tuple(By(each) for each in dict.fromkeys(by)) or tuple(By), _day(first), _day(last), tenant, cell, type_
    )
    opened = open_for_reading(store or str(StateFolder(state_dir).analytics_store), QueryLimits())
    try:
        if sql is None:
            _print_counts(question, counts(opened, question, limit), as_json=as_json)
            return
        columns, rows = opened.ask(sql, limit)
    finally:
        opened.close()
    if as_json:
        print_json([dict(zip(columns, map(_plain, row), strict=True)) for row in rows])
    else:
        print_table([column.upper() for column in columns], ([*map(_plain, row)] for row in rows), empty="No rows.")


def _print_counts(question: Question, found: list[Count], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    **{by.value: _plain(value) for by, value in zip(question.by, each.by, strict=True)},
                    "events": each.events,
                    "sums": _sums(each.sums),
                }
                for each in found
            ]
        )
        return
    names = sorted({name for each in found for name in each.sums})
    columns = [*(by.value.upper() for by in question.by), "EVENTS", *(name.upper() for name in names)]
    rows = (
        [*map(_plain, each.by), each.events, *(_sums(each.sums).get(name, "-") for name in names)] for each in found
    )
    print_table(columns, rows, empty="Nothing was counted.")


def _sums(sums: Mapping[str, Decimal]) -> dict[str, Any]:
    return {name: _plain(total) for name, total in sorted(sums.items())}


def _plain(value: Any) -> Any:
    """As JSON has it: whole numbers as such, others as text, which loses nothing."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else format(value.normalize(), "f")
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _day(time: datetime | None) -> date | None:
    return time.date() if time is not None else None


async def _consume(consuming: "AnalyticsConsumer", *, until_end: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await consuming.run(stop, until_end=until_end)
