"""A disk below a folder that is full, or whose syncs fail, when a test says so (``failing_disk.c``)."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).parent / "failing_disk.c"
FULL, UNSYNCED = "full", "syncs fail"


class FailingDisk:
    """The disk below a folder, for processes that have its ``environ``."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        library = scratch / "failing_disk.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        self._switch = scratch / "disk-trouble"
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAILING_DISK": str(folder),
            "FAILING_DISK_SWITCH": str(self._switch),
        }

    @contextmanager
    def is_now(self, trouble: str) -> Iterator[None]:
        """Full, or without syncs, until the block ends."""
        self._switch.write_text(trouble)
        try:
            yield
        finally:
            self._switch.unlink()
