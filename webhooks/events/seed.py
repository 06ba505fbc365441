"""Adding the operational events to every tenant's catalogue."""

import logging

from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.events.operational import EVENTS, KEYS
from webhooks.store import api_keys
from webhooks.store import events as stored_events
from webhooks.store.models import Event

log = logging.getLogger(__name__)


async def provide(session: AsyncSession) -> None:
    """Add or update the operational events of each tenant that has an API key. Keep what a tenant can change: `active`
    and `template`."""
    for tenant in await api_keys.tenants(session):
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
