"""Brings the cells of a running fleet to what was wished for: adds, starts, stops, redeploys and removes them.

Every step is on the disk before the next one is taken, so that a supervisor which is killed anywhere goes on from there
when it comes back: a cell is made from the moment that the roster lists it, and is gone once that forgets it.
"""

import shutil
from collections.abc import Callable, Iterator
from typing import Protocol

from cellplane.errors import CellplaneError, ProvisionError
from cellplane.faults import fault_point
from cellplane.processes import processes_in
from cellplane.provision.limits import require_room
from cellplane.provision.local.child import kill_trees
from cellplane.provision.local.folder import StateFolder
from cellplane.provision.local.parts import CELL_ROLES, CellPart
from cellplane.provision.local.roster import Member, Roster
from cellplane.provision.local.running import RunningParts
from cellplane.provision.local.settings import LocalSettings
from cellplane.provision.local.stopped import StoppedError
from cellplane.provision.local.wishes import Wish, forget_wish, read_wish, wished


class KeeperObserver(Protocol):
    """Whoever shows what becomes of cells."""

    def failed(self, part: str, error: str) -> None:
        """Something asked of a part was not done."""

    def ended(self, part: str, how: str) -> None:
        """A part was ended on purpose."""


class CellKeeper:
    """Follows the wishes. Used by the supervisor's thread.

    Args:
        make: makes the part of a cell that the roster lists; it starts nothing.
        start: starts a part, and tells whoever watches.
        observer: told what became of cells.
    """

    def __init__(
        self,
        settings: LocalSettings,
        folder: StateFolder,
        roster: Roster,
        running: RunningParts,
        *,
        make: Callable[[Member], CellPart],
        start: Callable[[CellPart], None],
        observer: KeeperObserver,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._roster = roster
        self._running = running
        self._make = make
        self._start = start
        self._observer = observer
        self._cells: dict[str, CellPart] = {}
        self._at_work: dict[str, Wish] = {}
        self._done: dict[str, Wish] = {}
        self._unreadable: set[str] = set()

    def settle(self) -> None:
        """Before anything runs: go on with what another supervisor was killed at. What is new waits for ``follow``."""
        for wish in self._readable():
            if not wish.present:
                remove_cell(self._folder, wish.cell_id)
                self._roster.drop(wish.cell_id)
            elif wish.cell_id in self._roster.members:
                self._roster.put(Member(wish.request, wish.running))

    def add_members(self) -> list[CellPart]:
        """Take in every cell of the roster, and return those that are to run."""
        cells = {cell_id: self._add(member) for cell_id, member in self._roster.members.items()}
        return [cells[cell_id] for cell_id, member in self._roster.members.items() if member.running]

    def has_work(self, name: str) -> bool:
        """Whether a cell is at something that was wished for, and nobody else's business now."""
        return name in self._at_work

    def follow(self) -> None:
        """Take the next step of every wish."""
        # By what was begun and not by the files: one that somebody took away is finished too.
        for name in [name for name in self._at_work if not self._running.busy(name)]:
            self._finish(self._at_work.pop(name))
        for wish in self._readable():
            if self._done.get(wish.cell_id) == wish:
                self._forget(wish)
            elif not self._running.busy(wish.cell_id):
                self._act(wish)

    def _readable(self) -> Iterator[Wish]:
        """Every wish. One that nobody can read is told of once and left alone: it must not end the fleet."""
        for name in wished(self._folder):
            try:
                wish = read_wish(self._folder, name)
            except ProvisionError as error:
                if name not in self._unreadable:
                    self._unreadable.add(name)
                    self._observer.failed(name, str(error))
                continue
            if wish is not None:
                yield wish

    def _act(self, wish: Wish) -> None:
        name = wish.cell_id
        member = self._roster.members.get(name)
        if not wish.present:
            self._act_on_removal(wish)
            return
        try:
            if member is None:
                known = (each.request for each in self._roster.members.values())
                require_room(self._settings.limits, known, wish.request)
            wanted = Member(wish.request, wish.running)
            if member != wanted:
                self._roster.put(wanted)
                fault_point("provision.member.noted")
            cell = self._cells.get(name) or self._add(wanted)
        except ProvisionError as error:
            self._running.refuse(name, wish.asked, error)
            self._end(wish)
            return
        self._at_work[name] = wish
        cell.release = wish.request.release
        if wish.running:
            self._running.begin(name, "starting", lambda: self._start(cell))
        else:
            self._running.begin(name, "stopping", cell.stop)

    def _act_on_removal(self, wish: Wish) -> None:
        cell = self._cells.get(wish.cell_id)
        if cell is None:
            self._end(wish)
            return
        self._at_work[wish.cell_id] = wish
        self._running.begin(wish.cell_id, "removing", lambda: self._remove(cell))

    def _finish(self, wish: Wish) -> None:
        """What a wish made a part do has ended, well or not."""
        name, error = wish.cell_id, self._running.error(wish.cell_id)
        if isinstance(error, StoppedError):
            return
        if error is not None and not isinstance(error, CellplaneError):
            raise error
        if error is not None:
            self._running.set_state(name, "dead", str(error))
            self._observer.failed(name, str(error))
        elif wish.present:
            self._running.set_state(name, "up" if wish.running else "stopped")
            if not wish.running:
                self._observer.ended(name, "stopped; its data is kept")
            fault_point("provision.cell.settled")
        else:
            fault_point("provision.folder.removed")
            self._roster.drop(name)
            fault_point("provision.member.dropped")
            self._running.drop(name)
            self._cells.pop(name)
            self._observer.ended(name, "destroyed, with its data")
        self._end(wish)

    def _end(self, wish: Wish) -> None:
        """The wish is done, or refused: who asked reads what became of it, and it goes."""
        self._done[wish.cell_id] = wish
        self._running.record()
        self._forget(wish)

    def _forget(self, wish: Wish) -> None:
        if forget_wish(self._folder, wish):
            self._done.pop(wish.cell_id, None)

    def _add(self, member: Member) -> CellPart:
        cell = self._cells[member.request.id] = self._make(member)
        self._running.add(cell, "starting" if member.running else "stopped")
        return cell

    def _remove(self, cell: CellPart) -> None:
        cell.stop()
        fault_point("provision.cell.stopped")
        remove_cell(self._folder, cell.name)


def remove_cell(folder: StateFolder, cell_id: str) -> None:
    """Remove everything that a cell has written. Its processes have ended, but for what PostgreSQL left behind.

    Raises:
        ProvisionError: something cannot be removed.
    """
    data, aside = folder.cell(cell_id), folder.cell(f".gone-{cell_id}")
    try:
        kill_trees(processes_in(data / "postgres", "postgres"))
        # Beside first, so that what is half removed is never taken for a cell.
        if aside.exists():
            shutil.rmtree(aside)
        if data.exists():
            data.rename(aside)
            fault_point("provision.folder.aside")
            shutil.rmtree(aside)
        for path in (folder.desired(cell_id), *(folder.log(f"{cell_id}-{role}") for role in CELL_ROLES)):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ProvisionError(f"{cell_id} cannot be removed ({error}): mend that, then destroy it again") from error
