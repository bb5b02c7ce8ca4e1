"""Follows a directory whose disk takes nothing: says so, and finds out when it does again."""

import asyncio

import structlog

from cellplane.control.metrics import Metrics
from cellplane.control.settings import ControlSettings
from cellplane.directory import Directory
from cellplane.errors import DirectoryError

log = structlog.get_logger()


async def watch_disk(directory: Directory, metrics: Metrics, settings: ControlSettings) -> None:
    """Try to write, once a while, from a write that the disk did not take to one that it does, until cancelled."""
    metrics.writable.set_function(lambda: directory.disk_trouble is None)
    said = ""
    while True:
        await asyncio.sleep(settings.retry_seconds)
        trouble = directory.disk_trouble or ""
        if trouble:
            try:
                await asyncio.to_thread(directory.try_writing)
            except DirectoryError as error:
                trouble = str(error)
            else:
                trouble = ""
        if trouble and not said:
            log.error("directory_not_writable", error=trouble)
        elif said and not trouble:
            log.info("directory_writable_again")
        said = trouble
