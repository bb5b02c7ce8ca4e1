"""Many changes at once: all of them or none, in whatever order they are named."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from cellplane.directory import Author
from cellplane.directory.applying import apply_all
from cellplane.errors import CellplaneError, ConflictError, DirectoryError, NoCellError, NotFoundError, ValidationError
from cellplane.model import (
    Cell,
    CellStatus,
    Fleet,
    JwtProvider,
    KeySource,
    KeySourceKind,
    Pool,
    Rule,
    StrategyName,
    Tenant,
)
from support.directory import Directory


@pytest.fixture
def directory(location: Path | str) -> Iterator[Directory]:
    directory = Directory(location)
    directory.apply(
        [
            Tenant("acme", ("cell-2",)),
            Pool("default", ("cell-1", "cell-2")),
            Fleet("shop"),
            Cell("cell-1", "127.0.0.1", 8001),
            Cell("cell-2", "127.0.0.1", 8002),
        ],
        actor="test",
    )
    yield directory
    directory.close()


def state(directory: Directory) -> Any:
    return directory.topology(), directory.loads(), directory.assigned_tenants(), directory.changes(limit=100)


def test_each_resource_has_its_entry_of_the_log(directory: Directory) -> None:
    assert [(entry.epoch, entry.kind, entry.id) for entry in directory.changes(limit=10)] == [
        (1, "pool", "default"),
        (2, "fleet", "shop"),
        (3, "cell", "cell-1"),
        (4, "cell", "cell-2"),
        (5, "tenant", "acme"),
    ]


def test_what_is_so_already_is_no_change(directory: Directory) -> None:
    applied = directory.apply([Fleet("shop"), Cell("cell-1", "127.0.0.1", 8001)], actor="test")
    assert (applied.epoch, applied.changes) == (5, ())


def test_a_cell_is_replaced_by_another_in_one_step(directory: Directory) -> None:
    puts: list[Any] = [
        Pool("default", ("cell-1", "cell-3")),
        Tenant("acme", ("cell-3",)),
        Cell("cell-3", "127.0.0.1", 8003),
    ]
    directory.apply(puts, [("cell", "cell-2")], actor="test")
    assert [cell.id for cell in directory.cells()] == ["cell-1", "cell-3"]
    assert directory.assigned_tenants() == {"cell-1": 0, "cell-3": 1}


def test_a_pool_and_its_tenants_are_renamed_in_one_step(directory: Directory) -> None:
    directory.apply([Pool("old", ("cell-1",)), Tenant("t", pool="old")], actor="test")
    directory.apply([Pool("new", ("cell-1",)), Tenant("t", pool="new")], [("pool", "old")], actor="test")
    assert directory.tenant("t").placed_pool == "new"


REFUSED: list[tuple[list[Any], list[tuple[str, str]], type[CellplaneError], str]] = [
    ([Pool("default", ("cell-1", "cell-9"))], [], ValidationError, r"^pools\.default\.cells\[1\]"),
    ([Cell("cell-3", "127.0.0.1", 0)], [], ValidationError, r"^cell\.port"),
    ([Fleet("shop", default_pool="none")], [], ValidationError, r"^fleet\.default_pool"),
    ([Fleet("other")], [], ConflictError, "'shop'"),
    ([Fleet("shop", (KeySource(KeySourceKind.JWT_CLAIM, "c"),))], [], ValidationError, r"^fleet\.key_sources\[0\]"),
    ([Fleet("shop", (KeySource(KeySourceKind.HEADER, "x"),))], [], ValidationError, r"^fleet\.key_sources\[0\]\.tru"),
    ([Fleet("shop", jwt=(JwtProvider("id", "i"),))], [], ValidationError, r"^fleet\.jwt\[0\]\.jwks_url"),
    ([Tenant("t", ("cell-1", "cell-9"))], [], ValidationError, r"^tenants\.t\.shard\[1\]"),
    ([Tenant("t", pool="none")], [], ValidationError, r"^tenants\.t\.pool: .* there are default"),
    ([Tenant("t", jurisdiction="eu")], [], ValidationError, r"^tenants\.t\.jurisdiction"),
    ([Tenant("t"), Tenant("t", ("cell-1",))], [], ValidationError, r"^tenants\.t: stands twice"),
    ([Tenant("acme")], [("tenant", "acme")], ValidationError, r"^tenants\.acme: stands twice"),
    ([], [("cell", "cell-1")], ConflictError, "pool 'default'"),
    ([Pool("default", ("cell-1",))], [("cell", "cell-2")], ConflictError, "tenant 'acme'"),
    ([], [("pool", "default")], ConflictError, "default"),
    ([], [("tenant", "nobody")], NotFoundError, "nobody"),
    ([], [("pool", "nothing")], NotFoundError, "nothing"),
    (
        [
            Fleet("shop", rules=(Rule("gold", "big", tiers=("gold",)),)),
            Cell("cell-3", "127.0.0.1", 1, status=CellStatus.LOCKED),
            Pool("big", ("cell-3",), StrategyName.EXPLICIT),
            Tenant("a", tier="free"),
            Tenant("z", tier="gold"),
        ],
        [],
        NoCellError,
        "'z' is not placed",
    ),
]


@pytest.mark.parametrize(("puts", "deletions", "error", "message"), REFUSED)
def test_one_that_cannot_be_refuses_all(
    directory: Directory, puts: list[Any], deletions: list[tuple[str, str]], error: type[CellplaneError], message: str
) -> None:
    before = state(directory)
    others: list[Any] = [Cell("cell-8", "127.0.0.1", 8008), Tenant("other", ("cell-1",))]
    with pytest.raises(error, match=message):
        directory.apply([*others, *puts], deletions, actor="test")
    assert state(directory) == before


def test_a_dry_run_says_all_and_changes_nothing(directory: Directory) -> None:
    before = state(directory)
    with directory.changing(Author("test"), dry_run=True) as transaction:
        apply_all(transaction, [Tenant("t"), Tenant("u")], [("tenant", "acme")])
        transaction.finish()
        seen = [record.tenant.id for record in transaction.snapshot().all_tenants()]
    assert [(change.id, change.action) for change in transaction.changes] == [
        ("acme", "delete"),
        ("t", "put"),
        ("u", "put"),
    ]
    assert seen == ["t", "u"]
    assert state(directory) == before
    assert directory.put_tenant(Tenant("t"), actor="test") == 6


def test_nothing_is_done_where_what_follows_it_fails(directory: Directory) -> None:
    before = state(directory)
    with pytest.raises(KeyError, match="6 1"), directory.changing(Author("test")) as transaction:  # noqa: PT012
        apply_all(transaction, [Tenant("t")])
        transaction.finish()
        raise KeyError(f"{transaction.snapshot().epoch()} {len(transaction.changes)}")
    assert state(directory) == before


def test_another_epoch_than_the_base_is_refused(directory: Directory) -> None:
    with pytest.raises(ConflictError, match="at epoch 5, not 4"):
        directory.apply([Tenant("t")], actor="test", base_epoch=4)
    assert directory.apply([Tenant("t")], actor="test", base_epoch=5).epoch == 6


def test_a_shard_that_is_kept_stays_and_one_that_is_put_counts(directory: Directory) -> None:
    directory.apply([Tenant("acme", tier="gold")], actor="test", kept_shards={"acme"})
    assert directory.tenant("acme").tenant.shard == ("cell-2",)
    directory.apply([Tenant("acme", tier="gold")], actor="test")
    assert directory.tenant("acme").tenant.shard == ()


@pytest.fixture
def dedicated(directory: Directory) -> Directory:
    """With a dedicated pool ``ded`` of d-1 and d-2."""
    cells = [Cell(name, "127.0.0.1", 1) for name in ("d-1", "d-2")]
    directory.apply([*cells, Pool("ded", ("d-1", "d-2"), StrategyName.EXPLICIT, dedicated=True)], actor="test")
    return directory


def test_what_a_pool_chooses_is_no_cell_that_another_tenant_names(dedicated: Directory) -> None:
    dedicated.apply(
        [Tenant("acme", pool="ded"), Tenant("bolt", ("d-1",), pool="ded")], actor="test", kept_shards={"acme"}
    )
    assert dedicated.shards_of_pool("ded") == {"acme": ("d-2",), "bolt": ("d-1",)}


def test_tenants_with_dedicated_cells_swap_them(dedicated: Directory) -> None:
    dedicated.apply([Tenant("acme", ("d-1",), pool="ded"), Tenant("bolt", ("d-2",), pool="ded")], actor="test")
    dedicated.apply([Tenant("acme", ("d-2",), pool="ded"), Tenant("bolt", ("d-1",), pool="ded")], actor="test")
    assert dedicated.shards_of_pool("ded") == {"acme": ("d-2",), "bolt": ("d-1",)}


def test_a_cell_is_named_by_one_and_left_by_another_in_one_step(dedicated: Directory) -> None:
    dedicated.apply([Tenant("acme", ("d-1",), pool="ded")], actor="test")
    dedicated.apply([Tenant("bolt", ("d-1",), pool="ded"), Tenant("acme", pool="ded")], actor="test")
    assert dedicated.shards_of_pool("ded") == {"acme": ("d-2",), "bolt": ("d-1",)}


def test_two_that_name_one_dedicated_cell_are_refused(dedicated: Directory) -> None:
    before = state(dedicated)
    with pytest.raises(
        ConflictError, match="the shard d-1 of tenant 'x' would share more than 0 cells with that of 'y'"
    ):
        dedicated.apply([Tenant("y", ("d-1",), pool="ded"), Tenant("x", ("d-1",))], actor="test")
    assert state(dedicated) == before


def test_shards_that_share_too_much_only_on_the_way_are_accepted(directory: Directory) -> None:
    cells = [Cell(f"s-{number}", "127.0.0.1", 1) for number in range(4)]
    names = tuple(cell.id for cell in cells)
    wide = Pool("wide", names, StrategyName.EXPLICIT, shard_size=2, max_overlap=0)
    one, other = names[:2], names[2:]
    directory.apply([*cells, wide, Tenant("a", one, pool="wide"), Tenant("b", other, pool="wide")], actor="test")
    directory.apply([Tenant("a", other, pool="wide"), Tenant("b", one, pool="wide")], actor="test")
    assert directory.shards_of_pool("wide") == {"a": other, "b": one}
    with pytest.raises(ConflictError, match="share more than 0 cells"):
        directory.apply([Tenant("a", (names[0], names[2]), pool="wide")], actor="test")


APPLIER = """
import sys
from pathlib import Path
from cellplane.directory import Author, Directory
from cellplane.directory.applying import apply_all
from cellplane.model import Cell, Fleet, Pool, Tenant
directory = Directory(Path(sys.argv[1]))
with directory.changing(Author("writer"), is_long=True) as transaction:
    apply_all(transaction, [Fleet("shop"), Cell("cell-1", "127.0.0.1", 1), Pool("default", ("cell-1",))])
for number in range(1000):
    print(number, flush=True)
    with directory.changing(Author("writer"), is_long=True) as transaction:
        apply_all(transaction, [Tenant(f"t-{number}-{each}", ("cell-1",)) for each in range(3000)])
"""


def test_an_apply_that_is_killed_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite3"
    writer = subprocess.Popen([sys.executable, "-c", APPLIER, path], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(3):
        writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    directory = Directory(path)
    count = directory.assigned_tenants()["cell-1"]
    assert count in {6000, 9000}
    assert directory.epoch() == 3 + count
    assert sum(1 for _ in directory.entries()) == count
    directory.close()


@pytest.mark.parametrize("version", [0, *(pytest.param(version, marks=pytest.mark.long) for version in (3, 5))])
def test_a_database_of_another_schema_is_a_clear_error(tmp_path: Path, version: int) -> None:
    path = tmp_path / "directory.sqlite3"
    engine = create_engine(f"sqlite+pysqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE tenants (id VARCHAR PRIMARY KEY, cell VARCHAR, state VARCHAR)")
        connection.exec_driver_sql(f"PRAGMA user_version = {version}")
    engine.dispose()
    with pytest.raises(DirectoryError, match=rf"version {version}, this release can take over version 4"):
        Directory(path)
    command = [sys.executable, "-m", "cellplane.control", "--state", str(tmp_path), "--port", "1"]
    control = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert control.returncode == 1
    assert control.stderr.startswith(f"Error: {path} was written by an older release")
    assert "Traceback" not in control.stderr + control.stdout
