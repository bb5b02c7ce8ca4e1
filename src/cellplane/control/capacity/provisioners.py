"""Finds the provisioner that the settings name."""

import importlib
from collections.abc import Callable
from pathlib import Path

from cellplane.directory import Directory
from cellplane.errors import ValidationError
from cellplane.model import CellStatus
from cellplane.provision import Provisioner
from cellplane.provision.local.folder import StateFolder
from cellplane.provision.local.provisioner import LocalProvisioner

LOCAL = "local:"

_FIELD = "provisioner"


def find_provisioner(named: str, directory: Directory) -> Provisioner:
    """The provisioner of a name (``ControlSettings.provisioner``).

    Raises:
        ValidationError: it names none, with what to write.
    """
    if named.startswith(LOCAL):
        return LocalProvisioner(StateFolder(Path(named.removeprefix(LOCAL)).absolute()), status_in(directory))
    module, _, name = named.partition(":")
    if not module or not name:
        raise ValidationError(_FIELD, f"expected local:FOLDER or package.module:factory, found {named!r}")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValidationError(_FIELD, f"{named!r} cannot be loaded: {error}") from error
    provisioner: Provisioner = factory()
    missing = [each for each in _CALLS if not callable(getattr(provisioner, each, None))]
    if missing:
        raise ValidationError(_FIELD, f"what {named!r} returns has no {', '.join(missing)}: see docs/provisioning.md")
    return provisioner


def status_in(directory: Directory) -> Callable[[str], CellStatus | None]:
    """What a directory has cells as."""

    def status(cell_id: str) -> CellStatus | None:
        with directory.snapshot() as snapshot:
            cell = snapshot.outline.cells.get(cell_id)
        return None if cell is None else cell.status

    return status


_CALLS = ("create", "destroy", "start", "stop", "deploy", "describe", "describe_all")
