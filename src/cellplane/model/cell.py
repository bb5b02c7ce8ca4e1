"""A cell: one complete isolated stack, as the directory and the routers see it."""

from dataclasses import dataclass
from enum import Enum

from cellplane.errors import ValidationError
from cellplane.model.address import is_address
from cellplane.model.capacity import Capacity
from cellplane.model.key import check_name
from cellplane.model.url import check_url

MAX_SHOWN_CHARS = 80
"""How much of a wrong text is repeated."""

MAX_PAGE_CHARS = 2_000
"""Longest text for the time of a maintenance."""


class CellStatus(Enum):
    """Where a cell is in its life; the value is what the API shows."""

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    LOCKED = "locked"
    DRAINING = "draining"
    MAINTENANCE = "maintenance"
    RETIRED = "retired"

    @property
    def serves(self) -> bool:
        """Whether tenants that the cell holds are sent to it."""
        return self in {CellStatus.ACTIVE, CellStatus.LOCKED, CellStatus.DRAINING}


class CellProtocol(Enum):
    """What routers speak to a cell; the value is what the API shows. Clients speak what they like."""

    HTTP1 = "http1"
    HTTP2 = "http2"
    """Without TLS and from the first byte on (RFC 9113, 3.3), which gRPC needs."""


class Dimension(Enum):
    """In what cells fail together; the value is what the API shows."""

    ZONE = "zone"
    REGION = "region"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        id: DNS label, unique in the fleet; also the name of its Envoy cluster.
        address: IP address or host name of its API.
        port: port of its API, 1 to 65535.
        region: where it runs.
        jurisdiction: whose law its data is under; fallback never leaves it.
        status: see CellStatus.
        weight: share of slots relative to other cells, > 0 and ≤ 100, kept to thousandths.
        zone: where it fails together with others; empty where nobody says. Zones are told apart by name alone: zones of
            two regions need two names, such as ``eu-west-1a`` and ``eu-north-1a``.
        release: what it runs; empty where nobody says.
        capacity: the most that it is to hold.
        public_url: where clients reach it without a router, for redirects: ``https``, or ``http`` on loopback, without
            a query, and without a slash at its end; empty where they do not.
        maintenance_page: what clients are told while it is in maintenance, at most 2,000 characters; empty for what
            routers say.
        protocol: see CellProtocol.
    """

    id: str
    address: str
    port: int
    region: str = "local"
    jurisdiction: str = "none"
    status: CellStatus = CellStatus.ACTIVE
    weight: float = 1.0
    zone: str = ""
    release: str = ""
    capacity: Capacity = Capacity()
    public_url: str = ""
    maintenance_page: str = ""
    protocol: CellProtocol = CellProtocol.HTTP1

    def coordinate(self, dimension: "Dimension") -> str:
        """Where it is in a dimension; a cell without a zone has its region for one, and no release is ``none``."""
        if dimension is Dimension.ZONE:
            return self.zone or self.region
        return self.region if dimension is Dimension.REGION else self.release or "none"

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        check_name(f"{field}.id", self.id)
        check_name(f"{field}.region", self.region)
        check_name(f"{field}.jurisdiction", self.jurisdiction)
        if not is_address(self.address):
            raise ValidationError(
                f"{field}.address", f"expected an IP address or host name, found {self.address[:MAX_SHOWN_CHARS]!r}"
            )
        if not 1 <= self.port <= 65535:
            raise ValidationError(f"{field}.port", f"expected 1 to 65535, found {self.port}")
        if not 0.001 <= self.weight <= 100:
            raise ValidationError(f"{field}.weight", f"expected 0.001 to 100, found {self.weight}")
        for name, value in (("zone", self.zone), ("release", self.release)):
            if value:
                check_name(f"{field}.{name}", value)
        self.capacity.validate(f"{field}.capacity")
        if self.public_url:
            check_url(
                f"{field}.public_url",
                self.public_url,
                example="https://cell-1.example.com",
                why_https="what clients send there can be read on the way",
            )
            if "?" in self.public_url or self.public_url.endswith("/"):
                raise ValidationError(
                    f"{field}.public_url",
                    "a request's path and query are put behind it: expected no query, and no slash at its end; found "
                    f"{self.public_url!r}",
                )
        if len(self.maintenance_page) > MAX_PAGE_CHARS or not self.maintenance_page.replace("\n", "").isprintable():
            raise ValidationError(
                f"{field}.maintenance_page",
                f"expected at most {MAX_PAGE_CHARS} printable characters and line ends, found "
                f"{len(self.maintenance_page)}: {self.maintenance_page[:40]!r}",
            )
