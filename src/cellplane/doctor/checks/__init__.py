"""Checks, a module a subject. They judge facts, and do no I/O. One more is a module with ``CHECKS``, named here."""

from cellplane.doctor.checks import (
    cells,
    clocks,
    control,
    expiry,
    files,
    fleet,
    moves,
    names,
    publishing,
    routers,
    stores,
    versions,
)
from cellplane.doctor.finding import Check

CHECKS: tuple[Check, ...] = (
    *control.CHECKS,
    *clocks.CHECKS,
    *cells.CHECKS,
    *stores.CHECKS,
    *routers.CHECKS,
    *publishing.CHECKS,
    *expiry.CHECKS,
    *files.CHECKS,
    *names.CHECKS,
    *versions.CHECKS,
    *fleet.CHECKS,
    *moves.CHECKS,
)
"""Every check, by code."""
