"""What a control plane says: of itself, its publications, routers, cells, tokens and fleet."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from cellplane.client import Client
from cellplane.doctor.facts import (
    CapacityFact,
    CellFact,
    CellUseFact,
    ControlAnswer,
    FleetFact,
    MoveFact,
    MovesFact,
    PoolNeedFact,
    Publication,
    PublicationsFact,
    RouterFact,
    SigningKeyFact,
    StatusFact,
    TargetFact,
    TokenFact,
)
from cellplane.doctor.gather.clocks import clock_of_date, clock_of_moment
from cellplane.doctor.gather.together import Question
from cellplane.doctor.settings import DoctorSettings
from cellplane.errors import ControlPlaneError
from cellplane.manifest.resources import model_of
from cellplane.model import Cell, Fleet, Pool, Tenant, Topology

PUBLICATIONS = 100
PAGE = 1000


def questions(client: Client, settings: DoctorSettings) -> dict[str, Question]:
    """What a control plane is asked, by the name of the fact that it becomes."""
    return {name: partial(ask, client, settings) for name, ask in ASKED.items()}


def _answer(client: Client) -> ControlAnswer:
    sent_at = time.time()
    response = client.answer("/healthz")
    clock = clock_of_date("the control plane", response.headers.get("date"), sent_at, time.time())
    refusal = ""
    try:
        client.get("/healthz")
        client.get("/v1/epochs", limit=1)
    except ControlPlaneError as error:
        refusal = str(error)
    return ControlAnswer(response.status_code, refusal, clock)


def _status(client: Client) -> StatusFact:
    sent_at = time.time()
    answer = client.get("/v1/status")
    received_at = time.time()
    leader, now, database_now = answer["leader"], _moment(answer["now"]), _moment(answer["database_now"])
    return StatusFact(
        version=answer["version"],
        table_format=answer["table_format"],
        store=answer["store"],
        schema_revision=answer["schema_revision"],
        schema_expected=answer["schema_expected"],
        leads=answer["leads"],
        holder=None if leader is None else leader["holder"],
        lease_left_seconds=None if leader is None else leader["seconds_left"],
        signing_keys=tuple(
            SigningKeyFact(
                "the control plane", key["id"], None if key["not_after"] is None else _moment(key["not_after"])
            )
            for key in answer["signing_keys"]
        ),
        targets=tuple(TargetFact(each["name"], each["epoch"], each["failure"]) for each in answer["targets"]),
        table_check_installed=answer["table_check_installed"],
        free_bytes=answer["free_bytes"],
        database_now=database_now,
        clock=clock_of_moment("the control plane", now, sent_at, received_at),
        database_clock=clock_of_moment("the control plane's database", database_now, sent_at, received_at),
    )


def _publications(client: Client) -> PublicationsFact:
    answer = client.get("/v1/epochs", limit=PUBLICATIONS)
    held = answer["held"]
    return PublicationsFact(
        tuple(Publication(each["epoch"], _moment(each["at"]), each["token"]) for each in answer["items"]),
        None if held is None else held["epoch"],
        () if held is None else tuple(each["text"] for each in held["violations"]),
    )


def _router(item: Mapping[str, Any]) -> RouterFact:
    return RouterFact(
        id=item["id"],
        epoch=item["epoch"],
        age_seconds=item["age_seconds"],
        ready=item["ready"],
        behind=item["behind"],
        rejected=None if item["rejected"] is None else item["rejected"]["reason"],
        version=item.get("version", ""),
        # What one that is silent said once is of that time.
        clock_offset_seconds=None if item["lost"] else item.get("clock_offset_seconds"),
    )


def _cell(item: Mapping[str, Any]) -> CellFact:
    return CellFact(
        id=item["id"],
        address=item["address"],
        port=item["port"],
        status=item["status"],
        protocol=item["protocol"],
        healthy=item["healthy"],
        breaker=item["breaker"] or "closed",
        gray=item["gray"],
        score=item["score"],
    )


def _capacity(client: Client) -> CapacityFact:
    answer = client.list("/v1/capacity", "cells")
    return CapacityFact(
        tuple(
            PoolNeedFact(each["name"], each["wants"], each["kept"], (each["ask"] or {}).get("failure", ""))
            for each in answer["pools"]
        ),
        tuple(
            CellUseFact(each["id"], each["utilisation"], each["report_age_seconds"], each["kept_open"])
            for each in answer["cells"]
        ),
    )


def _moves(client: Client) -> MovesFact:
    # Before and behind the moves: who waits both times, and has none, does not wait for one that ended meanwhile.
    before = _waiting(client)
    living = client.list("/v1/moves", living="true")["items"]
    waiting = sorted(before & _waiting(client)) if before else []
    return MovesFact(
        tuple(
            MoveFact(
                id=each["id"],
                tenant=each["tenant"],
                source=each["source"],
                target=each["target"],
                phase=each["phase"],
                paused=each["wish"] == "pause",
                age_seconds=each["report_age_seconds"],
                reason=each["reason"],
            )
            for each in living
        ),
        tuple(waiting),
    )


def _waiting(client: Client) -> set[str]:
    return {each["id"] for each in client.list("/v1/tenants", state="moving")["items"]}


def _token(item: Mapping[str, Any]) -> TokenFact:
    return TokenFact(
        id=item["id"],
        name=item["name"],
        role=item["role"],
        subject=item["subject"],
        state=item["state"],
        created_at=_moment(item["created_at"]),
        expires_at=_moment(item["expires_at"]),
    )


def _fleet(client: Client, settings: DoctorSettings) -> FleetFact:
    values, has_all = _values(client, settings.max_tenants)
    fleets = [value for value in values if isinstance(value, Fleet)]
    if not fleets:
        raise ControlPlaneError("the control plane has no fleet yet: apply one first")
    tenants = tuple(value for value in values if isinstance(value, Tenant)) if has_all else ()
    topology = Topology(
        fleets[0],
        tuple(value for value in values if isinstance(value, Cell)),
        tuple(value for value in values if isinstance(value, Pool)),
        tenants,
    )
    return FleetFact(topology, has_all)


def _values(client: Client, max_tenants: int) -> tuple[list[Any], bool]:
    """The fleet's resources, tenants behind the others; and whether all tenants are among them."""
    found: list[Any] = []
    tenants = 0
    after: str | None = ""
    while after is not None:
        page = client.get("/v1/resources", tenants="true", limit=PAGE, after=after)
        read = [model_of(each["kind"], each["name"], each["spec"]) for each in page["items"]]
        found += read
        tenants += sum(isinstance(value, Tenant) for value in read)
        if tenants > max_tenants:
            return found, False
        after = page["next"]
    return found, True


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


ASKED: Mapping[str, Callable[[Client, DoctorSettings], Any]] = {
    "control": lambda client, _: _answer(client),
    "status": lambda client, _: _status(client),
    "publications": lambda client, _: _publications(client),
    "routers": lambda client, _: tuple(map(_router, client.list("/v1/routers")["items"])),
    "cells": lambda client, _: tuple(map(_cell, client.list("/v1/cells")["items"])),
    "capacity": lambda client, _: _capacity(client),
    "moves": lambda client, _: _moves(client),
    "tokens": lambda client, _: tuple(map(_token, client.list("/v1/tokens")["items"])),
    "fleet": _fleet,
}
"""The facts that only a control plane tells, and how it is asked."""
