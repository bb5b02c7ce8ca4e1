"""What a router's agent says by its metrics."""

import re
import time

import httpx2

from cellplane.doctor.facts import AgentFact
from cellplane.doctor.gather.clocks import clock_of_date
from cellplane.doctor.settings import DoctorSettings

_SAMPLE = re.compile(r"^(cellplane_agent_[a-z_]+)(?:\{[^}\n]*\})? ([0-9.e+]{1,32})$", re.MULTILINE)


def ask_agent(url: str, settings: DoctorSettings) -> AgentFact:
    """Ask one.

    Args:
        url: of its metrics' server, with or without `/metrics`.
    """
    address = url if url.endswith("/metrics") else f"{url.rstrip('/')}/metrics"
    sent_at = time.time()
    text = bytearray()
    try:
        with (
            httpx2.Client(timeout=settings.probe_seconds, trust_env=False, verify=False) as http,
            http.stream("GET", address) as response,
        ):
            came_at = time.time()
            for piece in response.iter_bytes():
                text += piece
                if len(text) > settings.max_answer_bytes:
                    break
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return AgentFact(url, failure=f"its metrics cannot be read ({str(error) or type(error).__name__})")
    counts: dict[str, float] = {}
    for name, value in _SAMPLE.findall(text.decode(errors="replace")):
        counts[name] = counts.get(name, 0.0) + float(value)
    if "cellplane_agent_applied_epoch" not in counts:
        return AgentFact(url, failure="what answers there is no router's agent: name the address of --metrics-port")
    return AgentFact(
        url,
        epoch=int(counts["cellplane_agent_applied_epoch"]),
        rejected=int(counts.get("cellplane_agent_tables_rejected_total", 0)),
        failures=int(counts.get("cellplane_agent_table_failures_total", 0)),
        clock=clock_of_date(f"the agent at {url}", response.headers.get("date"), sent_at, came_at),
    )
