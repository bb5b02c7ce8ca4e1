"""Tokens of callers, and the audit of their calls."""

import secrets
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BeforeValidator

from cellplane.control.access.gate import entry_of
from cellplane.control.access.needs import CurrentCaller, needs
from cellplane.control.access.roles import Permission
from cellplane.control.access.tokens import mint
from cellplane.control.access_schemas import AuditList, AuditView, NewToken, TokenList, TokenSpec, TokenView
from cellplane.control.api.asking import CONFLICT, EVERYWHERE, MISSING, After, CurrentService, Limit
from cellplane.control.api.threads import to_write
from cellplane.directory.audit import AuditFilter
from cellplane.errors import ValidationError

router = APIRouter(tags=["access"], responses=EVERYWHERE)


def _is_no_number(value: object) -> object:
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("expected a time such as 2026-01-31T00:00:00Z")
    return value


Moment = Annotated[datetime, BeforeValidator(_is_no_number)]
"""A time in words; Pydantic takes seconds, too, and the API's description does not say so."""


@router.post(
    "/v1/tokens",
    dependencies=[needs(Permission.MANAGE_TOKENS)],
    status_code=HTTPStatus.CREATED,
    responses=CONFLICT,
)
async def create_token(spec: TokenSpec, request: Request, caller: CurrentCaller, service: CurrentService) -> NewToken:
    """Make a token. Its secret is in this answer and nowhere else."""
    settings, order = service.settings.access, spec.to_order()
    order.validate(settings)

    def create() -> NewToken:
        now = service.directory.now()
        token, record = mint(order, by=caller.name, now=now, random_bytes=secrets.token_bytes, settings=settings)
        what = f"token {record.id} for {record.name} ({record.role})"
        entry = entry_of(request, caller, HTTPStatus.CREATED, what)
        service.directory.access.create_token(record, entry, settings.max_tokens)
        return NewToken(**TokenView.of(record, is_live=True).model_dump(), token=token.text)

    return await to_write(service, create)


@router.get("/v1/tokens", dependencies=[needs(Permission.MANAGE_TOKENS)])
def list_tokens(service: CurrentService, *, limit: Limit = None, after: After = "") -> TokenList:
    """Tokens by id, one page, without their secrets."""
    size, now = service.page_size(limit), service.directory.now()
    found = service.directory.access.tokens(limit=size + 1, after=after)
    items = [TokenView.of(record, is_live=record.is_live(now)) for record in found[:size]]
    return TokenList(items=items, next=items[-1].id if len(found) > size else None)


@router.delete("/v1/tokens/{token_id}", dependencies=[needs(Permission.MANAGE_TOKENS)], responses=MISSING)
async def revoke_token(token_id: str, request: Request, caller: CurrentCaller, service: CurrentService) -> TokenView:
    """Let a token count no more: here at once, at other control planes within seconds."""
    entry = entry_of(request, caller, HTTPStatus.OK, f"token {token_id}")
    record = await to_write(service, lambda: service.directory.access.revoke_token(token_id, entry))
    service.gate.tokens.forget(token_id)
    return TokenView.of(record, is_live=False)


@router.get("/v1/audit", dependencies=[needs(Permission.READ_AUDIT)])
def list_audit(
    service: CurrentService,
    *,
    limit: Limit = None,
    before: Annotated[int | None, Query(ge=0, lt=2**63, description="Older than this entry")] = None,
    caller: str | None = None,
    source: Annotated[str | None, Query(description="The address that it came from")] = None,
    refused: Annotated[bool | None, Query(description="Those that were refused, or those that were not")] = None,
    since: Annotated[Moment | None, Query(description="Not older, ISO 8601 with an offset")] = None,
) -> AuditList:
    """Calls that changed something, and calls that were refused, the newest first, one page."""
    if since is not None and since.tzinfo is None:
        raise ValidationError("since", "expected a time with its offset, such as 2026-01-31T00:00:00Z")
    size = service.page_size(limit)
    wanted = AuditFilter(caller=caller, source=source, refused=refused, since=since)
    found = service.directory.access.calls(wanted, limit=size + 1, before=before)
    items = [AuditView.of(entry) for entry in found[:size]]
    return AuditList(items=items, next=items[-1].id if len(found) > size else None)
