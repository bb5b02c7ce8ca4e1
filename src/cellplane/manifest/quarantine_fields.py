"""The fields of a fleet's quarantine."""

from cellplane.manifest.shapes import NAME, Field, Flag, ListOf, Object, Whole
from cellplane.model import QuarantinePolicy
from cellplane.model.quarantine import MAX_QUARANTINE_CELLS, MAX_QUARANTINE_SECONDS, MAX_QUARANTINED

QUARANTINE = Object(
    QuarantinePolicy,
    (
        Field(
            "cells",
            "cells",
            ListOf(NAME, 0, MAX_QUARANTINE_CELLS),
            "Cells of no pool, each for tenants of its own jurisdiction. None: nobody is quarantined.",
        ),
        Field("automatic", "automatic", Flag(), "Whether what routers find is enough; else a person decides."),
        Field("maxTenants", "max_tenants", Whole(1, MAX_QUARANTINED), "Most tenants in quarantine at once."),
        Field(
            "seconds",
            "seconds",
            Whole(1, MAX_QUARANTINE_SECONDS),
            "How long the first one of a tenant lasts; it doubles with each further one.",
        ),
        Field("capSeconds", "cap_seconds", Whole(1, MAX_QUARANTINE_SECONDS), "Longest one, however often it doubles."),
        Field(
            "forgetSeconds",
            "forget_seconds",
            Whole(0, MAX_QUARANTINE_SECONDS),
            "Time after a release when earlier ones are forgotten.",
        ),
        Field(
            "holdSeconds",
            "hold_seconds",
            Whole(0, MAX_QUARANTINE_SECONDS),
            "Time after a release by hand in which no router's finding sends the tenant back.",
        ),
    ),
)
