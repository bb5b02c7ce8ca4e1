"""Lives of cells and assignments of tenants, in any order, against a model that says what may be."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cellplane.directory import Author
from cellplane.errors import ConflictError, NotFoundError, ValidationError
from cellplane.model import Cell, CellStatus, Fleet, Pool, Tenant
from cellplane.model.lifecycle import NEXT
from e2e_app.servers import Postgres
from support.depth import examples
from support.directory import Directory
from unit.databases import drop_database, new_database, running

CELLS = ("cell-1", "cell-2", "cell-3", "cell-4")
POOLS = ("default", "other")
TENANTS = ("t-1", "t-2", "t-3", "t-4", "t-5")
AUTHOR = Author("test")

cells = st.sampled_from(CELLS)
tenants = st.sampled_from(TENANTS)
statuses = st.sampled_from(list(CellStatus))
STAYING = {CellStatus.ACTIVE, CellStatus.LOCKED}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with running(tmp_path_factory.mktemp("postgres")) as server:
        yield server


class DirectoryMachine(RuleBasedStateMachine):
    """A directory, and what it should say."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Directory(self.begin_location())
        self.status: dict[str, CellStatus] = {}
        self.pools: dict[str, tuple[str, ...]] = {}
        self.shards: dict[str, tuple[str, ...]] = {}
        self.epoch = 0
        self.seen: dict[int, dict[str, tuple[str, ...]]] = {}

    def teardown(self) -> None:
        self.directory.close()
        self.end_location()

    def begin_location(self) -> Path | str:
        """Where there is an empty directory."""
        self._folder = tempfile.TemporaryDirectory()
        return Path(self._folder.name) / "directory.sqlite3"

    def end_location(self) -> None:
        """Remove it."""
        self._folder.cleanup()

    @initialize()
    def begin(self) -> None:
        two = [Cell(cell, "127.0.0.1", 1) for cell in CELLS[:2]]
        resources: list[Fleet | Cell | Pool | Tenant] = [Fleet("shop"), *two, Pool("default", CELLS[:2])]
        self.directory.apply(resources, actor="test")
        self.status = dict.fromkeys(CELLS[:2], CellStatus.ACTIVE)
        self.pools = {"default": CELLS[:2]}

    def _assigned(self, cell: str) -> int:
        return sum(cell in shard for shard in self.shards.values())

    def _may(self, cell: str, after: CellStatus, *, force: bool) -> bool:
        before = self.status[cell]
        if after is before:
            return True
        if after not in NEXT[before]:
            return False
        named = [members for members in self.pools.values() if cell in members]
        if after is CellStatus.RETIRED:
            return not self._assigned(cell) and not named
        if after in {CellStatus.DRAINING, CellStatus.MAINTENANCE} and not force:
            return all(any(self.status[other] in STAYING for other in members if other != cell) for members in named)
        return True

    @rule(cell=cells)
    def create(self, cell: str) -> None:
        if cell not in self.status:
            self.directory.put_cell(Cell(cell, "127.0.0.1", 1), actor="test")
            self.status[cell] = CellStatus.ACTIVE

    @rule(cell=cells, after=statuses, force=st.booleans())
    def lead(self, cell: str, after: CellStatus, force: bool) -> None:
        if cell not in self.status:
            with pytest.raises(NotFoundError), self.directory.changing(AUTHOR) as transaction:
                transaction.set_status(cell, after, force=force)
        elif self._may(cell, after, force=force):
            with self.directory.changing(AUTHOR) as transaction:
                transaction.set_status(cell, after, force=force)
            self.status[cell] = after
        else:
            with pytest.raises(ConflictError), self.directory.changing(AUTHOR) as transaction:
                transaction.set_status(cell, after, force=force)

    @rule(cell=cells, after=statuses)
    def put_with_a_status(self, cell: str, after: CellStatus) -> None:
        if cell not in self.status:
            return
        if self._may(cell, after, force=False):
            self.directory.put_cell(Cell(cell, "127.0.0.1", 1, status=after), actor="test")
            self.status[cell] = after
        else:
            with pytest.raises(ConflictError):
                self.directory.put_cell(Cell(cell, "127.0.0.1", 1, status=after), actor="test")

    @rule(cell=cells)
    def remove(self, cell: str) -> None:
        named = any(cell in members for members in self.pools.values())
        if cell not in self.status:
            with pytest.raises(NotFoundError):
                self.directory.delete_cell(cell, actor="test")
        elif named or self._assigned(cell):
            with pytest.raises(ConflictError):
                self.directory.delete_cell(cell, actor="test")
        else:
            self.directory.delete_cell(cell, actor="test")
            del self.status[cell]

    @rule(pool=st.sampled_from(POOLS), members=st.lists(cells, min_size=1, max_size=3, unique=True))
    def put_pool(self, pool: str, members: list[str]) -> None:
        if not set(members) <= self.status.keys():
            with pytest.raises(ValidationError):
                self.directory.put_pool(Pool(pool, tuple(members)), actor="test")
        elif any(self.status[cell] is CellStatus.RETIRED for cell in members):
            with pytest.raises(ConflictError):
                self.directory.put_pool(Pool(pool, tuple(members)), actor="test")
        else:
            self.directory.put_pool(Pool(pool, tuple(members)), actor="test")
            self.pools[pool] = tuple(members)

    @rule(tenant=tenants, shard=st.lists(cells, max_size=2, unique=True))
    def assign(self, tenant: str, shard: list[str]) -> None:
        may = all(self.status.get(cell, CellStatus.RETIRED) is not CellStatus.RETIRED for cell in shard)
        if may:
            self.directory.put_tenant(Tenant(tenant, tuple(shard)), actor="test")
            self.shards[tenant] = tuple(shard)
        else:
            with pytest.raises(ValidationError):
                self.directory.put_tenant(Tenant(tenant, tuple(shard)), actor="test")

    @rule(tenant=tenants)
    def forget(self, tenant: str) -> None:
        if tenant in self.shards:
            self.directory.delete_tenant(tenant, actor="test")
            del self.shards[tenant]
        else:
            with pytest.raises(NotFoundError):
                self.directory.delete_tenant(tenant, actor="test")

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        epoch = data.draw(st.sampled_from(sorted(self.seen)))
        with self.directory.past(epoch) as past:
            assert {record.tenant.id: record.tenant.shard for record in past.tenants()} == self.seen[epoch]

    @invariant()
    def says_what_it_should(self) -> None:
        if not self.pools:
            return
        with self.directory.snapshot() as snapshot:
            epoch = snapshot.epoch()
            found = {record.tenant.id: record.tenant.shard for record in snapshot.all_tenants()}
            assert {cell.id: cell.status for cell in snapshot.outline.cells.values()} == self.status
            assert {pool.name: pool.cells for pool in snapshot.outline.pools.values()} == self.pools
            assert snapshot.assigned_tenants() == {cell: self._assigned(cell) for cell in self.status}
        assert found == self.shards
        assert epoch >= self.epoch, "epochs only grow"
        self.epoch = epoch
        self.seen[epoch] = dict(self.shards)
        retired = {cell for cell, status in self.status.items() if status is CellStatus.RETIRED}
        assert retired.isdisjoint(cell for shard in self.shards.values() for cell in shard)
        assert retired.isdisjoint(cell for members in self.pools.values() for cell in members)


def test_on_sqlite() -> None:
    run_state_machine_as_test(
        DirectoryMachine, settings=settings(max_examples=examples(13), stateful_step_count=30, deadline=None)
    )


def test_on_postgresql(postgres: Postgres) -> None:
    class OnPostgres(DirectoryMachine):
        def begin_location(self) -> str:
            self._url = new_database(postgres)
            return self._url

        def end_location(self) -> None:
            drop_database(postgres, self._url)

    run_state_machine_as_test(
        OnPostgres, settings=settings(max_examples=examples(7), stateful_step_count=30, deadline=None)
    )
