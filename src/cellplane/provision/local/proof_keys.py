"""The keys by which the cells of a local fleet know their router: made once, kept in its state folder."""

from cellplane.cell.proof import parse_keys
from cellplane.durable import write_durably
from cellplane.errors import ProvisionError, ValidationError
from cellplane.provision.local.folder import StateFolder
from cellplane.signed_cookie import new_secret

FIRST_KEY = "key-1"
"""Id of the key that is made; who rotates it chooses another."""


def create_proof_keys(folder: StateFolder) -> None:
    """Make a key where there is none; what somebody has added since stays.

    Raises:
        ProvisionError: the file that is there holds something else, or cannot be read.
    """
    path = folder.proof_keys
    path.parent.mkdir(exist_ok=True, mode=0o700)
    if not path.exists():
        write_durably(path, f"{FIRST_KEY} {new_secret()}\n".encode())
    try:
        parse_keys(path.read_text())
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise ProvisionError(f"{path} cannot be used ({error}): mend it, or remove it for a new key") from error
