"""The directory as it was: put together from the log alone, at any epoch, and made so again."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cellplane.directory import Author, Entry, Past, Snapshot
from cellplane.errors import ConflictError, NotFoundError, ValidationError
from cellplane.model import Cell, CellStatus, Fleet, Load, Policy, Pool, QuarantinePolicy, Rule, StrategyName, Tenant
from cellplane.placement.quarantine import Asked
from support.directory import Directory

AUTHOR = Author("test")
RULES = (
    (),
    (Rule("gold", "big", tiers=("gold",)),),
    (Rule("gold", "big", tiers=("gold",)), Rule("iron", "extra", tiers=("iron",))),
    (Rule("named", "extra", id_pattern="t-1*"),),
)


@dataclass(frozen=True)
class Seen:
    """What a directory said at an epoch."""

    outline: Any
    tenants: dict[str, tuple[Tenant, str | None]]
    entries: tuple[Entry, ...]


def seen(source: Snapshot | Past) -> Seen:
    records = source.all_tenants() if isinstance(source, Snapshot) else source.tenants()
    return Seen(
        source.outline,
        {record.tenant.id: (record.tenant, record.placed_pool) for record in records},
        tuple(source.entries()),
    )


@pytest.fixture
def directory(location: Path | str) -> Iterator[Directory]:
    directory = Directory(location)
    yield directory
    directory.close()


def live(directory: Directory, seed: int, steps: int) -> dict[int, Seen]:
    """Change a directory at random, and note what it says at each epoch at which a transaction ended."""
    rng = random.Random(seed)
    found: dict[int, Seen] = {}
    cells = [Cell(f"cell-{n}", "127.0.0.1", 8000 + n) for n in range(1, 6)]
    fleet = Fleet("shop", quarantine=QuarantinePolicy(cells=("cell-5",)))
    pools = [
        Pool("default", ("cell-1", "cell-2")),
        Pool("big", ("cell-3", "cell-4"), StrategyName.EXPLICIT),
        Pool("extra", ("cell-2", "cell-4")),
    ]
    directory.apply([fleet, *cells, *pools], actor="test")
    for _ in range(steps):
        with directory.snapshot() as snapshot:
            found[snapshot.epoch()] = seen(snapshot)
        tenant = f"t-{rng.randrange(16)}"
        try:
            with directory.changing(AUTHOR) as transaction:
                match rng.choice(
                    ("tenant", "tenant", "tenant", "delete", "rules", "cell", "pool", "quarantine", "two")
                ):
                    case "tenant":
                        fields: dict[str, Any] = rng.choice(
                            (
                                {"tier": rng.choice(("gold", "iron", ""))},
                                {"shard": (rng.choice(cells[:4]).id,)},
                                {"shard": ()},
                                {"load": Load(rps=rng.randrange(9))},
                                {"policy": Policy(rps=rng.randrange(1, 9))},
                            )
                        )
                        transaction.change_tenant(tenant, fields)
                    case "delete":
                        transaction.delete_tenant(tenant)
                    case "rules":
                        current = transaction.snapshot().outline.fleet
                        assert current is not None
                        transaction.put_fleet(Fleet("shop", rules=rng.choice(RULES), quarantine=current.quarantine))
                    case "cell":
                        cell = rng.choice(cells)
                        status = rng.choice((CellStatus.ACTIVE, CellStatus.LOCKED))
                        transaction.put_cell(Cell(cell.id, cell.address, cell.port + 1, status=status))
                    case "pool":
                        transaction.put_pool(Pool("extra", rng.choice((("cell-2", "cell-4"), ("cell-2",)))))
                    case "quarantine":
                        transaction.quarantine(Asked(tenant, "it fails", seconds=rng.choice((60.0, 600.0))))
                    case "two":
                        transaction.change_tenant(tenant, {"tier": "gold"})
                        transaction.delete_tenant(tenant)
        except (ConflictError, NotFoundError, ValidationError):
            continue
    with directory.snapshot() as snapshot:
        found[snapshot.epoch()] = seen(snapshot)
    return found


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_every_epoch_is_put_together_as_it_was(directory: Directory, seed: int) -> None:
    found = live(directory, seed, 100)
    assert len(found) > 40
    for epoch, expected in found.items():
        with directory.past(epoch) as past:
            assert past.epoch() == epoch
            assert seen(past) == expected
            assert past.named_tenants(expected.tenants) == {record.tenant.id: record for record in past.tenants()}


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_every_epoch_can_be_so_again(directory: Directory, seed: int) -> None:
    found = live(directory, seed, 60)
    rng = random.Random(seed)
    for epoch in rng.sample(sorted(found), 12):
        before = directory.epoch()
        with directory.changing(AUTHOR) as transaction:
            transaction.restore(transaction.past(epoch))
        with directory.snapshot() as snapshot:
            now = seen(snapshot)
            assert snapshot.epoch() >= before, "a new epoch, never an old one"
        assert (now.outline, now.tenants) == (found[epoch].outline, found[epoch].tenants)
        check_sums(directory, now)


def check_sums(directory: Directory, now: Seen) -> None:
    assigned = dict.fromkeys(now.outline.cells, 0)
    for tenant, _ in now.tenants.values():
        for cell in tenant.shard:
            assigned[cell] += 1
    assert directory.assigned_tenants() == assigned


def test_a_roll_back_brings_back_what_was_removed_and_removes_what_came(directory: Directory) -> None:
    directory.apply(
        [Fleet("shop"), Cell("cell-1", "127.0.0.1", 1), Cell("cell-2", "127.0.0.1", 2), Pool("default", ("cell-1",))],
        actor="test",
    )
    directory.put_tenant(Tenant("acme", ("cell-2",)), actor="test")
    epoch = directory.epoch()
    directory.delete_tenant("acme", actor="test")
    directory.delete_cell("cell-2", actor="test")
    directory.put_cell(Cell("cell-9", "127.0.0.1", 9), actor="test")
    directory.put_pool(Pool("new", ("cell-9",)), actor="test")
    directory.put_tenant(Tenant("late", ("cell-9",)), actor="test")
    with directory.changing(AUTHOR) as transaction:
        transaction.restore(transaction.past(epoch))
    assert [cell.id for cell in directory.cells()] == ["cell-1", "cell-2"]
    assert [pool.name for pool in directory.pools()] == ["default"]
    assert directory.tenant("acme").tenant.shard == ("cell-2",)
    assert directory.assigned_tenants() == {"cell-1": 0, "cell-2": 1}
    with pytest.raises(NotFoundError):
        directory.tenant("late")


@pytest.mark.parametrize("epoch", [0, -1, 7, 2**62])
def test_an_epoch_that_never_was_is_refused(directory: Directory, epoch: int) -> None:
    directory.put_fleet(Fleet("shop"), actor="test")
    with pytest.raises(NotFoundError, match=rf"there is no epoch {epoch}: expected 1 to 1"), directory.past(epoch):
        pass
