"""What becomes of a compiled table beside the API: checked as routers do, signed, and brought to the targets."""

import random
import time

import structlog

from cellplane.control.encoded import EncodedParts
from cellplane.control.metrics import Metrics
from cellplane.control.settings import ControlSettings
from cellplane.publishing.keys import PublicKey, read_signing_key
from cellplane.publishing.manifest import Signature, to_header
from cellplane.publishing.outlets import Outlets, TargetState
from cellplane.publishing.settings import PublishingSettings
from cellplane.publishing.signer import Signer
from cellplane.publishing.table_check import PROGRAM, TableCheck, is_installed
from cellplane.publishing.targets import target_of
from cellplane.routing import RoutingTable

log = structlog.get_logger()


class Distribution:
    """Signing keys, targets and check of one control plane.

    Raises:
        KeyFileError: a signing key cannot be used.
        TargetError: a target cannot be.
    """

    def __init__(self, settings: ControlSettings, metrics: Metrics) -> None:
        limits = PublishingSettings()
        self._signer = Signer([read_signing_key(path) for path in settings.signing_keys], time.time)
        for key in self._signer.keys:
            if key.use.not_after is not None:
                metrics.publishing.key_not_after.labels(key=key.id).set(key.use.not_after)
        targets = [target_of(text, limits) for text in settings.publish_to]
        rng = random.Random()  # noqa: S311  # for pauses, not for secrets
        self._outlets = Outlets(targets, self._signer, metrics.publishing, limits, rng)
        self._check = TableCheck(
            settings.state_dir / "checking", metrics.publishing, timeout_seconds=limits.check_seconds
        )
        self.encoded = EncodedParts()

    def start(self) -> None:
        """Begin to bring tables to the targets, and say what is missing."""
        if not self._signer.keys:
            log.warning("tables_not_signed", advice="make a key with `cellplane keys create`; name it --signing-key")
        if not is_installed():
            log.warning(
                "table_check_missing", program=str(PROGRAM), advice="`make setup` builds it, and wheels have it"
            )
        self._outlets.start()

    def close(self) -> None:
        """End what it runs."""
        self._outlets.close()
        self._check.close()

    def require_sound(self, table: RoutingTable) -> None:
        """Check a table as routers do, before it is published. Blocking.

        Raises:
            TableCheckError: it must not be published.
        """
        self._check.require(table)

    @property
    def signing_keys(self) -> tuple[PublicKey, ...]:
        """The public halves of the keys that sign."""
        return tuple(key.public for key in self._signer.keys)

    def targets(self) -> list[TargetState]:
        """How far each target is."""
        return self._outlets.states()

    def publish(self, table: RoutingTable) -> None:
        """Bring a table that is published to the targets. Returns at once."""
        self._outlets.offer(table)

    def sign(self, data: bytes, jurisdiction: str) -> tuple[Signature, ...]:
        """The signatures of other bytes than a table's (``Signer.sign``)."""
        return self._signer.sign(data, jurisdiction)

    def manifest_header(self, table: RoutingTable) -> str | None:
        """What goes with a table over HTTP; None where it is not signed."""
        manifest = self._signer.manifest(table)
        return to_header(manifest.encode()) if manifest.signatures else None
