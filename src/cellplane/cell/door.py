"""The cell's door, whatever the app's framework: lets in what a router sent here, and refuses everything else."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from cellplane.cell.context import CellContext
from cellplane.cell.errors import InvalidSettingError
from cellplane.cell.problem import Problem
from cellplane.cell.settings import HeaderLimits, check_cell_id

CELL_ID_HEADER = b"x-cell-id"
EPOCH_HEADER = b"x-cell-epoch"
TENANT_HEADER = b"x-tenant-id"
PROOF_HEADER = b"x-cell-proof"
ROUTING_HEADERS = (CELL_ID_HEADER, EPOCH_HEADER, TENANT_HEADER, PROOF_HEADER)
_ROUTING_HEADERS = frozenset(ROUTING_HEADERS)

_LIMITS = HeaderLimits()
# A comma is how servers and proxies join what was said twice; no id that a fleet knows has one.
_TENANT = re.compile(rb"[!-+\--~]{1,%d}" % _LIMITS.tenant_max_bytes)
_DIGITS = "0123456789abcdefABCDEF"
_BYTES = {f"{high}{low}".encode(): bytes.fromhex(high + low) for high in _DIGITS for low in _DIGITS}


# Tuples: both are made for every request, and in less time than a frozen dataclass is.
class RequestLine(NamedTuple):
    """What a request asks for, as far as a proof is bound to it."""

    method: bytes
    """Such as GET, which is also that of a WebSocket."""

    path: bytes
    """Percent-decoded, since not every server still knows what it was before."""

    query: bytes
    """What follows the first question mark, as it came; empty where there is none."""


class Routing(NamedTuple):
    """What the routing headers say, before anybody believes it."""

    cell_id: bytes
    epoch: bytes
    """Decimal digits."""
    tenant_id: bytes
    """Empty where the request names none."""
    proof: bytes
    """Empty where there is none."""


class ProofCheck(Protocol):
    """Finds out whether a router has said this: ``cellplane.cell.proof.ProofKeys``."""

    def fault(self, routing: Routing, line: RequestLine) -> Problem | None:
        """Why it does not count; None where it does. Asked for every request, so it must not wait."""


def decoded(path: bytes) -> bytes:
    """A path without its percent-encoding; what is no escape stays."""
    if b"%" not in path:
        return path
    first, *rest = path.split(b"%")
    return first + b"".join(_BYTES[part[:2]] + part[2:] if part[:2] in _BYTES else b"%" + part for part in rest)


class OpenPaths:
    """Which paths need no router, and which of them are not for tenants.

    Args:
        exempt: exact paths, for everybody.
        private: paths, with all below them, for whoever comes by no router: such as ``/metrics``, where a tenant would
            read of others.
    """

    def __init__(self, exempt: Iterable[str], private: Iterable[str]) -> None:
        self._exempt = frozenset(exempt)
        private = tuple(private)
        self._private = frozenset(private)
        self._below = tuple(f"{path}/" for path in private)

    def __contains__(self, path: str) -> bool:
        return path in self._exempt or self._is_private(path)

    def fault(self, path: str, *, is_routed: bool) -> Problem | None:
        """Why a request may not have one of these paths; None where it may."""
        return _PRIVATE if is_routed and self._is_private(path) else None

    def _is_private(self, path: str) -> bool:
        return path in self._private or path.startswith(self._below)


def nobody_moved(_tenant_id: str) -> None:
    """Every tenant is this cell's."""


class Door:
    """Decides by the routing headers. It trusts them: the routers strip a client's own, and nothing but routers may
    reach a cell. Where that cannot be had of the network, a proof in every request says that a router sent it.

    A refusal with 421 names the newest epoch that this process knows, if it is newer than the request's: the router
    then fetches the table of it, and tries again.

    Args:
        cell_id: this cell's id, as the fleet knows it.
        moved: the epoch by which a tenant is another cell's; None for one of this cell. A request that was routed by
            an older table is refused; by a newer one the tenant is here again. Asked for every request, so it must not
            wait. ``Moves.moved`` is one.
        proof: refuses what no router has signed; None believes every request.

    Raises:
        InvalidSettingError: ``cell_id`` cannot be the value of a header, or has a comma.
    """

    def __init__(
        self,
        cell_id: str,
        *,
        moved: Callable[[str], int | None] = nobody_moved,
        proof: ProofCheck | None = None,
    ) -> None:
        check_cell_id("cell_id", cell_id)
        if "," in cell_id:
            raise InvalidSettingError(
                "cell_id", f"expected no comma, found {cell_id!r}: servers join headers by commas"
            )
        self._cell_id = cell_id
        self._header = cell_id.encode("ascii")
        self._moved = moved
        self._proof = proof
        self._newest_epoch = 0

    def admit(self, headers: Iterable[tuple[bytes, bytes]], line: Callable[[], RequestLine]) -> CellContext | Problem:
        """The context of a request, or why it is refused.

        Args:
            headers: names in lower case.
            line: what it asks for, looked at where a proof is bound to it.
        """
        values: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in _ROUTING_HEADERS:
                if name in values or b"," in value:
                    return _ambiguous(name)
                values[name] = value

        cell = values.get(CELL_ID_HEADER, b"")
        if not cell:
            return _NO_CELL
        digits = values.get(EPOCH_HEADER, b"")
        if not digits.isdigit() or len(digits) > _LIMITS.epoch_max_digits:
            return _INVALID_EPOCH
        tenant = values.get(TENANT_HEADER, b"")
        if self._proof is not None:
            fault = self._proof.fault(Routing(cell, digits, tenant, values.get(PROOF_HEADER, b"")), line())
            if fault is not None:
                return fault
        epoch = int(digits)
        self._newest_epoch = max(self._newest_epoch, epoch)
        if cell != self._header:
            return self._wrong_cell(cell, epoch)
        if _TENANT.fullmatch(tenant) is None:
            return _NO_TENANT
        tenant_id = tenant.decode("ascii")
        moved = self._moved(tenant_id)
        if moved is not None and epoch < moved:
            return self._tenant_moved(moved, epoch)
        return CellContext(cell_id=self._cell_id, epoch=epoch, tenant_id=tenant_id)

    def _tenant_moved(self, moved: int, epoch: int) -> Problem:
        return Problem(
            "tenant-moved",
            421,
            "The tenant is another cell's",
            f"Cell {self._cell_id} gave the tenant away by epoch {moved}, or has forgotten what was before it, and the "
            f"request was routed by epoch {epoch}. Send it again by a newer table.",
            {"cell": self._cell_id, "epoch": moved},
        )

    def _wrong_cell(self, found: bytes, epoch: int) -> Problem:
        other = found[: _LIMITS.cell_max_bytes].decode("ascii", "backslashreplace")
        return Problem(
            "wrong-cell",
            421,
            "This is another cell",
            f"The request is for cell {other}, and this is cell {self._cell_id}. "
            "The router's table or its addresses are stale.",
            {"cell": self._cell_id, **({"epoch": self._newest_epoch} if epoch < self._newest_epoch else {})},
        )


def refusal(problem: Problem) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of the answer that says so."""
    body = problem.encode()
    headers = [
        (b"content-type", problem.content_type.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
    ]
    if "epoch" in problem.members:
        headers.append((EPOCH_HEADER, str(problem.members["epoch"]).encode("ascii")))
    return headers, body


_NO_CELL = Problem(
    "no-cell",
    421,
    "The request names no cell",
    "Expected an x-cell-id header, which every router sets. Send the request to a router, not to a cell.",
)

_INVALID_EPOCH = Problem(
    "invalid-epoch",
    400,
    "The epoch is not a number",
    f"Expected x-cell-epoch with the routing table's epoch: 1–{_LIMITS.epoch_max_digits} decimal digits. "
    "Send the request to a router, not to a cell.",
)

_NO_TENANT = Problem(
    "no-tenant",
    400,
    "The request names no tenant",
    f"Expected x-tenant-id with 1–{_LIMITS.tenant_max_bytes} visible ASCII characters. "
    "Send the request to a router, not to a cell.",
)


_PRIVATE = Problem(
    "not-found",
    404,
    "There is no such page",
    "Expected the path of a page that tenants have. Ask the cell itself for those of its operators, by no router.",
)


def _ambiguous(name: bytes) -> Problem:
    return Problem(
        "ambiguous-cell-headers",
        400,
        "A routing header is repeated",
        f"Expected {name.decode('ascii')} once and without a comma, found it more often, or joined. "
        "Routers set it once: something before the cell adds another.",
    )
