"""Whether cells answer from this machine, as routers ask them."""

import socket
import time

import httpx2

from cellplane.doctor.facts import CellFact, ProbeFact
from cellplane.doctor.gather.clocks import clock_of_date
from cellplane.doctor.settings import DoctorSettings
from cellplane.model.address import host_of_url


def probe(cell: CellFact, settings: DoctorSettings) -> ProbeFact:
    """Ask a cell for its health; of one that speaks HTTP/2 alone, only whether it takes a connection."""
    if cell.protocol != "http1":
        return ProbeFact(cell.id, _connects(cell.address, cell.port, settings.probe_seconds))
    url = f"http://{host_of_url(cell.address)}:{cell.port}{settings.health_path}"
    sent_at = time.time()
    try:
        with (
            httpx2.Client(timeout=settings.probe_seconds, trust_env=False, verify=False) as http,
            # Its head says enough: what a stranger at this port sends is not read.
            http.stream("GET", url, headers={"Host": cell.id}) as response,
        ):
            status, date = response.status_code, response.headers.get("date")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return ProbeFact(cell.id, f"it does not answer ({str(error) or type(error).__name__})")
    clock = clock_of_date(f"cell {cell.id}", date, sent_at, time.time())
    return ProbeFact(cell.id, "" if status == 200 else f"it answers {settings.health_path} with {status}", clock)


def _connects(address: str, port: int, seconds: float) -> str:
    try:
        with socket.create_connection((address, port), timeout=seconds):
            return ""
    except OSError as error:
        return f"it takes no connection ({error})"
