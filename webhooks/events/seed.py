"""Adding the operational events to every tenant's catalogue."""

import logging

from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.events.operational import EVENTS, KEYS
from webhooks.store import events as stored_events
from webhooks.store import tenants
from webhooks.store.models import Event

log = logging.getLogger(__name__)


async def provide(session: AsyncSession) -> None:
    """Add or update the operational events of each tenant."""
    for tenant in await tenants.ids(session):
        await provide_for(session, tenant)


async def provide_for(session: AsyncSession, tenant: str) -> None:
    """Add or update the operational events of a tenant. Keep what it can change: `active` and `template`."""
    found = {event.key: event for event in await stored_events.find_all(session, tenant, sorted(KEYS))}
    for key, operational in EVENTS.items():
        entity, action = key.split(".")
        event = found.get(key)
        if event is None:
            event = Event(tenant=tenant, key=key, json_schema=operational.schema)
            session.add(event)
        elif event.json_schema != operational.schema:
            log.warning("replaced the schema of event %s of tenant %s by the platform's", key, tenant)
            await stored_events.change(session, event, json_schema=operational.schema, template=event.template)
        event.entity, event.action, event.owner_required = entity, action, False
        event.description, event.sample = operational.description, operational.sample
