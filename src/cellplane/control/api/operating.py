"""Whether the control plane is well."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from cellplane.control import schemas
from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import CurrentService, problems

router = APIRouter(tags=["health"])


@router.get("/healthz", dependencies=[needs(None)], responses=problems(s503="The directory cannot be read"))
def healthz(request: Request, service: CurrentService) -> schemas.Health | schemas.Alive:
    """Whether the control plane can read its directory; whoever is not known learns no more than that."""
    current, epoch = service.publisher.current, service.directory.epoch()
    if request.state.caller is None:
        return schemas.Alive(status="ok")
    return schemas.Health(status="ok", epoch=epoch, published_epoch=None if current is None else current.epoch)


@router.get("/metrics", dependencies=[needs(Permission.READ)], response_class=PlainTextResponse)
def metrics(service: CurrentService) -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)
