"""Learning which tenants are suspended. A worker asks at intervals, because asking for each attempt would cost each a
query more."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from webhooks.store import tenants
from webhooks.store.database import Database

log = logging.getLogger(__name__)

_POLL_SECONDS = 2.0


@contextlib.asynccontextmanager
async def watched(database: Database, changed: Callable[[frozenset[str]], None]) -> AsyncIterator[None]:
    """Call `changed` with the suspended tenants when the block begins, and while it runs when they have changed. While
    the database is away, those that were known stay suspended."""
    known = await _paused(database)
    changed(known)
    watching = asyncio.create_task(_watch(database, changed, known))
    try:
        yield
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _watch(database: Database, changed: Callable[[frozenset[str]], None], known: frozenset[str]) -> None:
    failing = False
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        try:
            paused = await _paused(database)
        except Exception as error:
            if not failing:
                log.warning("cannot ask which tenants are suspended: %s", type(error).__name__)
            failing = True
            continue
        failing = False
        if paused != known:
            known = paused
            changed(known)


async def _paused(database: Database) -> frozenset[str]:
    async with database.read() as session:
        return frozenset(await tenants.paused(session))
