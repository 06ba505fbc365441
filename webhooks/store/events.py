"""The rows of the event catalogue."""

import json
from collections.abc import Sequence

from pydantic import JsonValue
from sqlalchemy import delete, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.store.models import Event, EventVersion, Subscription

_MAX_KEPT_VERSIONS = 50
"""Earlier versions of an event; older ones are deleted."""


async def find(session: AsyncSession, tenant: str, key: str, *, lock: bool = False) -> Event | None:
    """Return the event with this key, or None. With `lock`, nobody else can change it until the transaction ends."""
    query = select(Event).where(col(Event.tenant) == tenant, col(Event.key) == key)
    return (await session.exec(query.with_for_update() if lock else query)).first()


async def find_all(session: AsyncSession, tenant: str, keys: Sequence[str], *, lock: bool = False) -> list[Event]:
    """Return the events that exist, in the order of `keys`. `lock` as in `find`; rows are locked in the order of their
    keys, so that two transactions cannot wait for each other."""
    query = select(Event).where(col(Event.tenant) == tenant, col(Event.key).in_(keys))
    if lock:
        query = query.order_by(col(Event.key)).with_for_update()
    found = {event.key: event for event in (await session.exec(query)).all()}
    return [found[key] for key in keys if key in found]


async def list_by_key(
    session: AsyncSession,
    tenant: str,
    *,
    active: bool | None,
    search: str | None = None,
    after: str | None,
    limit: int,
) -> Sequence[Event]:
    """Return up to `limit` events in the order of their keys, beginning after the key `after`. `search`: only those
    whose key or description contains it, in either case."""
    query = select(Event).where(col(Event.tenant) == tenant).order_by(col(Event.key)).limit(limit)
    if active is not None:
        query = query.where(col(Event.active) == active)
    if search is not None:
        query = query.where(
            or_(
                col(Event.key).icontains(search, autoescape=True),
                col(Event.description).icontains(search, autoescape=True),
            )
        )
    if after is not None:
        query = query.where(col(Event.key) > after)
    return (await session.exec(query)).all()


async def change(session: AsyncSession, event: Event, *, json_schema: JsonValue, template: JsonValue) -> None:
    """Set schema and template, and keep the former ones as an earlier version. Deliveries that are already prepared
    keep their body. Does nothing if both are the same as before."""
    if json.dumps([event.json_schema, event.template]) == json.dumps([json_schema, template]):
        return
    session.add(
        EventVersion(event_id=event.id, version=event.version, json_schema=event.json_schema, template=event.template)
    )
    await session.exec(
        delete(EventVersion).where(
            col(EventVersion.event_id) == event.id, col(EventVersion.version) <= event.version - _MAX_KEPT_VERSIONS
        )
    )
    event.version += 1
    event.json_schema, event.template = json_schema, template


async def earlier_versions(session: AsyncSession, event: Event, *, before: int, limit: int) -> Sequence[EventVersion]:
    """Return up to `limit` versions that are older than version `before`, newest first."""
    query = (
        select(EventVersion)
        .where(col(EventVersion.event_id) == event.id, col(EventVersion.version) < before)
        .order_by(col(EventVersion.version).desc())
        .limit(limit)
    )
    return (await session.exec(query)).all()


async def is_subscribed(session: AsyncSession, event: Event) -> bool:
    """Return whether any subscription is for this event."""
    query = select(Subscription.id).where(col(Subscription.event_id) == event.id).limit(1)
    return (await session.exec(query)).first() is not None
