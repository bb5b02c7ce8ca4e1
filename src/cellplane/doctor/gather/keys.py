"""Keys in files, of tables, of cookies and of proofs; and backups."""

from pathlib import Path

from cellplane.doctor.facts import BackupFact, SigningKeyFact
from cellplane.doctor.settings import DoctorSettings
from cellplane.errors import KeyFileError, ValidationError
from cellplane.publishing.keys import read_keys
from cellplane.signed_cookie import Keyring

_PEM = b"-----BEGIN"


def keys_of(path: Path, settings: DoctorSettings) -> tuple[SigningKeyFact, ...]:
    """The keys of a file: those of tables with their ends; of cookies and proofs none, as those have no end.

    Raises:
        KeyFileError: it holds something else, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(settings.max_file_bytes)
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    if _PEM in data:
        return tuple(
            SigningKeyFact(str(path), key.id, None if key.use.not_after is None else float(key.use.not_after))
            for key in read_keys(path)
        )
    try:
        Keyring.parse(data.decode("ascii", "replace"))
    except ValidationError as error:
        raise KeyFileError(f"{path}: expected keys in PEM, or of cookies or proofs: {error}") from error
    return ()


def backup_of(path: Path) -> BackupFact:
    """When a backup was written. Whether it is whole, `cellplane restore` says."""
    try:
        found = path.stat()
    except OSError as error:
        return BackupFact(str(path), failure=f"it cannot be read: {error.strerror}")
    if found.st_size == 0:
        return BackupFact(str(path), failure="it is empty")
    return BackupFact(str(path), found.st_mtime)
