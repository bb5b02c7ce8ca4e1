"""A thousand made-up requests against real routers; `make fuzz` sends a million."""

from pathlib import Path

from fuzz.attack import Attacker
from fuzz.corpus import build
from fuzz.town import town

SEED = 1
REQUESTS = 1000


def test_no_made_up_request_reaches_another_tenants_cell_or_makes_the_router_fail(tmp_path: Path) -> None:
    corpus = build()
    with town(tmp_path, corpus) as found:
        attacker = Attacker(SEED, corpus, found.ports)
        attacker.run(range(REQUESTS))
        attacker.close()
        assert attacker.tally.failures == []
        assert found.violations() == []
        assert found.faults() == []
    assert attacker.tally.requests == REQUESTS
    # A router that refuses everybody, or nobody, would pass all of the above.
    assert attacker.tally.served > REQUESTS // 4
    assert attacker.tally.statuses[401] > REQUESTS // 8
    assert sum(cell.requests for cell in found.cells) >= attacker.tally.served
