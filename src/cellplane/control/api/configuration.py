"""What the apps in cells are told: settings, flags, and one cell's share of both."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import CHANGING, EVERYWHERE, MISSING, After, CurrentChange, CurrentService, Limit, tag
from cellplane.control.config_schemas import (
    CellConfig,
    FlagList,
    FlagSpec,
    FlagView,
    SettingList,
    SettingSpec,
    SettingView,
)
from cellplane.control.configuring import configuration_of, may_be_in
from cellplane.control.schemas import Changed
from cellplane.control.service import Service
from cellplane.directory.records import ConfigRow, Page
from cellplane.model.configuration import FLAG, Layer, Setting, check_config_id, check_value
from cellplane.model.key import check_name

router = APIRouter(tags=["configuration"], responses=EVERYWHERE)

_FLAGS = f"{FLAG}/"


@router.get("/v1/config", dependencies=[needs(Permission.READ)])
def list_settings(
    service: CurrentService,
    *,
    limit: Limit = None,
    after: After = "",
    layer: Annotated[Layer | None, Query(description="Of this layer alone")] = None,
    owner: Annotated[str | None, Query(description="Of this pool, cell or tenant alone; needs its layer")] = None,
) -> SettingList:
    """Settings by id, one page."""
    prefix = "" if layer is None else f"{layer.value}/" + (f"{owner}/" if owner else "")
    page = _page(service, prefix, after, limit, wants_flags=False)
    return SettingList(items=[SettingView.of(row) for row in page.items], next=page.next)


@router.get("/v1/config/{setting_id:rest}", dependencies=[needs(Permission.READ)], responses=MISSING)
def get_setting(setting_id: str, service: CurrentService, response: Response) -> SettingView:
    """One setting."""
    row = _row(service, str(Setting.parse(setting_id)))
    tag(response, row.version)
    return SettingView.of(row)


@router.put("/v1/config/{setting_id:rest}", dependencies=[needs(Permission.WRITE_FLEET)], responses=CHANGING)
async def put_setting(setting_id: str, spec: SettingSpec, change: CurrentChange) -> Changed:
    """Say a setting of the fleet, a pool, a cell or a tenant, which need not be there yet."""
    config_id = str(Setting.parse(setting_id))
    check_value("value", spec.value)
    return await change.put(
        "config", config_id, lambda transaction: transaction.put_config(config_id, {"value": spec.value})
    )


@router.delete(
    "/v1/config/{setting_id:rest}",
    dependencies=[needs(Permission.WRITE_FLEET)],
    responses={**MISSING, **CHANGING},
)
async def delete_setting(setting_id: str, change: CurrentChange) -> Changed:
    """Say it no more: what a weaker layer says counts again."""
    config_id = str(Setting.parse(setting_id))
    return await change.put("config", config_id, lambda transaction: transaction.delete_config(config_id))


@router.get("/v1/flags", dependencies=[needs(Permission.READ)])
def list_flags(service: CurrentService, *, limit: Limit = None, after: After = "") -> FlagList:
    """Flags by name, one page."""
    page = _page(service, _FLAGS, f"{_FLAGS}{after}" if after else "", limit, wants_flags=True)
    return FlagList(
        items=[FlagView.of(row) for row in page.items],
        next=None if page.next is None else page.next.removeprefix(_FLAGS),
    )


@router.get("/v1/flags/{name}", dependencies=[needs(Permission.READ)], responses=MISSING)
def get_flag(name: str, service: CurrentService, response: Response) -> FlagView:
    """One flag."""
    row = _row(service, _flag_id(name))
    tag(response, row.version)
    return FlagView.of(row)


@router.put("/v1/flags/{name}", dependencies=[needs(Permission.WRITE_FLEET)], responses=CHANGING)
async def put_flag(name: str, spec: FlagSpec, change: CurrentChange) -> Changed:
    """Say for whom a flag is on."""
    config_id, rollout = _flag_id(name), spec.to_model()
    return await change.put(
        "config", config_id, lambda transaction: transaction.put_config(config_id, rollout.to_row())
    )


@router.delete("/v1/flags/{name}", dependencies=[needs(Permission.WRITE_FLEET)], responses={**MISSING, **CHANGING})
async def delete_flag(name: str, change: CurrentChange) -> Changed:
    """Forget a flag: it is off for all."""
    config_id = _flag_id(name)
    return await change.put("config", config_id, lambda transaction: transaction.delete_config(config_id))


@router.get(
    "/v1/cells/{cell_id}/config",
    dependencies=[needs(Permission.READ_CONFIG, "cell_id")],
    responses={**MISSING, 304: {"description": "It is the one of `If-None-Match`"}},
    response_model=CellConfig,
)
def get_cell_config(
    cell_id: str,
    service: CurrentService,
    if_none_match: Annotated[str | None, Header(description="The `ETag` of what is known")] = None,
) -> Response:
    """All that the apps of a cell are told; of tenants only those that may be there by their law."""
    current = service.publisher.current
    with service.directory.snapshot() as snapshot:
        outline, said, revision = snapshot.outline, snapshot.configuration(), snapshot.config_revision()
    may_be_here = may_be_in(None if current is None else current.table, cell_id)
    found = configuration_of(cell_id, outline, said, revision=revision, may_be_here=may_be_here)
    data = found.model_dump_json().encode()
    headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
    if if_none_match is not None and headers["ETag"] in {each.strip() for each in if_none_match.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type="application/json")


def _flag_id(name: str) -> str:
    check_name("flag.name", name)
    return f"{_FLAGS}{name}"


def _row(service: Service, config_id: str) -> ConfigRow:
    check_config_id(config_id)
    with service.directory.snapshot() as snapshot:
        return snapshot.config(config_id)


def _page(service: Service, prefix: str, after: str, limit: int | None, *, wants_flags: bool) -> Page[ConfigRow]:
    size = service.page_size(limit)
    with service.directory.snapshot() as snapshot:
        found = snapshot.configuration(prefix=prefix, after=after)
    rows = [row for row in found if row.id.startswith(_FLAGS) == wants_flags]
    return Page(tuple(rows[:size]), rows[size - 1].id if len(rows) > size else None)
