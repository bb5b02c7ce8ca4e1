"""Applies resources: what of them the directory does not say yet becomes one change, and is reported with its moves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cellplane.control.apply_schemas import Applied, ApplySpec
from cellplane.control.differences import State, differences, with_tenants
from cellplane.directory import Directory
from cellplane.directory.applying import apply_all
from cellplane.directory.transaction import Transaction
from cellplane.errors import ConflictError, ValidationError
from cellplane.manifest.changes import Action, changes, wanted
from cellplane.manifest.kinds import KINDS, Kind, spec_path
from cellplane.manifest.moves import Moves
from cellplane.manifest.resources import Resource, parse_resource
from cellplane.model import Tenant, Topology

MAX_TRIES = 3
"""How often an apply that names no base epoch is planned anew, where others change the directory meanwhile."""


Change = Callable[..., Applied]


def apply(directory: Directory, spec: ApplySpec, change: Change, *, dry_run: bool) -> Applied:
    """Make the directory what the resources say, or only find out what that would change.

    Args:
        change: makes a change of the directory (``api.asking.Changing.change``).

    Raises:
        ValidationError: with the path of the first field that breaks a rule, such as ``Cell/cell-2.spec.port``.
        ConflictError: the directory is not at the base epoch, or refuses a change.
    """
    resources = [parse_resource(each.kind, each.name, each.spec) for each in spec.resources]
    tries = MAX_TRIES if spec.base_epoch is None else 1
    while True:
        plan = _Plan.of(directory, resources, spec)
        tries -= 1
        try:
            return plan.carry_out(change, dry_run=dry_run)
        except ConflictError:
            if tries == 0 or directory.epoch() == plan.before.epoch:
                raise


def applied(before: State, transaction: Transaction, *, dry_run: bool) -> Applied:
    """The answer to what a transaction changed. It comes before the commit: what cannot be reported is not done."""
    report: dict[str, Any] = {"changes": [], "moves": Moves().as_json(0)}
    if transaction.changes:
        after = State.of(transaction.snapshot())
        assert after.topology is not None, "what is wanted has a fleet"
        after.topology.validate()
        report.update(differences(before, after, transaction.changes))
    return Applied(epoch=before.epoch if dry_run else transaction.epoch, **report)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What of the resources the directory does not say at one epoch."""

    before: State
    puts: list[Any]
    kept_shards: frozenset[str]
    deletions: list[tuple[str, str]]

    @classmethod
    def of(cls, directory: Directory, resources: Sequence[Resource], spec: ApplySpec) -> "_Plan":
        named = [resource.name for resource in resources if resource.kind is Kind.TENANT]
        with directory.snapshot() as snapshot:
            epoch = snapshot.epoch()
            if spec.base_epoch is not None and spec.base_epoch != epoch:
                raise ConflictError(
                    f"the directory is at epoch {epoch}, not {spec.base_epoch}: look at the changes since, and apply "
                    "again"
                )
            before = State.of(snapshot)
            known = snapshot.all_tenants() if spec.prune and named else snapshot.named_tenants(named).values()
            tenants = tuple(record.tenant for record in known)
        current = None if before.topology is None else with_tenants(before.topology, tenants)
        after = wanted(current, resources, prune=spec.prune)
        puts, deletions = _differences(current, after)
        shards = {tenant.id: tenant.shard for tenant in after.tenants}
        says_shard = {
            each.name
            for each in resources
            # Where it is to have no cells and has some, they are its pool's choice (``wanted``).
            if isinstance(each.value, Tenant) and "shard" in each.named and each.value.shard == shards[each.name]
        }
        return cls(before, puts, frozenset(named) - says_shard, deletions)

    def carry_out(self, change: Change, *, dry_run: bool) -> Applied:
        def do(transaction: Transaction) -> Applied:
            apply_all(transaction, self.puts, self.deletions, self.kept_shards, self.before.epoch)
            transaction.finish()
            return applied(self.before, transaction, dry_run=dry_run)

        try:
            return change(Applied, do, is_dry=dry_run, is_long=True)
        except ValidationError as error:
            raise error.at(self._path(error.field)) from error

    def _path(self, field: str) -> str:
        """What a manifest calls a field that an error of the directory names."""
        for value in self.puts:
            kind = next(kind for kind, declared in KINDS.items() if isinstance(value, declared.of))
            name = getattr(value, KINDS[kind].name)
            prefix = "fleet" if kind is Kind.FLEET else f"{KINDS[kind].collection}.{name}"
            if field.startswith(f"{prefix}."):
                return f"{kind.value}/{name}.{spec_path(kind, field.removeprefix(f'{prefix}.'))}"
        return field


def _differences(current: Topology | None, after: Topology) -> tuple[list[Any], list[tuple[str, str]]]:
    """The resources to put, and kind and id of those to remove."""
    values = {(Kind.FLEET, after.fleet.name): after.fleet}
    for kind in (Kind.CELL, Kind.POOL, Kind.TENANT):
        values |= {(kind, getattr(value, KINDS[kind].name)): value for value in getattr(after, KINDS[kind].collection)}
    puts, deletions = [], []
    for change in changes(current, after):
        if change.action is Action.DELETE:
            deletions.append((change.kind.value.lower(), change.name))
        else:
            puts.append(values[change.kind, change.name])
    return puts, deletions
