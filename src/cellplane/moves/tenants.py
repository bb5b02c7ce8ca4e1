"""A tenant at the control plane, as a move looks at it and changes it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cellplane.client import Client
from cellplane.errors import PreconditionError
from cellplane.moves.errors import ChangedError, MoveError


@dataclass(frozen=True, slots=True)
class Tenants:
    """By the control plane's API.

    Args:
        client: with a token that may change tenants.
    """

    client: Client

    def get(self, tenant_id: str) -> dict[str, Any]:
        """A tenant as it is now."""
        return self.client.get(_path(tenant_id))

    def change(self, tenant_id: str, version: int, **fields: Any) -> int:
        """Change a tenant as it was looked at; returns the epoch.

        Raises:
            ChangedError: somebody changed it meanwhile.
        """
        try:
            answer = self.client.put(_path(tenant_id), fields, version=version)
        except PreconditionError as error:
            raise ChangedError(f"{tenant_id} was changed while its move changed it: {error}") from error
        epoch = answer.get("epoch")
        if not isinstance(epoch, int):
            raise MoveError(f"the control plane did not say by which epoch {tenant_id} is changed: {answer}")
        return epoch


def _path(tenant_id: str) -> str:
    return f"/v1/tenants/{quote(tenant_id, safe='')}"
