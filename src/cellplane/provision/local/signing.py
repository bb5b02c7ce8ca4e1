"""The key that signs a local fleet's tables: made once, kept in its state folder."""

from cellplane.errors import KeyFileError, ProvisionError
from cellplane.provision.local.folder import StateFolder
from cellplane.publishing.keys import KeyUse, create_key, read_public_keys, read_signing_key


def create_signing_key(folder: StateFolder) -> None:
    """Make the key where there is none.

    Raises:
        ProvisionError: the one that is there cannot be used.
    """
    folder.signing_key.parent.mkdir(exist_ok=True, mode=0o700)
    if not folder.signing_key.exists():
        # The public half is written first: without the other, it is one of a start that was cut short.
        folder.trust.unlink(missing_ok=True)
    try:
        if not folder.signing_key.exists():
            create_key(folder.signing_key, KeyUse())
        key = read_signing_key(folder.signing_key)
        if [each.id for each in read_public_keys(folder.trust)] != [key.id]:
            raise KeyFileError(f"{folder.trust} is not the public half of {folder.signing_key}")
    except KeyFileError as error:
        advice = f"remove {folder.signing_key.parent} for a new key, and {folder.router / 'tables'}"
        raise ProvisionError(f"{error}; {advice}") from error
