"""What a publisher counts of its signatures, its targets and the check before."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class PublishingMetrics:
    """In the control plane's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.target_epoch = Gauge(
            "cellplane_target_epoch", "Epoch of the last table that a target took", ["target"], registry=registry
        )
        self.target_failures = Counter(
            "cellplane_target_failures_total",
            "Times that a target did not take a table: it could not be written, or was fenced by a newer one",
            ["target", "reason"],
            registry=registry,
        )
        self.key_not_after = Gauge(
            "cellplane_signing_key_not_after_seconds",
            "Unix time after which a signing key counts no more; those without an end are not shown",
            ["key"],
            registry=registry,
        )
        self.check_installed = Gauge(
            "cellplane_table_check_installed",
            "1 where tables are checked by the routers' own validator before they are published",
            registry=registry,
        )
        self.checks_failed = Counter(
            "cellplane_table_checks_failed_total",
            "Tables that were not published: the validator refused them, died, or took too long",
            registry=registry,
        )
