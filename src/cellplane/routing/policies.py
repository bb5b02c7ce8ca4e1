"""POLICIES: what a table says that routers do with requests, in cells' indexes and in one router's numbers."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from cellplane.errors import TableError
from cellplane.model import Balance, CanaryBy, Copies, Mode, Priority, Reads, ResolvedPolicy, Writes
from cellplane.model.policy import MAX_CACHE_SECONDS
from cellplane.routing import layout

MILLI = 1000
MAX_MILLI = 0xFFFFFFFF
"""What stands for all that is more: no router passes on so much."""


class PolicyRow(NamedTuple):
    """A policy as the table holds it; its first attributes as of ``cellplane.model.Policy``.

    Attributes:
        standby: index of a cell; None where nothing reads from one.
        shadow: index of a cell; None for none.
        compare_bp: part of the requests of which both answers are compared, in hundredths of a percent; 0 without a
            shadow.
        ignored: paths of what is not compared, one a line.
        copies: which requests the shadow gets a copy of; all without a shadow.
        rps_milli: requests of one tenant that this router lets through, in 1,000 seconds; 0 where the cell's limit
            counts instead.
        burst_ms: how many milliseconds' worth of requests may come at once.
        cache_s: how old an answer may be that is read from what was kept, seconds; 0 where nothing reads so.
    """

    writes: Writes = Writes.SHARD
    reads: Reads = Reads.SHARD
    balance: Balance = Balance.PREFERRED
    mode: Mode = Mode.PROXY
    priority: Priority = Priority.NORMAL
    standby: int | None = None
    shadow: int | None = None
    rps_milli: int = 0
    burst_ms: int = 1000
    cache_s: int = 0
    compare_bp: int = 0
    ignored: str = ""
    copies: Copies = Copies.ALL

    @property
    def is_plain(self) -> bool:
        """Whether it says no more of where a request goes than: the first cell of the shard that is usable."""
        return (self.writes, self.reads, self.balance, self.mode, self.shadow) == _PLAIN


_PLAIN = (Writes.SHARD, Reads.SHARD, Balance.PREFERRED, Mode.PROXY, None)


class CanaryRow(NamedTuple):
    """A pool's canary as the table holds it.

    Attributes:
        cell: index of the cell.
        basis_points: its part in hundredths of a percent, 0 to 10,000.
        by: see CanaryBy.
    """

    cell: int
    basis_points: int
    by: CanaryBy = CanaryBy.TENANT


def row_of(policy: ResolvedPolicy, cells: Mapping[str, int], routers: int) -> PolicyRow:
    """A policy with the indexes of cells, for one of so many routers."""
    return PolicyRow(
        writes=policy.writes,
        reads=policy.reads,
        balance=policy.balance,
        mode=policy.mode,
        priority=policy.priority,
        standby=None if policy.standby is None else cells[policy.standby],
        shadow=None if policy.shadow is None else cells[policy.shadow],
        rps_milli=shared_milli(policy.rps, routers),
        burst_ms=max(1, round(policy.burst_seconds * MILLI)),
        cache_s=policy.cache_seconds or 0,
        compare_bp=0 if policy.compare is None else policy.compare.basis_points,
        ignored="" if policy.compare is None else "\n".join(policy.compare.ignore),
        copies=policy.copies,
    )


def is_cache_in_range(row: PolicyRow) -> bool:
    """Whether a row says how old an answer may be, exactly where answers are kept."""
    return 1 <= row.cache_s <= MAX_CACHE_SECONDS if row.reads is Reads.CACHE else row.cache_s == 0


def shared_milli(amount: float | None, routers: int) -> int:
    """One router's part of an amount, in thousandths; 0 where none is said."""
    return 0 if amount is None else shared(amount * MILLI, routers)


def shared(amount: float | None, routers: int) -> int:
    """One router's part of an amount, rounded up; 0 where none is said."""
    return 0 if amount is None else min(MAX_MILLI, max(1, math.ceil(amount / routers)))


def in_order(fleet: PolicyRow, tenants: Iterable[PolicyRow], pools: Iterable[PolicyRow]) -> tuple[PolicyRow, ...]:
    """POLICIES: the fleet's, those of tenants, those of pools that none of these is; equal fleets have equal ones."""
    first = (fleet, *sorted(set(tenants), key=_order))
    return (*first, *sorted(set(pools) - set(first), key=_order))


def _order(row: PolicyRow) -> tuple[bytes, str]:
    return pack(row), row.ignored


def index_of_pools(policies: Sequence[PolicyRow]) -> Mapping[PolicyRow, int]:
    """The first index of each policy."""
    return {row: place for place, row in reversed([*enumerate(policies)])}


def index_of_tenants(policies: Sequence[PolicyRow]) -> Mapping[PolicyRow, int]:
    """The first index of each policy that an entry of TENANTS can name: 0 means there the policy of its pool."""
    return {row: place for place, row in reversed([*enumerate(policies)][1 : layout.MAX_TENANT_POLICY + 1])}


def pack(row: PolicyRow, ignored: tuple[int, int] = (0, 0)) -> bytes:
    """An entry of POLICIES.

    Args:
        ignored: where the text of that name stands.
    """
    return layout.POLICY.pack(
        layout.WRITES_CODES[row.writes],
        layout.READS_CODES[row.reads],
        layout.BALANCE_CODES[row.balance],
        layout.MODE_CODES[row.mode],
        layout.PRIORITY_CODES[row.priority],
        layout.COPIES_CODES[row.copies],
        layout.NO_CELL if row.standby is None else row.standby,
        layout.NO_CELL if row.shadow is None else row.shadow,
        row.compare_bp,
        row.rps_milli,
        row.burst_ms,
        *ignored,
        row.cache_s,
    )


def unpack(what: str, data: memoryview, cells: int, text: Callable[[str, int, int], str]) -> PolicyRow:
    """The policy of an entry.

    Args:
        what: for messages.
        data: the entry.
        cells: how many cells the table has.
        text: gives the text at an offset, of a length.

    Raises:
        TableError: something in it is out of range.
    """
    writes, reads, balance, mode, priority, copies, *numbers = layout.POLICY.unpack_from(data)
    standby, shadow, compare_bp, rps_milli, burst_ms, *ignored, cache_s = numbers
    for name, code, known in (
        ("writes", writes, layout.WRITES),
        ("reads", reads, layout.READS),
        ("balance", balance, layout.BALANCES),
        ("mode", mode, layout.MODES),
        ("priority", priority, layout.PRIORITIES),
        ("copies", copies, layout.COPIES),
    ):
        if code not in known:
            raise TableError(f"{what}: {name} is {code}, expected 0 to {len(known) - 1}")
    for name, cell in (("standby", standby), ("shadow", shadow)):
        if cell >= cells and cell != layout.NO_CELL:
            raise TableError(f"{what}: {name} is cell {cell} of {cells}")
    row = PolicyRow(
        layout.WRITES[writes],
        layout.READS[reads],
        layout.BALANCES[balance],
        layout.MODES[mode],
        layout.PRIORITIES[priority],
        None if standby == layout.NO_CELL else standby,
        None if shadow == layout.NO_CELL else shadow,
        rps_milli,
        burst_ms,
        cache_s,
        compare_bp,
        text(f"{what}: ignored", *ignored),
        layout.COPIES[copies],
    )
    if compare_bp > (0 if row.shadow is None else layout.MAX_BASIS_POINTS):
        raise TableError(f"{what}: compare_bp is {compare_bp}, expected 0 to 10,000, and 0 without a shadow")
    if row.shadow is None and row.copies is not Copies.ALL:
        raise TableError(f"{what}: copies is {copies}, expected 0 without a shadow")
    if (row.reads is Reads.STANDBY) != (row.standby is not None):
        raise TableError(f"{what}: expected a standby where reads is standby, and nowhere else")
    if not is_cache_in_range(row):
        raise TableError(
            f"{what}: cache_s is {cache_s}, expected 1 to {MAX_CACHE_SECONDS} where reads is cache, else 0"
        )
    if not 1 <= burst_ms <= layout.MAX_BURST_MS:
        raise TableError(f"{what}: burst_ms is {burst_ms}, expected 1 to {layout.MAX_BURST_MS}")
    return row
