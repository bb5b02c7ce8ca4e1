"""Whether the control plane is well."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from cellplane.control import schemas
from cellplane.control.api.asking import CurrentService, problems

router = APIRouter(tags=["health"])


@router.get("/healthz", responses=problems(s503="The directory cannot be read"))
def healthz(service: CurrentService) -> schemas.Health:
    """Whether the control plane can read its directory."""
    current = service.publisher.current
    return schemas.Health(
        status="ok", epoch=service.directory.epoch(), published_epoch=None if current is None else current.epoch
    )


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(service: CurrentService) -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)
