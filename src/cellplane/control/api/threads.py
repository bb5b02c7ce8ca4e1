"""Where routes do what blocks: reads and writes apart, since these wait for each other, and reads for nobody.

A route that is not asynchronous runs in a thread of FastAPI's, which checks the answer in another one; its way there
takes several times as long as this one, and all such routes share those threads.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cellplane.control.service import Service
from cellplane.control.settings import READ_THREADS, SHARED_READ_THREADS, WRITE_THREADS
from cellplane.directory.failing import too_long

Answer = TypeVar("Answer")

READERS = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="read")
SHARED_READERS = ThreadPoolExecutor(SHARED_READ_THREADS, thread_name_prefix="shared-read")
WRITERS = ThreadPoolExecutor(WRITE_THREADS, thread_name_prefix="write")


async def to_read(service: Service, do: Callable[[], Answer]) -> Answer:
    """Do what reads the directory."""
    readers = SHARED_READERS if service.directory.is_shared else READERS
    return await asyncio.get_running_loop().run_in_executor(readers, do)


async def to_write(service: Service, do: Callable[[], Answer]) -> Answer:
    """Do what changes the directory.

    Raises:
        BusyError: no thread was free for longer than a change waits for others.
    """
    until = time.monotonic() + service.directory.settings.busy_timeout_ms / 1_000

    def in_time() -> Answer:
        if time.monotonic() > until:
            raise too_long()
        return do()

    return await asyncio.get_running_loop().run_in_executor(WRITERS, in_time)
