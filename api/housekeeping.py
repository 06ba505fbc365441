"""What an API process does in the background: it publishes the audit as events, completes the deletion of tenants, and
deletes old entries of the audit and old answers. Every process does; what one has begun, another one can end."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError

from webhooks.deliveries.removal import remove_all
from webhooks.publishing.audit_events import AuditEvents
from webhooks.publishing.publish import Publisher
from webhooks.store import audit, idempotency, tenants
from webhooks.store.database import Database
from webhooks.store.postgresql import DatabaseAwayError

log = logging.getLogger(__name__)

_AUDIT_SECONDS = 2.0
_TENANTS_SECONDS = 2.0
_OLD_SECONDS = 3_600.0
_STILL_PUBLISHES = timedelta(seconds=15)
"""After the deletion was asked for, another process may accept the tenant's keys for some seconds more, and complete
what it has begun."""
_STILL_REMEMBERED = timedelta(seconds=60)
"""Until then another process may have the tenant's payload keys in memory. It would encrypt with them for a new tenant
of the same id, although they are deleted: nobody could read it."""


@contextlib.asynccontextmanager
async def keeping(database: Database, publisher: Publisher, *, audit_days: float) -> AsyncIterator[None]:
    """Do it while the block runs. `audit_days`: how long entries of the audit are kept."""

    async def delete_old() -> None:
        await _delete_old(database, timedelta(days=audit_days))

    async def delete_tenants() -> None:
        await _delete_tenants(database, publisher.client)

    audit_events = AuditEvents(publisher, database)
    tasks = [
        asyncio.create_task(_repeat("publish the audit", audit_events.publish_new, _AUDIT_SECONDS)),
        asyncio.create_task(_repeat("delete tenants", delete_tenants, _TENANTS_SECONDS)),
        asyncio.create_task(_repeat("delete old entries and answers", delete_old, _OLD_SECONDS)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(what: str, work: Callable[[], Awaitable[None]], pause: float) -> None:
    while True:
        try:
            await work()
        except (SQLAlchemyError, DatabaseAwayError, RPCError) as error:
            log.info("cannot %s now: %s", what, type(error).__name__)
        except Exception:
            log.exception("cannot %s", what)
        await asyncio.sleep(pause)


async def _delete_old(database: Database, keep: timedelta) -> None:
    more = True
    while more:
        async with database.write() as session:
            more = await audit.delete_older(session, datetime.now(UTC) - keep)
    async with database.write() as session:
        await idempotency.delete_old(session)


async def _delete_tenants(database: Database, client: Client) -> None:
    async with database.read() as session:
        found = await tenants.being_deleted(session)
    for id, since in found:
        if await remove_all(client, id) or datetime.now(UTC) - since < _STILL_PUBLISHES:
            continue
        last = datetime.now(UTC) - since > _STILL_REMEMBERED
        async with database.write() as session:
            await tenants.delete_rows(session, id)
            if last:
                await tenants.delete_deleted(session, id)
        if last:
            log.info("tenant %s is deleted", id)
