"""Puts a project's files into a folder. What somebody has there already is replaced by order alone, and named."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cellplane.durable import write_durably
from cellplane.errors import ScaffoldError

FILE_MODE = 0o644
"""Everybody may read them, as far as the user's umask lets them."""

_GIT = ".git"
"""What an empty repository has already."""

_MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Written:
    """What became of each file, by its path within the folder."""

    created: tuple[str, ...]
    replaced: tuple[str, ...]
    unchanged: tuple[str, ...]


def write(folder: Path, files: Mapping[str, str], *, force: bool = False) -> Written:
    """Write files into a folder, which is made where it is not there. All is looked at before anything is written.

    Args:
        folder: new or empty, as a new repository is, unless ``force``.
        files: path within the folder → text.
        force: write into a folder that is not empty, and replace files of these names.

    Raises:
        ScaffoldError: something is there already, or cannot be written.
    """
    try:
        _check_folder(folder, force=force)
        created, replaced, unchanged = [], [], []
        for path, text in files.items():
            target = folder / path
            _check_target(folder, target)
            if not target.exists():
                created.append(path)
            elif target.read_bytes() == text.encode():
                unchanged.append(path)
            else:
                replaced.append(path)
        for path in (*created, *replaced):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            write_durably(folder / path, files[path].encode(), mode=FILE_MODE)
    except OSError as error:
        raise ScaffoldError(
            f"{error.filename or folder}: {error.strerror or error}. Mend it, then ask again with --force: what is "
            "written already is the same"
        ) from error
    return Written(tuple(created), tuple(replaced), tuple(unchanged))


def _check_folder(folder: Path, *, force: bool) -> None:
    if not folder.exists() and not folder.is_symlink():
        above = next(parent for parent in folder.absolute().parents if parent.exists())
        if not above.is_dir():
            raise ScaffoldError(f"{above}: expected a folder, found a file. Name another by --folder")
        return
    if not folder.is_dir():
        raise ScaffoldError(f"{folder}: expected a folder, or nothing; found something else. Name another by --folder")
    there = sorted({path.name for path in folder.iterdir()} - {_GIT})
    if there and not force:
        raise ScaffoldError(
            f"{folder}: expected a new or an empty folder, found {_listed(there)}. Name another by --folder, or say "
            "--force: files of the same names are then replaced, all others stay"
        )


def _check_target(folder: Path, target: Path) -> None:
    """Refuse what leads out of the folder, or is no file."""
    for each in (target, *target.parents):
        if each == folder:
            break
        if each.is_symlink():
            raise ScaffoldError(f"{each}: expected a file or a folder, found a link. Take it away")
    if target.exists() and not target.is_file():
        raise ScaffoldError(f"{target}: expected a file, or nothing; found something else. Take it away")
    for parent in target.parents:
        if parent == folder:
            break
        if parent.exists() and not parent.is_dir():
            raise ScaffoldError(f"{parent}: expected a folder, or nothing; found a file. Take it away")


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    more = len(shown) - _MAX_SHOWN
    return ", ".join(shown[:_MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")
