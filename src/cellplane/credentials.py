"""Where a client of the control plane has its token from."""

import json
from collections.abc import Mapping
from pathlib import Path

from cellplane.errors import ControlPlaneError

MAX_TOKEN_BYTES = 8_192
"""Largest file of a token."""

ADMIN_TOKEN = Path("control") / "admin-token"
"""That of a local fleet's admin, in its state folder."""


class TokenFile:
    """A file with a token, read again when it changes: a token that is renewed needs no restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    def read(self) -> str:
        """The token that is in it now.

        Raises:
            ControlPlaneError: it cannot be read, or has none.
        """
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_size, found.st_mtime_ns)
            if seen != self._seen:
                self._token = token_in(self._path)
                self._seen = seen
        except OSError as error:
            raise ControlPlaneError(f"the token file {self._path} cannot be read: {error.strerror}") from error
        return self._token


def token_in(path: Path) -> str:
    """The token in a file.

    Raises:
        ControlPlaneError: it has none.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_TOKEN_BYTES + 1)
    text = data.decode("ascii", errors="replace").strip()
    if not is_header_value(text) or len(data) > MAX_TOKEN_BYTES:
        raise ControlPlaneError(f"{path} has no token: expected one line, as `cellplane token create` prints it")
    return text


def find_token(control_url: str, token_file: Path | None, state_dir: Path, environ: Mapping[str, str]) -> str | None:
    """The token for a control plane: that of the option, of the environment, or of a local fleet that it is of.

    Args:
        token_file: as the command line says; its variable, CELLPLANE_TOKEN_FILE, counts behind CELLPLANE_TOKEN.
        state_dir: folder of a local fleet; its admin's token is used for its control plane alone.
        environ: the process's.

    Returns:
        None where there is none.

    Raises:
        ControlPlaneError: one is named and cannot be read.
    """
    if token_file is None:
        token = environ.get("CELLPLANE_TOKEN", "").strip()
        if token:
            if not is_header_value(token):
                raise ControlPlaneError("CELLPLANE_TOKEN is no token: expected what `cellplane token create` prints")
            return token
        named = environ.get("CELLPLANE_TOKEN_FILE", "")
        token_file = Path(named) if named else None
    if token_file is not None:
        return TokenFile(token_file).read()
    return local_admin_token(control_url, state_dir)


def local_admin_token(control_url: str, state_dir: Path) -> str | None:
    """The admin's token of the local fleet in a folder, where its control plane is at this URL; None elsewhere."""
    try:
        endpoints = json.loads((state_dir / "endpoints.json").read_bytes())
        if not isinstance(endpoints, dict) or endpoints.get("control") != control_url.rstrip("/"):
            return None
        return token_in(state_dir / ADMIN_TOKEN)
    except (OSError, ValueError):
        return None


def is_header_value(text: str) -> bool:
    """Whether it can be sent as a credential."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
