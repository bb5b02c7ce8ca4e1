"""The token of a local fleet's router: made anew at each start, so that none of a stopped fleet counts."""

from pathlib import Path

from cellplane.client import Client
from cellplane.credentials import token_in
from cellplane.durable import write_durably
from cellplane.errors import ControlPlaneError

TOKEN_DAYS = 366.0
"""Its lifetime, days: as long as one can have."""


def renew_router_token(client: Client, router_id: str, path: Path) -> None:
    """Make a router a token, put it into the file, and revoke the one that was there.

    Raises:
        ControlPlaneError: the control plane makes none.
    """
    order = {"name": router_id, "role": "router", "subject": router_id, "days": TOKEN_DAYS}
    old = _token_id(path)
    token: str = client.post("/v1/tokens", order)["token"]
    write_durably(path, f"{token}\n".encode())
    if old is not None and any(each["id"] == old for each in client.list("/v1/tokens")["items"]):
        client.delete(f"/v1/tokens/{old}")


def _token_id(path: Path) -> str | None:
    """Of the token in a file, what is no secret; None where there is none."""
    try:
        parts = token_in(path).split("_")
    except (OSError, ControlPlaneError):
        return None
    return parts[1] if len(parts) == 3 else None
