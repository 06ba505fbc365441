"""The event catalogue."""

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.store.models import Event, Subscription


async def find(session: AsyncSession, tenant: str, key: str) -> Event | None:
    return (await session.exec(select(Event).where(col(Event.tenant) == tenant, col(Event.key) == key))).first()


async def list_by_key(
    session: AsyncSession, tenant: str, *, active: bool | None, after: str | None, limit: int
) -> Sequence[Event]:
    query = select(Event).where(col(Event.tenant) == tenant).order_by(col(Event.key)).limit(limit)
    if active is not None:
        query = query.where(col(Event.active) == active)
    if after is not None:
        query = query.where(col(Event.key) > after)
    return (await session.exec(query)).all()


async def is_subscribed(session: AsyncSession, event: Event) -> bool:
    query = select(Subscription.id).where(col(Subscription.event_id) == event.id).limit(1)
    return (await session.exec(query)).first() is not None
