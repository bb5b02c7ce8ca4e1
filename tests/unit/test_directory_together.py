"""Changes that come at once share a commit: each is done or refused by itself, and none before all are on disk."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event, insert, text

from cellplane.directory import Author, schema
from cellplane.directory.preconditions import Precondition
from cellplane.directory.settings import DatabaseSettings
from cellplane.directory.transaction import Transaction
from cellplane.errors import (
    BusyError,
    CellplaneError,
    DirectoryError,
    NotFoundError,
    PreconditionError,
    ValidationError,
)
from cellplane.model import Cell, Fleet, Pool
from support.directory import Directory

CHANGES = 12
WAIT_SECONDS = 10.0
ANN = Author("ann")

Do = Callable[[Transaction], object]


@pytest.fixture
def directory(location: Path | str) -> Iterator[Directory]:
    found = Directory(location)
    with found.changing(ANN) as transaction:
        transaction.put_fleet(Fleet("acme"))
        transaction.put_cell(Cell("cell-1", "127.0.0.1", 1))
        transaction.put_pool(Pool("default", ("cell-1",)))
    yield found
    found.close()


def together(directory: Directory, *asked: Do) -> list[object]:
    """What each of these came to, asked in this order while somebody else writes, so that they wait for one commit."""

    def ask(do: Do) -> object:
        try:
            return directory.change(ANN, do)
        except CellplaneError as error:
            return error

    waiting = directory._together._waiting
    with ThreadPoolExecutor(len(asked)) as threads:
        with directory.changing(ANN):
            answers = []
            for place, do in enumerate(asked):
                answers.append(threads.submit(ask, do))
                until = time.monotonic() + WAIT_SECONDS
                while len(waiting) <= place:
                    assert time.monotonic() < until
                    time.sleep(0.001)
        return [answer.result() for answer in answers]


def commits(directory: Directory) -> list[object]:
    """An item for each commit from now on."""
    found: list[object] = []
    event.listen(directory._database._writer, "commit", found.append)
    return found


def assigning(tenant: str) -> Do:
    return lambda transaction: transaction.change_tenant(tenant, {"shard": ("cell-1",)}).epoch


def removing(tenant: str) -> Do:
    return lambda transaction: transaction.delete_tenant(tenant)


def test_all_are_done_each_with_an_epoch_of_its_own(directory: Directory) -> None:
    before, committed = directory.epoch(), commits(directory)
    found = together(directory, *(assigning(f"t-{n}") for n in range(CHANGES)))
    assert len(committed) == 2, "that of who wrote, and theirs"
    assert found == list(range(before + 1, before + 1 + CHANGES))
    assert directory.epoch() == before + CHANGES
    with directory.snapshot() as snapshot:
        assert [record.tenant.id for record in snapshot.all_tenants()] == sorted(f"t-{n}" for n in range(CHANGES))
        assert snapshot.assigned_tenants() == {"cell-1": CHANGES}


def test_one_that_is_refused_takes_none_with_it(directory: Directory) -> None:
    def half(transaction: Transaction) -> None:
        transaction.change_tenant("half", {"shard": ("cell-1",)})
        transaction.finish()
        transaction.delete_tenant("nobody")

    before = directory.epoch()
    found = together(directory, assigning("t-1"), half, assigning("t-2"), removing("nobody"), assigning("t-3"))
    assert [isinstance(each, NotFoundError) for each in found] == [False, True, False, True, False]
    assert directory.epoch() == before + 3
    with directory.snapshot() as snapshot:
        assert [record.tenant.id for record in snapshot.all_tenants()] == ["t-1", "t-2", "t-3"]
        assert snapshot.assigned_tenants() == {"cell-1": 3}


def test_cells_of_one_that_is_refused_are_not_those_of_the_next(directory: Directory) -> None:
    def refused(transaction: Transaction) -> None:
        transaction.put_cell(Cell("cell-2", "127.0.0.1", 2))
        transaction.finish()
        raise NotFoundError("no")

    def put(name: str) -> Do:
        return lambda transaction: transaction.put_cell(Cell(name, "127.0.0.1", 3))

    together(directory, refused, put("cell-3"), refused, put("cell-4"))
    with directory.snapshot() as snapshot:
        assert list(snapshot.outline.cells) == ["cell-1", "cell-3", "cell-4"]


def test_where_more_come_than_share_a_commit_the_rest_have_the_next(location: Path | str) -> None:
    directory = Directory(location, settings=DatabaseSettings(changes_together=5))
    with directory.changing(ANN) as transaction:
        transaction.put_fleet(Fleet("acme"))
        transaction.put_cell(Cell("cell-1", "127.0.0.1", 1))
        transaction.put_pool(Pool("default", ("cell-1",)))
    committed = commits(directory)
    together(directory, *(assigning(f"t-{n}") for n in range(CHANGES)))
    assert len(committed) == 1 + 3
    assert directory.assigned_tenants() == {"cell-1": CHANGES}
    directory.close()


def nul(transaction: Transaction) -> None:
    """Text that PostgreSQL does not hold: only SQLite can look."""
    transaction.require("tenant", "a\0b", Precondition(frozenset({1})))


def twice(transaction: Transaction) -> None:
    transaction._connection.execute(insert(schema.loads).values(cell="cell-1"))


def nowhere(transaction: Transaction) -> None:
    transaction._connection.execute(text("SELECT * FROM nowhere"))


def unbound(transaction: Transaction) -> None:
    transaction._connection.execute(text("SELECT :nothing"))


@pytest.mark.parametrize(
    ("poison", "refusals"),
    [
        (nul, (ValidationError, PreconditionError)),
        (twice, (DirectoryError,)),
        (nowhere, (DirectoryError,)),
        (unbound, (DirectoryError,)),
    ],
)
def test_one_whose_statement_fails_is_refused_alone(
    directory: Directory, poison: Do, refusals: tuple[type[CellplaneError], ...]
) -> None:
    def poisoned(transaction: Transaction) -> None:
        transaction.put_cell(Cell("cell-9", "127.0.0.1", 9))
        transaction.change_tenant("poisoned", {"shard": ("cell-1",)})
        transaction.finish()
        poison(transaction)

    before, committed = directory.epoch(), commits(directory)
    first, refused, second, again, third = together(
        directory, assigning("t-1"), poisoned, assigning("t-2"), poisoned, assigning("t-3")
    )
    assert (first, second, third) == (before + 1, before + 2, before + 3)
    for each in (refused, again):
        assert isinstance(each, refusals)
        assert not isinstance(each, NotFoundError)
    assert len(committed) == 2
    assert [cell.id for cell in directory.cells()] == ["cell-1"]
    assert directory.assigned_tenants() == {"cell-1": 3}


def failing(transaction: Transaction) -> None:
    """The database dies, or its disk is full, in the middle of it."""
    transaction.put_cell(Cell("cell-9", "127.0.0.1", 9))
    transaction.finish()
    connection = transaction._connection
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    else:
        connection.execute(text("PRAGMA max_page_count = 1"))  # no more than it has
        connection.execute(text("CREATE TABLE too_large AS SELECT zeroblob(10000000)"))


def test_where_the_database_fails_all_are_refused_and_nothing_is_changed(directory: Directory) -> None:
    before, committed = directory.epoch(), commits(directory)
    found = together(directory, assigning("t-1"), failing, assigning("t-2"))
    (fate,) = set(found)
    assert isinstance(fate, DirectoryError)
    assert "nothing was changed" in str(fate)
    assert len(committed) == 1, "that of who wrote"
    assert directory.epoch() == before
    assert [cell.id for cell in directory.cells()] == ["cell-1"]
    if not directory.is_shared:
        with directory._database.writing() as connection:
            connection.execute(text("PRAGMA max_page_count = 1000000"))
    assert directory.change(ANN, assigning("t-3")) == before + 1


def test_who_waits_too_long_is_refused_and_changes_nothing(location: Path | str) -> None:
    directory = Directory(location, settings=DatabaseSettings(busy_timeout_ms=100))
    with directory.changing(ANN) as transaction:
        transaction.put_fleet(Fleet("acme"))
        transaction.put_cell(Cell("cell-1", "127.0.0.1", 1))
        transaction.put_pool(Pool("default", ("cell-1",)))

    def add(_: object) -> None:
        with pytest.raises(BusyError, match="nothing was changed: others write"):
            directory.change(ANN, assigning("late"))

    def import_(_: object) -> None:
        with pytest.raises(BusyError, match="nothing was changed: others write"), directory.changing(ANN, is_long=True):
            pytest.fail("another writes")

    with ThreadPoolExecutor(6) as threads, directory.changing(ANN) as transaction:
        transaction.put_cell(Cell("cell-2", "127.0.0.1", 2))
        list(threads.map(add, range(5)))
        threads.submit(import_, 0).result()
        assert not directory._together._waiting
    assert directory.assigned_tenants() == {"cell-1": 0, "cell-2": 0}
    assert directory.change(ANN, assigning("t-1")) == directory.epoch() == 5
    directory.close()


def test_who_waits_too_long_for_another_process_is_refused_too(location: Path | str) -> None:
    settings = DatabaseSettings(busy_timeout_ms=100)
    ours, theirs = Directory(location, settings=settings), Directory(location, settings=settings)
    with theirs.changing(ANN) as transaction:
        transaction.put_fleet(Fleet("acme"))
        with pytest.raises(BusyError, match="nothing was changed: others write"):
            ours.change(ANN, lambda late: late.put_fleet(Fleet("beta")))
    assert ours.fleet().name == "acme"
    ours.close()
    theirs.close()


def test_what_is_being_done_is_waited_for_however_long_it_takes(location: Path | str) -> None:
    directory = Directory(location, settings=DatabaseSettings(busy_timeout_ms=300))

    def slow(transaction: Transaction) -> str:
        transaction.put_fleet(Fleet("acme"))
        time.sleep(1)
        return "done"

    assert together(directory, slow, lambda _: "too") == ["done", "too"]
    directory.close()


def test_each_is_acknowledged_and_done_or_refused_and_not_done(location: Path | str) -> None:
    directory = Directory(location, settings=DatabaseSettings(busy_timeout_ms=30, changes_together=3))
    with directory.changing(ANN) as transaction:
        transaction.put_fleet(Fleet("acme"))
        transaction.put_cell(Cell("cell-1", "127.0.0.1", 1))
        transaction.put_pool(Pool("default", ("cell-1",)))

    def ask(tenant: str) -> str | None:
        def slow(transaction: Transaction) -> str:
            transaction.change_tenant(tenant, {"shard": ("cell-1",)})
            time.sleep(0.004)
            return tenant

        try:
            return directory.change(ANN, slow)
        except BusyError:
            return None

    asked = [f"t-{number}" for number in range(150)]
    with ThreadPoolExecutor(30) as threads:
        found = list(threads.map(ask, asked))
    assert {tenant for tenant in found if tenant is not None} == {
        record.tenant.id for record in directory.tenants(limit=1_000).items
    }
    assert None in found
    assert set(found) != {None}
    assert not directory._together._waiting
    directory.close()
