"""What somebody outside the supervisor asks of a cell: a file a cell, there until it is done or refused.

Whoever asks writes the file and waits until it is gone; the supervisor alone starts, ends and removes anything. A
caller that is killed leaves a wish that is fulfilled all the same, and a supervisor that is killed finds it when it
comes back.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from cellplane.durable import locked
from cellplane.errors import ProvisionError, ValidationError
from cellplane.model import Capacity
from cellplane.provision.local.folder import StateFolder, read_json, write_json
from cellplane.provision.local.settings import LOCK_PAUSE_SECONDS, WISH_LOCK_TRIES
from cellplane.provision.values import CellRequest


@dataclass(frozen=True, slots=True)
class Wish:
    """All that a cell is to be.

    Attributes:
        request: what it is.
        present: whether it is to be there; else it is removed with its data.
        running: whether it is to run.
        asked: tells this wish from every other for the same cell, and is larger than those before.
    """

    request: CellRequest
    present: bool = True
    running: bool = True
    asked: int = 0

    @property
    def cell_id(self) -> str:
        """Whose it is."""
        return self.request.id


def request_row(request: CellRequest) -> dict[str, Any]:
    """A request as JSON."""
    return asdict(request)


def request_of(row: dict[str, Any]) -> CellRequest:
    """A request out of its JSON."""
    return CellRequest(**{**row, "capacity": Capacity(**row["capacity"])})


def wished(folder: StateFolder) -> list[str]:
    """The cells of which something is asked that is not done yet."""
    return sorted(path.stem for path in folder.wish("*").parent.glob("[!.]*.json"))


def read_wishes(folder: StateFolder) -> list[Wish]:
    """All that is not done yet, by cell; raises as ``read_wish`` does."""
    found = (read_wish(folder, cell_id) for cell_id in wished(folder))
    return [wish for wish in found if wish is not None]


def read_wish(folder: StateFolder, cell_id: str) -> Wish | None:
    """What is asked of a cell and not done yet.

    Raises:
        ProvisionError: the file holds something else than a wish for this cell.
    """
    path = folder.wish(cell_id)
    value = read_json(path)
    if value is None:
        return None
    try:
        wish = Wish(request_of(value["request"]), bool(value["present"]), bool(value["running"]), int(value["asked"]))
        wish.request.validate()
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise ProvisionError(f"{path} is no wish ({error!r}): remove it, and ask again") from error
    if wish.cell_id != cell_id:
        raise ProvisionError(f"{path} is a wish for {wish.cell_id}, not for {cell_id}: remove it, and ask again")
    return wish


def write_wish(folder: StateFolder, wish: Wish) -> None:
    """Ask. Only with the lock."""
    value = {"asked": wish.asked, "present": wish.present, "running": wish.running}
    write_json(folder.wish(wish.cell_id), {**value, "request": request_row(wish.request)})


def forget_wish(folder: StateFolder, done: Wish) -> bool:
    """Take back what is done; False where somebody holds the lock, and it has to be tried again.

    Another wish that was written meanwhile stays.
    """
    with locked(folder.wishes_lock) as is_ours:
        if is_ours and read_wish(folder, done.cell_id) == done:
            folder.wish(done.cell_id).unlink()
        return is_ours


@contextmanager
def wishes_locked(folder: StateFolder) -> Iterator[None]:
    """Keep all wishes as they are but for what is done inside.

    Raises:
        ProvisionError: somebody else holds on to them.
    """
    for _ in range(WISH_LOCK_TRIES):
        with locked(folder.wishes_lock) as is_ours:
            if is_ours:
                yield
                return
        time.sleep(LOCK_PAUSE_SECONDS)
    raise ProvisionError(f"another process holds {folder.wishes_lock}: end it, then ask again")
