"""What the directory returns that is not of the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from cellplane.model import NO_POLICY, Policy, Tenant, TenantState

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list; ``next`` is what to ask ``after`` for the following one, None on the last."""

    items: tuple[Item, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """A tenant as the directory holds it.

    Attributes:
        tenant: the tenant.
        placed_pool: the pool it is in: its own, else that of the first rule that matches, else the default, unless
            another took it by overflow; None as long as there is no fleet.
        version: the epoch of its last change.
    """

    tenant: Tenant
    placed_pool: str | None
    version: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Placement:
    """What became of a change of a tenant.

    Attributes:
        record: the tenant as it is now.
        rule: name of the rule that chose its pool, None where none did.
        reason: why its shard is the one it is, in a few words.
        epoch: from which on it is so.
    """

    record: TenantRecord
    rule: str | None
    reason: str
    epoch: int


class Entry(NamedTuple):
    """What a table says of one tenant.

    Attributes:
        id: its partition key.
        placed_pool: as in TenantRecord.
        shard: ids of the cells it is assigned to, or of its quarantine cell; none where its slot places it.
        state: its state, and quarantined where it is active and in quarantine.
        policy: what it says itself.
    """

    id: str
    placed_pool: str
    shard: tuple[str, ...]
    state: TenantState
    policy: Policy = NO_POLICY


class ChangedTenant(NamedTuple):
    """A tenant that changed; ``entry`` is None where a table says nothing of it any more."""

    id: str
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """What the apps in cells are told, one thing of it.

    Attributes:
        id: of the setting (``model.configuration.Setting``), or ``flag/NAME``.
        said: ``{"value": …}`` of a setting, the rollout of a flag.
        version: the epoch of its last change.
    """

    id: str
    said: Mapping[str, Any]
    version: int


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes something, and why.

    Attributes:
        name: who asks.
        reason: why, in their words; none where they do not say.
        on_behalf_of: for whom, as they say: nobody has checked it.
    """

    name: str
    reason: str = ""
    on_behalf_of: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the change log.

    Attributes:
        epoch: its number, strictly increasing; also the epoch of the table that first contains it.
        at: when, UTC, ISO 8601.
        actor: who asked for it.
        reason: why, as they said.
        kind: fleet, cell, pool, tenant, quarantine or move (their id is the tenant's), config or table.
        id: of what was changed.
        action: put, delete, or, of a table, republish or allow; of a move the phase that it reached, or wish.
        before: the resource before, None where it was created.
        after: the resource after, None where it was deleted.
        on_behalf_of: for whom, as the actor said: nobody has checked it.
    """

    epoch: int
    at: str
    actor: str
    reason: str
    kind: str
    id: str
    action: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    on_behalf_of: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did, or would do.

    Attributes:
        epoch: of the directory afterwards.
        changes: entries of the change log, in order.
    """

    epoch: int
    changes: tuple[Change, ...]
