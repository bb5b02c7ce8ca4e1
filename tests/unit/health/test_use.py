"""What a cell was used for in the last seconds, from counters that only grow."""

import pytest

from cellplane.errors import ValidationError
from cellplane.health.concentration import TenantUse
from cellplane.health.use import UseWindow


def grown(window: UseWindow, now: float, *, epoch: int = 1, total: int = 0, **tenants: int) -> UseWindow:
    """One sample more: requests of each, every tenth an error, each of a tenth of a second."""
    uses = {name: TenantUse(name, count, count // 10, count / 10) for name, count in tenants.items()}
    return window.observe(TenantUse("", total, total // 10, total / 10), uses, now, epoch)


def requests(window: UseWindow) -> dict[str, int]:
    use = window.use(None)
    return {"": use.total.requests, **{tenant.tenant: tenant.requests for tenant in use.tenants}}


def test_the_first_sample_says_from_where_to_count() -> None:
    window = grown(UseWindow(10), 1, total=100, acme=50)
    assert requests(window) == {"": 0}
    window = grown(window, 2, total=150, acme=90)
    assert requests(window) == {"": 50, "acme": 40}
    (acme,) = window.use(None).tenants
    assert (acme.errors, acme.busy_seconds) == (4, 4.0)


def test_what_is_older_than_the_span_is_forgotten() -> None:
    window = UseWindow(3)
    for second in range(8):
        window = grown(window, second, epoch=second + 1, total=100 * second)
    assert requests(window)[""] == 300
    assert window.epoch == 5
    assert len(window.samples) == 4


def test_a_tenant_that_comes_or_comes_again_counts_from_zero() -> None:
    window = grown(UseWindow(10), 1, total=100, acme=50)
    window = grown(window, 2, total=200, acme=20, beta=30)
    assert requests(window) == {"": 100, "acme": 20, "beta": 30}


def test_a_cell_has_as_many_busy_seconds_as_it_takes_requests_at_once() -> None:
    window = grown(grown(UseWindow(10), 1), 4, total=10)
    assert window.use(5).capacity_seconds == 15
    assert window.use(None).capacity_seconds is None


def test_time_does_not_go_back() -> None:
    assert UseWindow(10).epoch == 0
    window = grown(UseWindow(10), 5)
    with pytest.raises(ValidationError, match="now: expected later than 5, found 5"):
        grown(window, 5)
