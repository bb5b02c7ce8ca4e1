"""What a route needs of its callers: one dependency, which each route declares."""

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from cellplane.control.access.callers import Caller
from cellplane.control.access.gate import Gate
from cellplane.control.access.roles import Permission
from cellplane.errors import UnauthenticatedError


class Needs(SecurityBase):
    """Lets callers pass who have a permission. The API's description says so of each route that has it.

    Args:
        permission: the one.
        subject: the path's parameter with the cell or router that the request speaks for.
    """

    model = HTTPBearer(description="A token of the control plane, or of its identity provider")
    scheme_name = "token"

    def __init__(self, permission: Permission, subject: str | None = None) -> None:
        self.permission = permission
        self.subject = subject

    async def __call__(self, request: Request) -> None:
        """Raise ForbiddenError, or RateLimitedError, where the caller may not."""
        caller = caller_of(request)
        gate: Gate = request.app.state.service.gate
        subject = None if self.subject is None else request.path_params[self.subject]
        gate.admit(request, caller, self.permission, subject)


async def needs_nothing() -> None:
    """Lets everybody pass, also those who do not say who they are."""


def needs(permission: Permission | None, subject: str | None = None) -> Any:
    """The dependency of a route: ``dependencies=[needs(Permission.READ)]`` (``Needs``); None where anybody may."""
    return Depends(needs_nothing if permission is None else Needs(permission, subject))


def caller_of(request: Request) -> Caller:
    """Who calls.

    Raises:
        UnauthenticatedError: nobody that is known.
    """
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        raise UnauthenticatedError("the control plane has to know who asks")
    return caller


async def _current_caller(request: Request) -> Caller:
    # Asynchronous as all dependencies: FastAPI would call another in a thread of its own.
    return caller_of(request)


CurrentCaller = Annotated[Caller, Depends(_current_caller)]
