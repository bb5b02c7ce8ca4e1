"""Whom a cell suspects, and from when on for certain."""

from cellplane.health.concentration import CellUse, PoisonSettings, TenantUse
from cellplane.health.poison import Suspicion, is_ripe, suspect
from unit.health.test_concentration import OTHERS, use

SETTINGS = PoisonSettings(windows=3)
WELL = use(*OTHERS)


def poisoned(tenant: str, errors: int = 90) -> CellUse:
    return use(*OTHERS, TenantUse(tenant, 100, errors, 50.0))


def after(*windows: CellUse) -> Suspicion | None:
    """The suspicion after these windows."""
    suspicion = None
    for window in windows:
        suspicion = suspect(suspicion, "cell-1", window, SETTINGS)
    return suspicion


def ripe(*windows: CellUse) -> str | None:
    suspicion = after(*windows)
    return suspicion.found.tenant if suspicion is not None and is_ripe(suspicion, SETTINGS) else None


def test_a_tenant_is_suspected_for_certain_after_some_windows_in_a_row() -> None:
    acme = poisoned("acme")
    assert ripe(acme, acme) is None
    assert ripe(acme, acme, acme) == "acme"
    assert ripe(*[acme] * 12) == "acme"
    suspicion = after(*[acme] * 12)
    assert suspicion is not None
    assert (suspicion.windows, suspicion.found.share) == (3, 90 / 94)


def test_a_well_window_ends_a_suspicion_and_so_does_another_tenant() -> None:
    acme, zeta = poisoned("acme"), poisoned("zeta")
    assert after(acme, acme, acme, WELL) is None
    assert ripe(acme, acme, WELL, acme, acme) is None
    assert ripe(acme, acme, zeta, zeta, acme) is None
    assert ripe(acme, acme, acme, zeta) is None


def test_a_little_better_keeps_the_suspicion_and_does_not_grow_it() -> None:
    acme, less = poisoned("acme"), poisoned("acme", errors=42)
    assert ripe(acme, acme, less, less, less) is None
    assert ripe(acme, acme, less, less, less, acme) == "acme"
    assert ripe(acme, acme, acme, less) == "acme"
    assert after(less, less, less, less) is None
    assert ripe(acme, poisoned("zeta", errors=42), acme, acme) is None
