"""Whether one tenant alone makes a cell ill."""

from dataclasses import replace

import pytest

from cellplane.health.concentration import CellUse, Harm, PoisonSettings, TenantUse, concentration

SETTINGS = PoisonSettings()
ACME = TenantUse("acme", 100, 90, 50.0)
OTHERS = (TenantUse("beta", 500, 3, 30.0), TenantUse("gamma", 400, 1, 20.0))


def use(*tenants: TenantUse, capacity_seconds: float | None = None) -> CellUse:
    """What a cell was used for by these tenants and nobody else."""
    total = TenantUse(
        "",
        sum(tenant.requests for tenant in tenants),
        sum(tenant.errors for tenant in tenants),
        sum(tenant.busy_seconds for tenant in tenants),
    )
    return CellUse(total, tenants, capacity_seconds)


def test_a_tenant_with_nearly_all_errors_is_named_with_its_figures() -> None:
    found = concentration("cell-1", use(*OTHERS, ACME), SETTINGS)
    assert found is not None
    assert (found.tenant, found.cell, found.harm, found.amount) == ("acme", "cell-1", Harm.ERRORS, 90)
    assert (found.share, found.level, found.level_without) == (90 / 94, 0.094, 4 / 900)
    assert found.text == (
        "96% of the errors of cell-1 are tenant acme's (90): "
        "9.4% of the cell's requests fail, and 0.4% without this tenant"
    )


def test_a_tenant_with_most_of_the_busy_time_is_named_with_its_figures() -> None:
    hog = TenantUse("acme", 100, 0, 450.0)
    found = concentration("cell-1", use(*OTHERS, hog, capacity_seconds=500), SETTINGS)
    assert found is not None
    assert (found.tenant, found.harm, found.share, found.amount) == ("acme", Harm.BUSY_TIME, 0.9, 450)
    assert (found.level, found.level_without) == (1.0, 0.1)
    assert found.text == (
        "90% of the busy time of cell-1 is tenant acme's (450.0 s): "
        "the cell is used to 100%, and to 10% without this tenant"
    )


def test_errors_are_looked_at_before_busy_time() -> None:
    found = concentration("cell-1", use(*OTHERS, replace(ACME, busy_seconds=450), capacity_seconds=500), SETTINGS)
    assert found is not None
    assert found.harm is Harm.ERRORS


@pytest.mark.parametrize(
    "tenants",
    [
        (),
        (ACME,),  # nobody else is there to tell whether it is the cell
        (ACME, TenantUse("beta", 49, 0, 1.0)),
        (replace(ACME, requests=20, errors=19), *OTHERS),  # too few
        (replace(ACME, errors=30), TenantUse("beta", 5000, 3, 30.0)),  # the cell is well
        (ACME, TenantUse("beta", 900, 10, 30.0)),  # the others fail too
        (ACME, TenantUse("beta", 100, 30, 1.0), TenantUse("gamma", 9000, 0, 1.0)),  # two make the errors
    ],
)
def test_otherwise_nobody_is_named_for_errors(tenants: tuple[TenantUse, ...]) -> None:
    assert concentration("cell-1", use(*tenants), SETTINGS) is None


@pytest.mark.parametrize(
    ("tenants", "capacity_seconds"),
    [
        ((), 100),
        ((TenantUse("acme", 100, 0, 90.0), TenantUse("beta", 49, 0, 5.0)), 100),
        ((TenantUse("acme", 100, 0, 90.0), TenantUse("beta", 50, 0, 5.0)), None),
        ((TenantUse("acme", 100, 0, 70.0), TenantUse("beta", 50, 0, 5.0)), 100),  # the cell is well
        ((TenantUse("acme", 100, 0, 95.0), TenantUse("beta", 50, 0, 61.0)), 100),  # it would be ill without it
        ((TenantUse("acme", 100, 0, 50.0), TenantUse("beta", 50, 0, 40.0)), 100),  # two make it
        ((TenantUse("acme", 100, 0, 0.0), TenantUse("beta", 50, 0, 0.0)), 100),
    ],
)
def test_otherwise_nobody_is_named_for_busy_time(
    tenants: tuple[TenantUse, ...], capacity_seconds: float | None
) -> None:
    assert concentration("cell-1", use(*tenants, capacity_seconds=capacity_seconds), SETTINGS) is None


def test_counts_of_a_sketch_above_the_cells_are_taken_to_be_the_cells() -> None:
    total = TenantUse("", 1000, 94, 100.0)
    found = concentration("cell-1", CellUse(total, (replace(ACME, errors=120),)), SETTINGS)
    assert found is not None
    assert (found.share, found.level_without) == (1, 0)
    found = concentration("cell-1", CellUse(total, (TenantUse("acme", 100, 0, 120.0),), 100), SETTINGS)
    assert found is not None
    assert (found.share, found.level_without) == (1, 0)


def test_a_factor_lowers_shares_and_limits() -> None:
    less = use(replace(ACME, errors=42), *OTHERS)
    assert concentration("cell-1", less, SETTINGS) is None
    assert concentration("cell-1", less, SETTINGS, factor=0.8) is not None
