"""The console's pages. They are for anybody, and show nothing by themselves: what they ask needs a token."""

from fastapi import APIRouter, Response

from cellplane.console import PAGES, page
from cellplane.control.access.needs import needs
from cellplane.control.api.asking import EVERYWHERE
from cellplane.errors import NotFoundError

router = APIRouter(prefix="/console", include_in_schema=False, responses=EVERYWHERE)

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""A page runs nothing and asks nobody but what comes from here, and is shown in no other."""


@router.get("/{name}", dependencies=[needs(None)])
def get_page(name: str) -> Response:
    """A page, its script or its style."""
    if name not in PAGES:
        raise NotFoundError(f"the console has no page {name!r}: there is /console/moves")
    content, media_type = page(name)
    return Response(content, media_type=media_type, headers=HEADERS)
