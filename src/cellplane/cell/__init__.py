"""What an app inside a cell imports: who is asking, through which cell, and the refusal of all else.

Standard library only, so that any ASGI or WSGI app of any age can take it in::

    from cellplane.cell import CellMiddleware, CellSettings, current

    settings = CellSettings.from_env(os.environ)
    asgi = CellMiddleware(app, cell_id=settings.cell_id)

    async def handler(request):
        tenant_id = current().tenant_id

The record of moves is imported when it is asked for: it needs more of the standard library than the rest.
"""

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from cellplane.cell.moves import Here, MovedTo, Moves, Unknown

__all__ = [
    "CellContext",
    "CellError",
    "CellLoad",
    "CellMiddleware",
    "CellSettings",
    "CellUse",
    "CellWsgiMiddleware",
    "Here",
    "InvalidContextError",
    "InvalidSettingError",
    "MissingSettingsError",
    "MovedTo",
    "Moves",
    "NoCellContextError",
    "Problem",
    "Unknown",
    "carried",
    "current",
    "current_or_none",
    "entered",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import what is asked for."""
        if name not in {"Here", "MovedTo", "Moves", "Unknown"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from cellplane.cell import moves  # noqa: PLC0415  # see above

        return getattr(moves, name)
