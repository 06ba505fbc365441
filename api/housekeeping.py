"""What an API process does in the background: it completes the deletion of tenants. Every process does; what one has
begun, another one can end."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError

from webhooks.deliveries.removal import remove_all
from webhooks.store import tenants
from webhooks.store.database import Database
from webhooks.store.postgresql import DatabaseAwayError

log = logging.getLogger(__name__)

_POLL_SECONDS = 2.0
_STILL_PUBLISHES = timedelta(seconds=15)
"""After the deletion was asked for, another process may accept the tenant's keys for some seconds more, and complete
what it has begun."""


@contextlib.asynccontextmanager
async def keeping(database: Database, client: Client) -> AsyncIterator[None]:
    """Do it while the block runs."""
    working = asyncio.create_task(_keep(database, client))
    try:
        yield
    finally:
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


async def _keep(database: Database, client: Client) -> None:
    while True:
        try:
            await _delete_tenants(database, client)
        except (SQLAlchemyError, DatabaseAwayError, RPCError) as error:
            log.info("cannot complete the deletion of a tenant yet: %s", type(error).__name__)
        except Exception:
            log.exception("cannot complete the deletion of a tenant")
        await asyncio.sleep(_POLL_SECONDS)


async def _delete_tenants(database: Database, client: Client) -> None:
    async with database.read() as session:
        found = await tenants.being_deleted(session)
    for id, since in found:
        if await remove_all(client, id) or datetime.now(UTC) - since < _STILL_PUBLISHES:
            continue
        async with database.write() as session:
            await tenants.delete_rows(session, id)
        log.info("tenant %s is deleted", id)
