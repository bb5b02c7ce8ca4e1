"""What an app inside a cell imports: who is asking, through which cell, and the refusal of all else.

Standard library only, so that any ASGI or WSGI app of any age can take it in::

    from cellplane.cell import CellMiddleware, CellSettings, current

    settings = CellSettings.from_env(os.environ)
    asgi = CellMiddleware(app, cell_id=settings.cell_id)

    async def handler(request):
        tenant_id = current().tenant_id
"""

from cellplane.cell.asgi import CellMiddleware
from cellplane.cell.capacity import CellUse
from cellplane.cell.context import CellContext, carried, current, current_or_none, entered
from cellplane.cell.errors import (
    CellError,
    InvalidContextError,
    InvalidSettingError,
    MissingSettingsError,
    NoCellContextError,
)
from cellplane.cell.load import CellLoad
from cellplane.cell.problem import Problem
from cellplane.cell.settings import CellSettings
from cellplane.cell.wsgi import CellWsgiMiddleware

__all__ = [
    "CellContext",
    "CellError",
    "CellLoad",
    "CellMiddleware",
    "CellSettings",
    "CellUse",
    "CellWsgiMiddleware",
    "InvalidContextError",
    "InvalidSettingError",
    "MissingSettingsError",
    "NoCellContextError",
    "Problem",
    "carried",
    "current",
    "current_or_none",
    "entered",
]
