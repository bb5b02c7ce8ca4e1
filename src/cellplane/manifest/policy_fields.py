"""The fields of a policy and of a canary, as Fleet, Pool and Tenant have them."""

from cellplane.manifest.shapes import NAME, Choice, Field, ListOf, Number, Object, Text, Whole
from cellplane.model import Balance, Canary, CanaryBy, Compare, Copies, Mode, Policy, Priority, Reads, Writes
from cellplane.model.policy import (
    MAX_BURST_SECONDS,
    MAX_CACHE_SECONDS,
    MAX_IGNORED_BYTES,
    MAX_IGNORED_PATHS,
    MAX_POLICY_RPS,
    MIN_BURST_SECONDS,
    MIN_POLICY_RPS,
)

_COMPARE = Object(
    Compare,
    (
        Field("percent", "percent", Number(0, 100), "Their part of the requests, in hundredths.", required=True),
        Field(
            "ignore",
            "ignore",
            ListOf(Text(MAX_IGNORED_BYTES, pattern="^/"), 0, MAX_IGNORED_PATHS),
            "Paths of values in JSON answers that may differ, such as `/items/*/id`; `*` is any name or place.",
        ),
    ),
)
POLICY = Object(
    Policy,
    (
        Field(
            "writes",
            "writes",
            Choice(Writes),
            "What a request that writes gets when its first cell is down. Said nowhere: `shard`, another of its cells.",
        ),
        Field(
            "reads",
            "reads",
            Choice(Reads),
            "What a request that reads gets when its first cell is down. Said nowhere: `shard`.",
        ),
        Field("standby", "standby", NAME, "The cell that `reads: standby` means; there only."),
        Field(
            "cacheSeconds",
            "cache_seconds",
            Whole(1, MAX_CACHE_SECONDS),
            "How old an answer of `reads: cache` may be; there only. Said nowhere: 3600.",
        ),
        Field(
            "balance",
            "balance",
            Choice(Balance),
            "How requests spread over the cells of a shard. Said nowhere: `preferred`, to the first.",
        ),
        Field(
            "mode",
            "mode",
            Choice(Mode),
            "`redirect` sends clients to the cell's `publicUrl`. Said nowhere: `proxy`.",
        ),
        Field(
            "rps",
            "rps",
            Number(MIN_POLICY_RPS, MAX_POLICY_RPS),
            "Requests per second of one tenant. Said nowhere: its cell's `capacity.rps` / K, where that is declared.",
        ),
        Field(
            "burstSeconds",
            "burst_seconds",
            Number(MIN_BURST_SECONDS, MAX_BURST_SECONDS),
            "How many seconds' worth of requests may come at once. Said nowhere: 1.",
        ),
        Field("priority", "priority", Choice(Priority), "`high` is shed last. Said nowhere: `normal`."),
        Field("shadow", "shadow", NAME, "A cell that gets a copy of each request, for comparison."),
        Field(
            "copies",
            "copies",
            Choice(Copies),
            "Which requests the shadow gets a copy of: `reads` leaves out those that write. Said nowhere: `all`.",
        ),
        Field("compare", "compare", _COMPARE, "Of which requests the shadow's answer is compared with the cell's."),
    ),
)
CANARY = Object(
    Canary,
    (
        Field("cell", "cell", NAME, "The cell, of the pool or not.", required=True),
        Field("percent", "percent", Number(0, 100), "Its part of the requests, in hundredths.", required=True),
        Field("by", "by", Choice(CanaryBy), "What falls to it: always the same tenants, or any requests, by chance."),
    ),
)
