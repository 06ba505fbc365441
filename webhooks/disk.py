"""Whether a directory can be written to; if not, why, and what to do. A watcher that asks this all the time."""

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

log = logging.getLogger(__name__)

_START_BYTES = 65_536
"""The least free space that a start needs: SQLite's index of its log alone takes 32 KiB."""
_LOW_BYTES = 8 * 1024 * 1024
"""With less free space, nothing new is accepted: what was accepted still has to be delivered."""
_WATCH_SECONDS = 1.0
_REMEDIES = {
    errno.EROFS: "Mount its file system for writing",
    errno.EACCES: "Let the user of this process write there",
    errno.EPERM: "Let the user of this process write there",
    errno.ENOSPC: "Free space on its file system",
    errno.EDQUOT: "Free space within the quota",
}


def try_to_write(folder: Path) -> None:
    """Write a small file without a name, which leaves nothing behind. Raises OSError."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(_START_BYTES))


def remedy(error: OSError) -> str:
    """Return what to do, without a full stop."""
    return _REMEDIES.get(error.errno or 0, "Make it a directory that this process may write to")


def why_not_writable(folder: Path) -> OSError | None:
    """Return the error that writing to the folder meets, or is about to meet: less than 8 MiB are free."""
    try:
        if shutil.disk_usage(folder).free < _LOW_BYTES:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try_to_write(folder)
    except OSError as error:
        return error
    return None


class Disk:
    """Watches the data directory that the embedded Temporal server writes to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.problem: str | None = None
        """Why nothing new can be stored, for callers: it names no path. None if it can."""

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Keep `problem` true while the block runs. Log when it comes and when it has gone."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def _watch(self) -> None:
        while True:
            error = await asyncio.to_thread(why_not_writable, self._folder)
            problem = f"the platform cannot write to its disk: {error.strerror}" if error else None
            if error and problem != self.problem:
                log.error(
                    "cannot write to WEBHOOKS_DATA_DIR %s: %s. Nothing is accepted until this is over. %s.",
                    self._folder.absolute(),
                    error.strerror,
                    remedy(error),
                )
            elif self.problem and not error:
                log.info("can write to WEBHOOKS_DATA_DIR %s again", self._folder.absolute())
            self.problem = problem
            await asyncio.sleep(_WATCH_SECONDS)
