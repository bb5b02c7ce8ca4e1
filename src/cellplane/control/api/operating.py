"""Whether the control plane is well."""

import math
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from cellplane import __version__
from cellplane.control import schemas
from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import EVERYWHERE, CurrentService, problems
from cellplane.control.status_schemas import ControlStatus, LeaderView, SigningKeyView, TargetView
from cellplane.directory.leadership import Leader
from cellplane.directory.migrating import head_revision
from cellplane.directory.tokens import text_of
from cellplane.publishing.keys import PublicKey
from cellplane.publishing.table_check import is_installed
from cellplane.routing import layout

router = APIRouter(tags=["health"], responses=EVERYWHERE)


@router.get("/healthz", dependencies=[needs(None)], responses=problems(s503="The directory cannot be read"))
def healthz(request: Request, service: CurrentService) -> schemas.DirectoryHealth | schemas.Alive:
    """Whether the control plane can read its directory, and change it; who is not known learns no more than that."""
    current, epoch = service.publisher.current, service.directory.epoch()
    trouble = service.directory.disk_trouble
    status: Literal["ok", "degraded"] = "ok" if trouble is None else "degraded"
    if request.state.caller is None:
        return schemas.Alive(status=status)
    published_epoch = None if current is None else current.epoch
    return schemas.DirectoryHealth(status=status, problem=trouble, epoch=epoch, published_epoch=published_epoch)


@router.get(
    "/v1/status",
    dependencies=[needs(Permission.READ)],
    responses=problems(s503="The directory cannot be read"),
)
def get_status(service: CurrentService) -> ControlStatus:
    """What this control plane says of itself: its release, clocks, directory, keys and targets."""
    directory, settings, now = service.directory, service.settings, datetime.now(UTC)
    leader = directory.leader()
    return ControlStatus(
        version=__version__,
        table_format=f"{layout.MAJOR}.{layout.MINOR}",
        store="postgresql" if directory.is_shared else "sqlite",
        schema_revision=directory.revision(),
        schema_expected=head_revision(),
        now=text_of(now),
        database_now=text_of(directory.now()),
        leads=service.leadership.leads,
        leader=None if leader is None else _leader(leader),
        signing_keys=[_key(key, int(now.timestamp())) for key in service.distribution.signing_keys],
        targets=[TargetView(**asdict(target)) for target in service.distribution.targets()],
        table_check_installed=is_installed(),
        guard_rails=settings.guard_rails is not None,
        tls=settings.tls_certificate is not None,
        free_bytes=shutil.disk_usage(settings.state_dir).free,
    )


def _leader(leader: Leader) -> LeaderView:
    has_end = math.isfinite(leader.seconds_left)
    return LeaderView(
        holder=leader.holder, token=leader.token, seconds_left=round(leader.seconds_left, 3) if has_end else None
    )


def _key(key: PublicKey, now: int) -> SigningKeyView:
    use = key.use
    not_after = None if use.not_after is None else text_of(datetime.fromtimestamp(use.not_after, UTC))
    return SigningKeyView(id=key.id, jurisdiction=use.jurisdiction, not_after=not_after, expired=use.expired_at(now))


@router.get("/metrics", dependencies=[needs(Permission.READ)], response_class=PlainTextResponse)
def metrics(service: CurrentService) -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)
