"""Which tables this router takes: those that somebody has signed whom it was told to trust."""

from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from cellplane.errors import KeyFileError, SignatureError
from cellplane.publishing.keys import read_public_keys
from cellplane.publishing.manifest import Manifest
from cellplane.publishing.trust import Trust
from cellplane.router.settings import RouterSettings
from cellplane.routing import RoutingTable

log = structlog.get_logger()


class TrustedKeys:
    """The files of public keys, read anew for each table: a key comes or goes without a restart.

    Args:
        paths: none: tables are taken unsigned.
        fleet: whose tables are taken; empty: any.
        clock: Unix seconds.

    Raises:
        KeyFileError: a file cannot be used.
    """

    def __init__(self, paths: Iterable[Path], fleet: str, clock: Callable[[], float]) -> None:
        self._paths = tuple(paths)
        self._fleet = fleet
        self._clock = clock
        self._said = ""
        self._trust: Trust | None = None
        self._trust = self._read()
        if self._trust is None:
            log.warning("tables_not_verified", advice="start the router with --trust and the publisher's public keys")

    @classmethod
    def of(cls, settings: RouterSettings, clock: Callable[[], float]) -> "TrustedKeys":
        """The router's."""
        return cls(settings.trust, settings.fleet, clock)

    def read(self, manifest: bytes | None) -> Manifest | None:
        """The manifest that came with a table, verified now.

        Returns:
            None where there is none, and none is needed.

        Raises:
            SignatureError: it is not one that this router trusts.
        """
        if manifest is None:
            if self._trust is not None:
                raise SignatureError("the table came without a manifest, and this router takes signed tables alone")
            return None
        found = Manifest.parse(manifest)
        self._verify(found, now=int(self._clock()))
        return found

    def check(self, manifest: Manifest | None, table: RoutingTable) -> None:
        """Check that a manifest that was read is that of the table that came with it.

        Raises:
            SignatureError: it is not, or the table is of another fleet.
        """
        if self._fleet and table.fleet != self._fleet:
            raise SignatureError(f"the table is of fleet {table.fleet!r}, expected {self._fleet!r}: ask another source")
        if manifest is not None:
            manifest.statement.check_describes(table)

    def vouch(self, table: RoutingTable, manifests: Iterable[bytes]) -> None:
        """Check that one of the manifests on this router's disk is of a table on its disk, or of one on the same base.
        A key that has expired since it came still counts.

        Raises:
            SignatureError: none is.
        """
        self.check(None, table)
        if self._trust is None:
            return
        reason = "it has no manifest"
        for data in manifests:
            try:
                manifest = Manifest.parse(data)
                self._verify(manifest, now=None)
            except SignatureError as error:
                reason = str(error)
                continue
            if manifest.statement.vouches_for(table):
                return
        raise SignatureError(f"the stored table is not one that this router trusts: {reason}")

    def _verify(self, manifest: Manifest, *, now: int | None) -> None:
        if self._fleet:
            manifest.statement.check_fleet(self._fleet)
        self._trust = self._read()
        if self._trust is not None:
            self._trust.verify(manifest, now=now)

    def _read(self) -> Trust | None:
        """The keys that the files hold; those before where a file cannot be used any more."""
        if not self._paths:
            return None
        try:
            trust = Trust([key for path in self._paths for key in read_public_keys(path)])
        except KeyFileError as error:
            if self._trust is None:
                raise
            if str(error) != self._said:
                log.error("trust_file_unusable", error=str(error), keys_go_on=sorted(self._trust.keys))
            self._said = str(error)
            return self._trust
        self._said = ""
        return trust
