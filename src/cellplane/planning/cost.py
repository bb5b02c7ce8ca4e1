"""Cost: what N cells cost in a month, for each tenant, and what traffic that stays in its cell saves."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from cellplane.errors import ValidationError
from cellplane.planning.checks import MAX_CELLS, check_between, check_positive, check_whole, exact

HOURS_PER_MONTH = 730
"""Hours of a mean month: 8,760 / 12, the month of the clouds' price calculators."""


@dataclass(frozen=True, slots=True)
class Price:
    """One price.

    Attributes:
        usd: for one unit.
        unit: such as ``instance hour``.
        what: what is bought.
        source: URL of the price list.
        as_of: when the price was noted, an ISO date.
    """

    usd: float
    unit: str
    what: str
    source: str
    as_of: str


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices that the model knows; fields are named as in the price file."""

    instance_hour: Price
    database_hour: Price
    load_balancer_hour: Price
    cross_zone_gb: Price
    cross_region_gb: Price


@dataclass(frozen=True, slots=True)
class CellShape:
    """What a cell is made of.

    Attributes:
        rps_per_instance: requests a second that one instance serves, > 0.
        rps_per_database: requests a second that one unit of database serves, > 0; a larger one counts as more units.
        least_instances: instances of an empty cell, ≥ 1.
        database_copies: copies of each database, such as 2 for a standby, ≥ 1.
        operations_usd_month: work, monitoring and licences for one cell in a month, ≥ 0.
    """

    rps_per_instance: float
    rps_per_database: float
    least_instances: int = 2
    database_copies: int = 2
    operations_usd_month: float = 0.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Traffic between the parts of the product, such as from service to service and to the database.

    Attributes:
        internal_gb_month: GB a month between parts in one region.
        cross_region_gb_month: GB a month between parts in different regions, which cells would keep at home.
        zones: availability zones that the shared stack spreads over, ≥ 1.
        zones_per_cell: zones that one cell spreads over, 1 to ``zones``.
    """

    internal_gb_month: float = 0.0
    cross_region_gb_month: float = 0.0
    zones: int = 3
    zones_per_cell: int = 1


@dataclass(frozen=True, slots=True)
class Demand:
    """What the fleet serves.

    Attributes:
        tenants: how many, ≥ 1.
        peak_rps: of all tenants, > 0.
        headroom: factor on the peak that capacity is bought for, 1 to 10.
    """

    tenants: int
    peak_rps: float
    headroom: float = 1.5


@dataclass(frozen=True, slots=True)
class Cost:
    """A month of a fleet; all amounts in US dollars a month.

    Attributes:
        cells: how many.
        instances: of all cells together.
        databases: of all cells together, copies included.
        fixed_usd: what the cells cost empty: least instances, one database, load balancer, operations.
        variable_usd: what the load adds: further instances and databases.
        transfer_usd: traffic between zones that remains.
        saved_usd: traffic between zones and regions that the shared stack pays for, and these cells do not.
        total_usd: fixed, variable and transfer.
        tenant_usd: total for one tenant.
    """

    cells: int
    instances: int
    databases: int
    fixed_usd: float
    variable_usd: float
    transfer_usd: float
    saved_usd: float
    total_usd: float
    tenant_usd: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The shared stack, and fleets of different size.

    Attributes:
        shared: one stack for all, over all zones, with the traffic of today.
        fleets: one for each asked number of cells.
    """

    shared: Cost
    fleets: tuple[Cost, ...]

    @property
    def cheapest(self) -> Cost:
        """The fleet with the least total; the smallest of equals."""
        return min(self.fleets, key=lambda fleet: (fleet.total_usd, fleet.cells))


def compare(demand: Demand, shape: CellShape, traffic: Traffic, prices: Prices, cells: Sequence[int]) -> Comparison:
    """Cost of the shared stack and of fleets with so many cells.

    A cell is bought for peak × headroom / N, in whole instances and databases and never below its least size; that
    rounding is what many small cells cost. Traffic between parts that are spread evenly over z zones crosses a zone
    with probability (z − 1) / z, and is charged to the sender and to the receiver.

    Raises:
        ValidationError: naming the field that breaks a rule.
    """
    _check(demand, shape, traffic, cells)
    today_usd = _zone_usd(traffic, traffic.zones, prices) + traffic.cross_region_gb_month * prices.cross_region_gb.usd
    cell_usd = _zone_usd(traffic, traffic.zones_per_cell, prices)
    return Comparison(
        shared=_month(1, demand, shape, prices, transfer_usd=today_usd, saved_usd=0.0),
        fleets=tuple(
            _month(count, demand, shape, prices, transfer_usd=cell_usd, saved_usd=today_usd - cell_usd)
            for count in cells
        ),
    )


def _month(
    cells: int, demand: Demand, shape: CellShape, prices: Prices, *, transfer_usd: float, saved_usd: float
) -> Cost:
    cell_rps = exact(demand.peak_rps) * exact(demand.headroom) / cells
    instances = max(shape.least_instances, ceil(cell_rps / exact(shape.rps_per_instance)))
    databases = max(1, ceil(cell_rps / exact(shape.rps_per_database))) * shape.database_copies
    empty_usd = _machines_usd(shape.least_instances, shape.database_copies, prices) + (
        prices.load_balancer_hour.usd * HOURS_PER_MONTH + shape.operations_usd_month
    )
    full_usd = _machines_usd(instances, databases, prices)
    fixed_usd = cells * empty_usd
    variable_usd = cells * (full_usd - _machines_usd(shape.least_instances, shape.database_copies, prices))
    total_usd = fixed_usd + variable_usd + transfer_usd
    return Cost(
        cells=cells,
        instances=cells * instances,
        databases=cells * databases,
        fixed_usd=fixed_usd,
        variable_usd=variable_usd,
        transfer_usd=transfer_usd,
        saved_usd=saved_usd,
        total_usd=total_usd,
        tenant_usd=total_usd / demand.tenants,
    )


def _machines_usd(instances: int, databases: int, prices: Prices) -> float:
    """A month of so many instances and databases."""
    return (instances * prices.instance_hour.usd + databases * prices.database_hour.usd) * HOURS_PER_MONTH


def _zone_usd(traffic: Traffic, zones: int, prices: Prices) -> float:
    """A month of the traffic that crosses zones, where parts are spread evenly over so many."""
    return traffic.internal_gb_month * (zones - 1) / zones * 2 * prices.cross_zone_gb.usd


def _check(demand: Demand, shape: CellShape, traffic: Traffic, cells: Sequence[int]) -> None:
    check_whole("tenants", demand.tenants, 1, 10**12)
    check_positive("peak_rps", demand.peak_rps)
    check_between("headroom", demand.headroom, 1, 10)
    check_positive("rps_per_instance", shape.rps_per_instance)
    check_positive("rps_per_database", shape.rps_per_database)
    check_whole("least_instances", shape.least_instances, 1, 10_000)
    check_whole("database_copies", shape.database_copies, 1, 100)
    check_between("operations_usd_month", shape.operations_usd_month, 0, 1e9)
    check_between("internal_gb_month", traffic.internal_gb_month, 0, 1e12)
    check_between("cross_region_gb_month", traffic.cross_region_gb_month, 0, 1e12)
    check_whole("zones", traffic.zones, 1, 100)
    check_whole("zones_per_cell", traffic.zones_per_cell, 1, traffic.zones)
    if not cells:
        raise ValidationError("cells", "expected at least one number of cells")
    for count in cells:
        check_whole("cells", count, 1, MAX_CELLS)
