"""Bands: how large cells usually are, by kind of product. To compare with, not to obey."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Band:
    """Typical sizes for one kind of product.

    Attributes:
        name: what ``--kind`` takes.
        title: for people.
        unit: what the cell's tenants are.
        cell_tenants: least and most tenants of a cell.
        region_cells: least and most cells of a region.
        sized_by: what usually binds.
        source: where the figures come from.
    """

    name: str
    title: str
    unit: str
    cell_tenants: tuple[int, int]
    region_cells: tuple[int, int]
    sized_by: str
    source: str

    def findings(self, cells: int, tenants: int | None) -> tuple[str, ...]:
        """How a fleet of one region compares, in sentences; empty where it is within the band.

        Args:
            cells: number of cells, ≥ 1.
            tenants: number of tenants; None where it is not known.
        """
        found = []
        if compared := _compared(cells, self.region_cells):
            found.append(f"{cells} cells are {compared} for {self.title}: {_range(self.region_cells)} a region.")
        if tenants is not None and (compared := _compared(tenants / cells, self.cell_tenants)):
            mean = f"{tenants / cells:,.0f} {self.unit} a cell"
            found.append(f"{mean} are {compared} for {self.title}: {_range(self.cell_tenants)}.")
        return tuple(found)


_RULE = "rule of thumb from “Cell-Based Architecture: Limit Blast Radius at Scale” (2026)"

BANDS = (
    Band("b2b-saas", "B2B SaaS", "companies", (500, 5_000), (8, 32), "the peak of the largest tenant", _RULE),
    Band(
        "consumer-messaging", "consumer messaging", "users", (100_000, 1_000_000), (16, 64), "open connections", _RULE
    ),
    Band("database", "a multi-tenant database", "schemas", (50, 500), (16, 128), "storage and I/O operations", _RULE),
    Band("internal-platform", "an internal platform", "teams", (10, 50), (4, 16), "compute, not requests", _RULE),
)


def band_named(name: str) -> Band:
    """The band with this name.

    Raises:
        KeyError: there is none.
    """
    return {band.name: band for band in BANDS}[name]


def _compared(value: float, band: tuple[int, int]) -> str:
    low, high = band
    return "fewer than is usual" if value < low else "more than is usual" if value > high else ""


def _range(band: tuple[int, int]) -> str:
    return f"{band[0]:,} to {band[1]:,}"
