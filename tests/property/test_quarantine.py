"""Invariants of quarantines, over suspects and orders that nobody chose."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.model import Cell, Quarantine, QuarantinePolicy
from cellplane.placement.quarantine import Asked, LeftAlone, quarantine, released
from support.depth import examples

QUICK = settings(max_examples=examples(50), deadline=None)
LAWS = ("eu", "us", "ch")
CELLS = {name: Cell(name, "127.0.0.1", 1, jurisdiction=name[:2]) for name in ("eu-1", "eu-2", "us-1")}

policies = st.builds(
    QuarantinePolicy,
    cells=st.lists(st.sampled_from(sorted(CELLS)), unique=True).map(tuple),
    automatic=st.booleans(),
    max_tenants=st.integers(1, 3),
    seconds=st.integers(1, 10),
    cap_seconds=st.integers(1, 30),
    forget_seconds=st.integers(0, 50),
)
steps = st.lists(
    st.tuples(
        st.floats(0, 20),
        st.sampled_from(["acme", "beta", "gamma", "delta", "zeta"]),
        st.sampled_from(["found", "found late", "ordered", "released"]),
    ),
    max_size=40,
)


@QUICK
@given(policies, steps)
def test_the_bound_and_the_law_hold_and_everybody_comes_back(
    policy: QuarantinePolicy, taken: list[tuple[float, str, str]]
) -> None:
    known: dict[str, Quarantine] = {}
    now, epoch = datetime(2026, 1, 1, tzinfo=UTC), 100
    for later, tenant, what in taken:
        now += timedelta(seconds=later)
        for each in [each for each in known.values() if each.lasts and each.until <= now]:
            known[each.tenant] = released(each, "over", now)
        law, before = LAWS[len(tenant) % 3], known.get(tenant)
        if what == "released":
            if before is not None and before.lasts:
                known[tenant] = released(before, "by hand", now, hold_seconds=5)
            continue
        seen = {"found": epoch, "found late": 0, "ordered": None}[what]
        found = quarantine(Asked(tenant, "why", seen_epoch=seen), policy, CELLS, law, known=known, now=now)
        if isinstance(found, LeftAlone):
            assert before is None or not before.lasts or what == "ordered"
            continue
        assert found.cell in policy.cells
        assert CELLS[found.cell].jurisdiction == law
        assert now < found.until <= now + timedelta(seconds=policy.cap_seconds)
        if found is not before and what != "ordered":
            assert policy.automatic
            assert before is None or before.held_until is None or before.held_until <= now
        known[tenant] = found
        assert sum(each.lasts for each in known.values()) <= policy.max_tenants
