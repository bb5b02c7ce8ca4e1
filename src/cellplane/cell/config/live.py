"""The configuration that is in force: of a file that may change at any time, or the last good one."""

import logging
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from cellplane.cell.config.document import Document, Rollout
from cellplane.cell.config.layering import Layered, Layering, Settings
from cellplane.cell.config.settings import ConfigLimits
from cellplane.cell.context import current_or_none
from cellplane.cell.errors import ConfigError, UnknownFlagError
from cellplane.durable import write_durably

_log = logging.getLogger("cellplane.cell")

LAST_GOOD_SUFFIX = ".last-good"
"""Ends the name of the copy that is kept beside the file."""

_OFF = Rollout()


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """What is in force, for a health page or a metric."""

    revision: int
    """0 where the defaults are."""

    source: str
    """``file``, ``last good`` or ``defaults``."""

    failure: str
    """Why the file that is there now is not in force; empty where it is, or there is none."""

    unknown: tuple[str, ...]
    """Names in the file that this app does not declare."""


@dataclass(frozen=True, slots=True)
class _Flag:
    """A flag, and for whom it is known already whether it is on."""

    rollout: Rollout
    decided: dict[str | None, bool]


@dataclass(frozen=True, slots=True)
class _InForce(Generic[Settings]):
    """Replaced as a whole, so that who asks meanwhile sees one or the other."""

    document: Document | None
    values: Layered[Settings]
    flags: dict[str, _Flag]


class LiveConfig(Generic[Settings]):
    """Settings and flags as they are now. Safe to share between threads; asking is a look into a dict.

    A file that is damaged, of another cell, or older than what is in force changes nothing, and is said once. Without
    any file the defaults count, so an app starts on a laptop as it does in a cell.

    Args:
        path: of the document (``cellplane.cell.config.document``); a copy of the last good one is kept beside it.
        cell_id: this cell's id.
        settings: a dataclass whose fields have defaults (``Layering``).
        flags: names of all flags that the app asks for.

    Raises:
        ConfigError: the class cannot be used.
    """

    def __init__(
        self,
        path: Path,
        cell_id: str,
        settings: type[Settings],
        *,
        flags: Iterable[str] = (),
        limits: ConfigLimits | None = None,
    ) -> None:
        self._path = path
        self._last_good = path.with_name(path.name + LAST_GOOD_SUFFIX)
        self._cell_id = cell_id
        self._layering = Layering(settings)
        self._flags = tuple(flags)
        self._limits = limits or ConfigLimits()
        self._seen: tuple[int, int, int] | None = None
        self._failure = ""
        self._source = "defaults"
        self._in_force = self._made(None, Layered(self._layering.defaults, {}, ()))
        self._looking = threading.Lock()
        self._stopped = threading.Event()
        self.look()
        if self._source == "defaults":
            self._take_last_good()

    def values(self, tenant_id: str | None = None) -> Settings:
        """The settings of a tenant; without one, of the tenant that asks now, or of the cell where nobody does."""
        values = self._in_force.values
        if tenant_id is None:
            context = current_or_none()
            if context is None:
                return values.of_cell
            tenant_id = context.tenant_id
        return values.of_tenants.get(tenant_id, values.of_cell)

    def flag(self, name: str, tenant_id: str | None = None) -> bool:
        """Whether a flag is on for a tenant; without one, for the tenant that asks now, or for work that is nobody's.

        Raises:
            UnknownFlagError: the app did not declare it.
        """
        try:
            flag = self._in_force.flags[name]
        except KeyError:
            raise UnknownFlagError(name, self._flags) from None
        if tenant_id is None:
            context = current_or_none()
            tenant_id = None if context is None else context.tenant_id
        is_on = flag.decided.get(tenant_id)
        if is_on is None:
            is_on = flag.rollout.is_on(name, self._cell_id, tenant_id)
            if len(flag.decided) >= self._limits.max_decided:
                flag.decided.clear()
            flag.decided[tenant_id] = is_on
        return is_on

    def origin(self, name: str, tenant_id: str | None = None) -> str:
        """Which layer says a setting: ``tenant``, ``cell``, ``pool``, ``fleet`` or ``default``."""
        document = self._in_force.document
        return "default" if document is None else self._layering.origin(document, tenant_id, name)

    @property
    def status(self) -> ConfigStatus:
        """What is in force, and what keeps the file from being it."""
        found = self._in_force
        revision = 0 if found.document is None else found.document.revision
        return ConfigStatus(revision, self._source, self._failure, found.values.unknown)

    def start(self) -> None:
        """Look at the file now and then, in a thread, until ``stop`` or the end of the process."""
        threading.Thread(target=self._run, name="cell-config", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def look(self) -> bool:
        """Look at the file now; returns whether something else is in force."""
        with self._looking:
            try:
                found = self._path.stat()
            except FileNotFoundError:
                self._seen = None
                if self._in_force.document is not None:
                    self._fail("the file is gone")
                return False
            except OSError as error:
                self._fail(str(error))
                return False
            seen = (found.st_ino, found.st_size, found.st_mtime_ns)
            if seen == self._seen:
                return False
            self._seen = seen
            try:
                data = self._read(self._path)
                is_new = self._take(data, "file")
            except ConfigError as error:
                self._fail(str(error))
                return False
            except OSError as error:
                self._seen = None
                self._fail(str(error))
                return False
            self._failure = ""
            if is_new:
                self._keep(data)
            return is_new

    def _read(self, path: Path) -> bytes:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > self._limits.max_bytes:
                raise ConfigError("", f"expected at most {self._limits.max_bytes:,} bytes")
            return file.read(self._limits.max_bytes)

    def _take(self, data: bytes, source: str) -> bool:
        document = Document.parse(data)
        document.check_cell(self._cell_id)
        before = self._in_force.document
        if before is not None and document.revision < before.revision:
            raise ConfigError(
                "revision", f"expected {before.revision} or later, which is in force; found {document.revision}"
            )
        self._source = source
        if before == document:
            return False
        self._in_force = self._made(document, self._layering.read(document))
        return True

    def _made(self, document: Document | None, values: Layered[Settings]) -> _InForce[Settings]:
        said = {} if document is None else document.flags
        return _InForce(document, values, {name: _Flag(said.get(name, _OFF), {}) for name in self._flags})

    def _take_last_good(self) -> None:
        try:
            self._take(self._read(self._last_good), "last good")
        except FileNotFoundError:
            pass
        except (OSError, ConfigError) as error:
            _log.warning("the last good configuration cannot be used: %s: %s", self._last_good, error)

    def _keep(self, data: bytes) -> None:
        try:
            write_durably(self._last_good, data)
        except OSError as error:
            _log.warning("no copy of the configuration is kept: %s", error)

    def _fail(self, failure: str) -> None:
        if failure != self._failure:
            _log.error("the configuration %s is not in force, the last good one is: %s", self._path, failure)
        self._failure = failure

    def _run(self) -> None:
        while not self._stopped.wait(self._limits.look_seconds):
            self.look()
