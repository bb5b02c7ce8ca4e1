"""What became of the events: the rows of the source beside the stream, and beside what was counted."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from decimal import Decimal
from pathlib import Path
from typing import Any

import nats
import nats.errors
import psycopg
from nats.js.api import AckPolicy, ConsumerConfig

from cellplane.events import Outbox
from cellplane.events.analytics.query import Question, counts
from cellplane.events.analytics.settings import QueryLimits
from cellplane.events.analytics.stores import open_for_reading
from cellplane.events.settings import DEFAULT_STREAM

Key = tuple[date, str, str]
READ_AT_ONCE = 2_000


@dataclass(frozen=True)
class Row:
    """A row of the source, or what a message says of one."""

    id: str
    tenant_id: str
    n: int


@dataclass(frozen=True)
class Verdict:
    """What is wrong, in numbers.

    Attributes:
        events: rows of the source.
        lost: of them, that are not on the stream.
        phantoms: on the stream, of transactions that were taken back.
        stream_duplicates: messages of an id that the stream had before: allowed, and counted once.
        out_of_order: events of a tenant that came after a later one, by their first messages.
        duplicated_effects: by how much the counts are more than the source.
        lost_effects: by how much they are less.
        wrong_sums: keys whose sums are not those of the source.
        miscounted: by how much the relays' own count in the outbox is not the source's.
    """

    events: int
    lost: int
    phantoms: int
    stream_duplicates: int
    out_of_order: int
    duplicated_effects: int
    lost_effects: int
    wrong_sums: int
    miscounted: int

    @property
    def is_right(self) -> bool:
        """Whether all is as it should be."""
        wrong = self.lost + self.phantoms + self.out_of_order + self.miscounted
        return self.events > 0 and wrong + self.duplicated_effects + self.lost_effects + self.wrong_sums == 0


def judge(database_url: str, nats_url: str, store: Path | str) -> Verdict:
    """Compare everything with the source."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT id::text, tenant_id, n, type, occurred_at, bytes FROM source").fetchall()
        relayed = Outbox().state(connection).relayed
    source = [Row(id_, tenant, n) for id_, tenant, n, *_ in rows]
    events: Counter[Key] = Counter()
    sums: defaultdict[Key, Decimal] = defaultdict(Decimal)
    for _, tenant, _, type_, at, size in rows:
        key = at.astimezone(UTC).date(), tenant, type_
        events[key] += 1
        sums[key] += size
    counted, summed = _counted(store)
    more, less = counted - events, events - counted
    stream = asyncio.run(_stream(nats_url))
    return Verdict(
        len(source),
        *_of_stream(source, stream),
        more.total(),
        less.total(),
        sum(summed.get(key, Decimal(0)) != sums.get(key, Decimal(0)) for key in {*summed, *sums}),
        abs(relayed - len(source)),
    )


def _of_stream(source: Sequence[Row], stream: Sequence[Row]) -> tuple[int, int, int, int]:
    """Lost, phantoms, duplicates and out of order."""
    wanted = {row.id for row in source}
    first = list({row.id: row for row in reversed(stream)}.values())[::-1]
    found = {row.id for row in first}
    return len(wanted - found), len(found - wanted), len(stream) - len(found), out_of_order(first)


def out_of_order(rows: Sequence[Row]) -> int:
    """How many come after a later one of their tenant."""
    highest: dict[str, int] = {}
    wrong = 0
    for row in rows:
        wrong += row.n < highest.get(row.tenant_id, 0)
        highest[row.tenant_id] = max(row.n, highest.get(row.tenant_id, 0))
    return wrong


def _counted(store: Path | str) -> tuple[Counter[Key], Mapping[Key, Decimal]]:
    opened = open_for_reading(str(store), QueryLimits())
    try:
        found = counts(opened, Question(), QueryLimits.max_rows)
    finally:
        opened.close()
    events = Counter({(day, tenant, type_): each.events for each in found for day, tenant, _, type_ in (each.by,)})
    return events, {(each.by[0], each.by[1], each.by[3]): each.sums.get("bytes", Decimal(0)) for each in found}


async def _stream(url: str) -> list[Row]:
    """All messages of the stream, in its order."""
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        last = (await jetstream.stream_info(DEFAULT_STREAM)).state.messages
        config = ConsumerConfig(ack_policy=AckPolicy.NONE)
        pull = await jetstream.pull_subscribe("events.>", stream=DEFAULT_STREAM, config=config)
        rows: list[Row] = []
        while len(rows) < last:
            rows += [_row(json.loads(each.data)) for each in await pull.fetch(READ_AT_ONCE, timeout=5)]
        return rows
    finally:
        await client.close()


def _row(body: Mapping[str, Any]) -> Row:
    return Row(str(body["id"]), str(body["tenantid"]), int(body["data"]["n"]))
