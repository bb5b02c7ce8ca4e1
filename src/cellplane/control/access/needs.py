"""What a route needs of its callers: one dependency, which each route declares."""

from typing import Annotated, Any

from fastapi import Depends, Request

from cellplane.control.access.callers import Caller
from cellplane.control.access.gate import Gate
from cellplane.control.access.roles import Permission


class Needs:
    """Lets callers pass who have a permission.

    Args:
        permission: the one; None lets everybody pass, also those who do not say who they are.
        subject: the path's parameter with the cell or router that the request speaks for.
    """

    def __init__(self, permission: Permission | None, subject: str | None = None) -> None:
        self.permission = permission
        self.subject = subject

    async def __call__(self, request: Request) -> None:
        """Raise ForbiddenError, or RateLimitedError, where the caller may not."""
        if self.permission is None:
            return
        caller: Caller = request.state.caller
        gate: Gate = request.app.state.service.gate
        subject = None if self.subject is None else request.path_params[self.subject]
        gate.admit(request, caller, self.permission, subject)


def needs(permission: Permission | None, subject: str | None = None) -> Any:
    """The dependency of a route: ``dependencies=[needs(Permission.READ)]``; see ``Needs``."""
    return Depends(Needs(permission, subject))


def caller_of(request: Request) -> Caller:
    """Who calls, where the route needs to know."""
    caller: Caller = request.state.caller
    return caller


CurrentCaller = Annotated[Caller, Depends(caller_of)]
