"""A routing policy: what routers do with the requests of a fleet, a pool or a tenant beyond finding their cell."""

from dataclasses import dataclass, fields, replace
from enum import Enum

from cellplane.errors import ValidationError
from cellplane.model.key import check_name

MAX_POLICY_RPS = 1_000_000
"""Most requests per second that a policy lets one tenant send: no router passes on more."""

MIN_POLICY_RPS = 0.001
"""Least: one request in 1,000 seconds, what a table can say."""

MAX_BURST_SECONDS = 3600
"""Most seconds' worth of requests that may come at once."""

MIN_BURST_SECONDS = 0.001
"""Least: what a table can say."""

DEFAULT_CACHE_SECONDS = 3600
"""How old an answer of before may be where nobody says."""

MAX_CACHE_SECONDS = 604_800
"""Oldest that an answer of before may be: a week."""

CANARY_STEPS = 100
"""Steps of one percent in which a part of the requests is said."""

MAX_IGNORED_PATHS = 32
"""Most paths that a comparison leaves out: all of them go with each answer to whoever compares."""

MAX_IGNORED_BYTES = 256
"""Most bytes of one."""


class Writes(Enum):
    """What a request that writes gets when the first cell of its shard is down."""

    SHARD = "shard"
    FAIL = "fail"


class Reads(Enum):
    """What a request that reads gets when the first cell of its shard is down."""

    SHARD = "shard"
    STANDBY = "standby"
    CACHE = "cache"
    FAIL = "fail"


class Balance(Enum):
    """How requests spread over the cells of a shard."""

    PREFERRED = "preferred"
    ROUND_ROBIN = "round-robin"
    LEAST_LOADED = "least-loaded"


class Mode(Enum):
    """How a request comes to its cell: through the router, or by the client, which the router sends there."""

    PROXY = "proxy"
    REDIRECT = "redirect"


class Priority(Enum):
    """Whose requests are shed first when there are too many."""

    NORMAL = "normal"
    HIGH = "high"


class CanaryBy(Enum):
    """What falls to a canary: always the same tenants, or any requests."""

    TENANT = "tenant"
    REQUEST = "request"


class Copies(Enum):
    """Which requests a shadow gets a copy of."""

    ALL = "all"
    READS = "reads"


class FailOpen(Enum):
    """Which requests without a key a fleet lets through where it does not reject them."""

    READS = "reads"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Compare:
    """Of which requests the answers of cell and shadow are compared, and what of them is not.

    Attributes:
        percent: their part, 0 to 100, in hundredths.
        ignore: paths of JSON values that may differ, as JSON pointers (RFC 6901) in which ``*`` is any name or place.
    """

    percent: float
    ignore: tuple[str, ...] = ()

    @property
    def basis_points(self) -> int:
        """Their part in hundredths of a percent, 0 to 10,000."""
        return round(self.percent * CANARY_STEPS)

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        check_percent(f"{field}.percent", self.percent)
        if len(self.ignore) > MAX_IGNORED_PATHS:
            raise ValidationError(
                f"{field}.ignore", f"expected at most {MAX_IGNORED_PATHS} paths, found {len(self.ignore)}"
            )
        for place, path in enumerate(self.ignore):
            if not path.startswith("/") or len(path.encode()) > MAX_IGNORED_BYTES or not path.isprintable():
                raise ValidationError(
                    f"{field}.ignore[{place}]",
                    f"expected a path such as /items/*/id, of at most {MAX_IGNORED_BYTES} bytes; found {path!r}",
                )


def check_percent(field: str, percent: float) -> None:
    """Raise ValidationError where this is no part that a table can say."""
    # Written so that NaN fails.
    if not 0 <= percent <= 100 or abs(percent * CANARY_STEPS - round(percent * CANARY_STEPS)) > 1e-6:
        raise ValidationError(field, f"expected 0 to 100, with two decimals at most; found {percent}")


@dataclass(frozen=True, slots=True)
class Policy:
    """What one level says: a tenant counts before its pool, that before the fleet, that before the defaults. None: not
    said here.

    Attributes:
        writes: see Writes; ``shard`` by default.
        reads: see Reads; ``shard`` by default.
        standby: id of the cell that ``reads: standby`` means, of the shard or not.
        balance: see Balance; ``preferred`` by default.
        mode: see Mode; ``proxy`` by default.
        rps: requests per second of one tenant, MIN_POLICY_RPS to MAX_POLICY_RPS. Said nowhere: what its cell holds,
            divided by the cells of its shard, where that is declared.
        burst_seconds: how many seconds' worth of requests may come at once, 0.001 to 3600; 1 by default.
        priority: see Priority; ``normal`` by default.
        shadow: id of a cell that gets a copy of each request, or of those that read alone, for comparison.
        copies: see Copies; ``all`` by default. It means nothing without a shadow.
        cache_seconds: how old an answer of ``reads: cache`` may be, 1 to MAX_CACHE_SECONDS; an hour by default.
        compare: see Compare; nothing by default. It means nothing without a shadow.
    """

    writes: Writes | None = None
    reads: Reads | None = None
    standby: str | None = None
    balance: Balance | None = None
    mode: Mode | None = None
    rps: float | None = None
    burst_seconds: float | None = None
    priority: Priority | None = None
    shadow: str | None = None
    copies: Copies | None = None
    cache_seconds: int | None = None
    compare: Compare | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """Ids of the cells that it names."""
        return tuple(cell for cell in (self.standby, self.shadow) if cell is not None)

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        for name, cell in (("standby", self.standby), ("shadow", self.shadow)):
            if cell is not None:
                check_name(f"{field}.{name}", cell)
        if self.standby is not None and self.reads not in {None, Reads.STANDBY}:
            raise ValidationError(
                f"{field}.standby", f"means nothing beside reads: {self.reads.value}; say standby there"
            )
        if self.cache_seconds is not None and self.reads not in {None, Reads.CACHE}:
            raise ValidationError(
                f"{field}.cache_seconds", f"means nothing beside reads: {self.reads.value}; say cache there"
            )
        if self.cache_seconds is not None and not 1 <= self.cache_seconds <= MAX_CACHE_SECONDS:
            raise ValidationError(
                f"{field}.cache_seconds", f"expected 1 to {MAX_CACHE_SECONDS}, found {self.cache_seconds}"
            )
        if self.compare is not None:
            self.compare.validate(f"{field}.compare")
        # Written so that NaN fails.
        if self.rps is not None and not MIN_POLICY_RPS <= self.rps <= MAX_POLICY_RPS:
            raise ValidationError(
                f"{field}.rps", f"expected {MIN_POLICY_RPS} to {MAX_POLICY_RPS} requests per second, found {self.rps}"
            )
        if self.burst_seconds is not None and not MIN_BURST_SECONDS <= self.burst_seconds <= MAX_BURST_SECONDS:
            raise ValidationError(
                f"{field}.burst_seconds",
                f"expected {MIN_BURST_SECONDS} to {MAX_BURST_SECONDS}, found {self.burst_seconds}",
            )


NO_POLICY = Policy()
"""What says nothing."""


@dataclass(frozen=True, slots=True)
class ResolvedPolicy:
    """A policy to which nothing can be added; attributes as of Policy."""

    writes: Writes = Writes.SHARD
    reads: Reads = Reads.SHARD
    standby: str | None = None
    balance: Balance = Balance.PREFERRED
    mode: Mode = Mode.PROXY
    rps: float | None = None
    burst_seconds: float = 1.0
    priority: Priority = Priority.NORMAL
    shadow: str | None = None
    copies: Copies = Copies.ALL
    cache_seconds: int | None = None
    compare: Compare | None = None


DEFAULT_POLICY = ResolvedPolicy()
"""What is so where nobody says anything."""


def resolve(*levels: Policy) -> ResolvedPolicy:
    """What levels say together, the narrowest first. What only other ``reads`` would mean is dropped, and so is which
    requests are copied without a shadow, and a comparison without one, or of none of the requests.
    """
    said = {}
    for level in reversed(levels):
        for field in fields(Policy):
            value = getattr(level, field.name)
            if value is not None:
                said[field.name] = value
    resolved = ResolvedPolicy(**said)
    keeps = resolved.reads is Reads.CACHE
    compare = resolved.compare
    is_compared = resolved.shadow is not None and compare is not None and compare.basis_points > 0
    return replace(
        resolved,
        standby=resolved.standby if resolved.reads is Reads.STANDBY else None,
        cache_seconds=(resolved.cache_seconds or DEFAULT_CACHE_SECONDS) if keeps else None,
        copies=Copies.ALL if resolved.shadow is None else resolved.copies,
        compare=compare if is_compared else None,
    )


@dataclass(frozen=True, slots=True)
class Canary:
    """A cell that takes a part of a pool's requests, to try what is new there.

    Attributes:
        cell: its id; of the pool or not.
        percent: its part, 0 to 100, in hundredths.
        by: see CanaryBy.
    """

    cell: str
    percent: float
    by: CanaryBy = CanaryBy.TENANT

    @property
    def basis_points(self) -> int:
        """Its part in hundredths of a percent, 0 to 10,000."""
        return round(self.percent * CANARY_STEPS)

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        check_name(f"{field}.cell", self.cell)
        check_percent(f"{field}.percent", self.percent)
