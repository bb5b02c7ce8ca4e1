"""One cell more for a pool: provisioned, registered, reached by routers, active, and in its pool."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

import structlog

from cellplane.control.publication import ACTOR
from cellplane.control.settings import ControlSettings
from cellplane.directory import Author, Directory, Leadership
from cellplane.directory.capacity import CellAsk
from cellplane.directory.transaction import Transaction
from cellplane.errors import CellplaneError, FencedError, ProvisionError
from cellplane.faults import fault_point
from cellplane.model import Cell, CellStatus
from cellplane.provision import CellInstance, Provisioner
from cellplane.provision.siblings import one_more

log = structlog.get_logger()


class Grower:
    """Carries out asks, one at a time. Blocking; each step is done once, however often one that was cut short is asked
    for again.

    Args:
        health: whether any router reaches a cell, for each that one has spoken of; empty where none reports.
        changed: called after each change of the directory.
    """

    def __init__(
        self,
        directory: Directory,
        leadership: Leadership,
        provisioner: Provisioner,
        settings: ControlSettings,
        *,
        health: Callable[[], Mapping[str, bool]],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._directory = directory
        self._leadership = leadership
        self._provisioner = provisioner
        self._settings = settings
        self._health = health
        self._changed = changed
        self._clock = clock
        self._sleep = sleep

    def ask(self, pool: str, reason: str, last: CellAsk | None, now: float) -> CellAsk:
        """Have a cell made; what failed before is asked for again, so that no second cell is made.

        Args:
            last: what the pool asked for last.
            now: seconds of the database's clock.

        Returns:
            The ask as it ended: with its cell, or with what failed.

        Raises:
            FencedError: another process leads, and goes on with it.
        """
        failed = last is not None and bool(last.failure)
        ask = CellAsk(pool, last.id if last is not None and failed else f"{pool}:{now:.3f}", now, reason)
        self._directory.capacity.keep_ask(ask, self._leadership)
        fault_point("capacity.asked")
        return self.go_on(ask)

    def go_on(self, ask: CellAsk) -> CellAsk:
        """Do what is left of an ask; returns and raises as ``ask`` does."""
        failure = ""
        try:
            made = self._provision(ask)
            ask = replace(ask, cell=made.id)
            self._register(made, ask)
            self._directory.capacity.keep_ask(ask, self._leadership)
            fault_point("capacity.registered")
            self._wait_reached(made.id)
            self._join(made.id, ask)
            fault_point("capacity.joined")
        except FencedError:
            raise
        except CellplaneError as error:
            failure = str(error)
        ended = replace(ask, failure=failure, done_at=self._directory.now().timestamp())
        self._directory.capacity.keep_ask(ended, self._leadership)
        if failure:
            log.error("cell_not_made", pool=ask.pool, ask=ask.id, why=ask.reason, error=failure)
        else:
            log.warning("cell_made", pool=ask.pool, ask=ask.id, why=ask.reason, cell=ask.cell)
        return ended

    def _provision(self, ask: CellAsk) -> CellInstance:
        with self._directory.snapshot() as snapshot:
            outline = snapshot.outline
        pool = outline.pools.get(ask.pool)
        if pool is None:
            raise ProvisionError(f"there is no pool {ask.pool!r} any more: its ask is given up")
        siblings = [outline.cells[each] for each in pool.cells]
        try:
            made = one_more(self._provisioner, siblings, outline.cells, pool=pool.name, ask_id=ask.id)
        except CellplaneError:
            raise
        except Exception as error:
            # Of another's library: the ask ends with it, so that others get their turn.
            raise ProvisionError(f"the provisioner failed: {type(error).__name__}: {error}") from error
        fault_point("capacity.provisioned")
        return made

    def _register(self, made: CellInstance, ask: CellAsk) -> None:
        request = made.request
        with self._changing(ask) as transaction:
            known = transaction.outline.cells.get(made.id)
            if known is None:
                cell = Cell(
                    made.id,
                    made.address,
                    made.port,
                    region=request.region,
                    zone=request.zone,
                    jurisdiction=request.jurisdiction,
                    capacity=request.capacity,
                    release=request.release,
                    status=CellStatus.PROVISIONING,
                )
            else:
                cell = replace(known, address=made.address, port=made.port)
            if cell != known:
                transaction.put_cell(cell)
        self._changed()

    def _wait_reached(self, cell_id: str) -> None:
        """Wait until a router reaches it; where none reports, nobody is waited for."""
        deadline = self._clock() + self._settings.reach_timeout_seconds
        while (health := self._health()) and not health.get(cell_id, False):
            if self._clock() > deadline:
                raise ProvisionError(
                    f"{cell_id} runs, but routers do not reach it in {self._settings.reach_timeout_seconds:g} s: see "
                    "`cellplane cells` and `cellplane routers`; it is asked for again"
                )
            self._sleep(self._settings.reach_poll_seconds)

    def _join(self, cell_id: str, ask: CellAsk) -> None:
        with self._changing(ask) as transaction:
            cell = transaction.outline.cells.get(cell_id)
            pool = transaction.outline.pools.get(ask.pool)
            if cell is None or pool is None:
                raise ProvisionError(f"{cell_id} or pool {ask.pool!r} was removed meanwhile: the ask is given up")
            if cell.status is CellStatus.PROVISIONING:
                transaction.set_status(cell_id, CellStatus.ACTIVE)
            if cell_id not in pool.cells:
                transaction.put_pool(replace(pool, cells=(*pool.cells, cell_id)))
        self._changed()

    def _changing(self, ask: CellAsk) -> AbstractContextManager[Transaction]:
        author = Author(ACTOR, f"one more cell for pool {ask.pool}: {ask.reason}")
        return self._directory.changing(author, leadership=self._leadership)
