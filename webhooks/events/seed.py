"""The platform's own events put into every tenant's catalogue."""

import logging

from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.events.operational import EVENTS, KEYS
from webhooks.store import api_keys, events
from webhooks.store.models import Event

log = logging.getLogger(__name__)


async def provide(session: AsyncSession) -> None:
    """Puts them into the catalogue of each tenant that has an API key, as this version has them. What a tenant chose
    (active, template) stays."""
    for tenant in await api_keys.tenants(session):
        found = {event.key: event for event in await events.find_all(session, tenant, sorted(KEYS))}
        for key, own in EVENTS.items():
            entity, action = key.split(".")
            event = found.get(key)
            if event is None:
                event = Event(tenant=tenant, key=key, json_schema=own.schema)
                session.add(event)
            elif event.json_schema != own.schema:
                log.warning("event %s of tenant %s has now the platform's own schema", key, tenant)
                await events.change(session, event, json_schema=own.schema, template=event.template)
            event.entity, event.action, event.owner_required = entity, action, False
            event.description, event.sample = own.description, own.sample
