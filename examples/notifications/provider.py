"""A simulated push, SMS and e-mail provider: one file a channel, one JSON line a delivery."""

import fcntl
import json
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from notifications.errors import ProviderError
from notifications.model import Notification
from notifications.settings import Settings


@dataclass
class _Seen:
    """What this process has read of one file."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    inode: int = 0
    offset: int = 0
    """Bytes that were read; always the end of a line."""

    ids: OrderedDict[str, None] = field(default_factory=OrderedDict)


class FileProvider:
    """Delivers by appending to ``<dir>/<channel>.jsonl``. Blocking: call it in a thread.

    It is idempotent like a real provider with a client reference: an id that is among the last
    ``provider_remembered_ids`` of the file, by whatever process, is taken without another effect.

    Args:
        settings: the process's settings.
        now: the clock of the lines' times.
    """

    def __init__(self, settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._settings = settings
        self._now = now
        self._seen: dict[str, _Seen] = {}
        self._seen_lock = threading.Lock()

    def deliver(self, notification: Notification) -> bool:
        """Deliver a notification; when this returns, it survives a crash.

        Returns:
            Whether there is a new line: False when there was one of this id.

        Raises:
            ProviderError: it is not known to be delivered.
        """
        with self._seen_lock:
            seen = self._seen.setdefault(notification.channel, _Seen())
        path = self._settings.provider_dir / f"{notification.channel}.jsonl"
        deadline = time.monotonic() + self._settings.provider_lock_seconds
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(path, seen.lock, deadline) as file:
                self._catch_up(file, seen)
                if str(notification.id) in seen.ids:
                    return False
                file.write(self._line(notification))
                file.flush()
                os.fsync(file.fileno())
                self._catch_up(file, seen)
        except OSError as error:
            raise ProviderError(f"{path.name}: {error.strerror or type(error).__name__}") from error
        except (ValueError, LookupError, TypeError) as error:
            raise ProviderError(f"{path.name}: expected one JSON object with an id a line; remove the file") from error
        assert str(notification.id) in seen.ids, "a line that was written is read back"
        return True

    def _line(self, notification: Notification) -> bytes:
        line = {
            "id": str(notification.id),
            "tenant": notification.tenant_id,
            "cell": self._settings.cell.cell_id,
            "channel": notification.channel,
            "to": notification.recipient,
            "body": notification.body,
            "at": self._now().isoformat(timespec="milliseconds"),
        }
        return json.dumps(line).encode("ascii") + b"\n"

    def _catch_up(self, file: BinaryIO, seen: _Seen) -> None:
        """Read what is new in the file, and cut off a last line that a crash left unfinished."""
        status = os.fstat(file.fileno())
        if status.st_ino != seen.inode or status.st_size < seen.offset:
            seen.inode, seen.offset = status.st_ino, 0
            seen.ids.clear()
        file.seek(seen.offset)
        for line in file:
            if not line.endswith(b"\n"):
                file.truncate(seen.offset)
                break
            seen.offset += len(line)
            seen.ids[json.loads(line)["id"]] = None
            if len(seen.ids) > self._settings.provider_remembered_ids:
                seen.ids.popitem(last=False)


@contextmanager
def _locked(path: Path, lock: threading.Lock, deadline: float) -> Iterator[BinaryIO]:
    """Open a file for this thread alone, among all threads and processes.

    Raises:
        TimeoutError: others had it until the deadline.
    """
    if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise TimeoutError("another thread has the file")
    try:
        with path.open("a+b") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise TimeoutError("another process has the file") from None
                    time.sleep(0.002)
            yield file
    finally:
        lock.release()
