"""Under whose law tenants are: a report on all of them, as a file, with a statement that is signed."""

import asyncio
from collections.abc import Iterator
from typing import IO, Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import CONFLICT, EVERYWHERE, CurrentService
from cellplane.control.bulk import NDJSON
from cellplane.directory.snapshot import Snapshot
from cellplane.errors import ConflictError
from cellplane.model.key import check_name
from cellplane.planning.residency import ResidencyReport, Resident
from cellplane.planning.residency_files import Form, ResidencyFile
from cellplane.residency_seal import SEAL_HEADER, Seal

router = APIRouter(tags=["residency"], responses=EVERYWHERE)

_TYPES = {Form.CSV: "text/csv; charset=utf-8", Form.NDJSON: NDJSON}


@router.get(
    "/v1/residency",
    dependencies=[needs(Permission.READ)],
    response_class=StreamingResponse,
    responses={
        **CONFLICT,
        200: {
            "content": {"text/csv": {"schema": {"type": "string"}}, NDJSON: {"schema": {"type": "string"}}},
            "description": f"A row a tenant; `{SEAL_HEADER}` has the statement about it, and who signed that",
        },
    },
)
async def get_residency(
    service: CurrentService,
    form: Annotated[Literal["csv", "ndjson"], Query(alias="format", description="How it is written")] = "csv",
    jurisdiction: Annotated[
        str, Query(description="Of tenants under this law, or that any cell under it has; empty: of all")
    ] = "",
) -> StreamingResponse:
    """For every tenant where it may be, where it is, and whether that holds; all of one moment."""
    if jurisdiction:
        check_name("jurisdiction", jurisdiction)
    with service.outbox.making() as file:
        seal = await asyncio.to_thread(_write, service, Form(form), jurisdiction, file)
    return service.outbox.answer(file, _TYPES[Form(form)], {SEAL_HEADER: seal.to_header()})


def _write(service: CurrentService, form: Form, jurisdiction: str, file: IO[bytes]) -> Seal:
    """Write the report, and say of it what can be said for sure."""
    with service.directory.snapshot() as snapshot:
        topology = snapshot.topology
        if topology is None:
            raise ConflictError("there is no fleet yet: put one first")
        rows = ResidencyReport(topology).rows(_residents(snapshot), jurisdiction)
        report = ResidencyFile(rows, form)
        for line in report.lines():
            file.write(line)
        epoch = snapshot.epoch()
    at = f"{service.directory.now():%Y-%m-%dT%H:%M:%SZ}"
    statement = report.statement(topology.fleet.name, epoch, at, jurisdiction)
    return Seal(statement, service.distribution.sign(statement.to_bytes(), jurisdiction))


def _residents(snapshot: Snapshot) -> Iterator[Resident]:
    away = snapshot.away()
    for record in snapshot.all_tenants():
        yield Resident(record.tenant, record.placed_pool, away.get(record.tenant.id))
