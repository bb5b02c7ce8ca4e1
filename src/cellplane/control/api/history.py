"""What was changed, and what was published."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import CurrentService, Limit
from cellplane.control.history_schemas import ChangeList, ChangeView, EpochList, EpochView
from cellplane.directory.history import ChangeFilter

router = APIRouter(tags=["history"])

Number = Annotated[int | None, Query(ge=0, lt=2**63)]


@router.get("/v1/changes", dependencies=[needs(Permission.READ)])
def list_changes(
    service: CurrentService,
    *,
    limit: Limit = None,
    after: Annotated[int | None, Query(ge=0, lt=2**63, description="Oldest first, behind this epoch")] = None,
    before: Annotated[int | None, Query(ge=0, lt=2**63, description="Newest first, before this epoch")] = None,
    kind: str | None = None,
    id: Annotated[str | None, Query(description="Of the resource; a tenant's also finds its quarantines")] = None,  # noqa: A002
    actor: str | None = None,
) -> ChangeList:
    """The change log, one page; the newest first, unless `after` is given."""
    size = service.page_size(limit)
    wanted = ChangeFilter(kind=kind, id=id, actor=actor)
    with service.directory.snapshot() as snapshot:
        found = snapshot.history(wanted, limit=size + 1, after=after, before=before)
    items = [ChangeView(**asdict(change)) for change in found[:size]]
    return ChangeList(items=items, next=items[-1].epoch if len(found) > size else None)


@router.get("/v1/epochs", dependencies=[needs(Permission.READ)])
def list_epochs(service: CurrentService, limit: Limit = None, before: Number = None) -> EpochList:
    """The tables that were published, the last first."""
    size = service.page_size(limit)
    with service.directory.snapshot() as snapshot:
        found = snapshot.epochs(limit=size + 1, before=before)
    items = [EpochView(**asdict(each)) for each in found[:size]]
    return EpochList(items=items, next=items[-1].epoch if len(found) > size else None)
