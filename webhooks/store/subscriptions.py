"""The rows of subscriptions: each sends an event to a webhook."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import Select

from webhooks.store.models import Event, Subscription, Webhook

Subscribed = tuple[Subscription, str]
"""A subscription and the key of its event."""


async def find(
    session: AsyncSession, tenant: str, id: str, *, owner: str | None = None, lock: bool = False
) -> Subscribed | None:
    """Return the subscription with this id, or None. `owner`: only if its webhook belongs to this client. With `lock`,
    nobody else can change it until the transaction ends."""
    query = _of(tenant, owner).where(col(Subscription.id) == id)
    return (await session.exec(query.with_for_update(of=Subscription) if lock else query)).first()


async def tenants_of(session: AsyncSession, event: str) -> dict[str, datetime]:
    """Return the tenants that have an active subscription to the event, and since when."""
    query = (
        select(Subscription.tenant, func.min(Subscription.created_at))
        .join(Event, col(Event.id) == col(Subscription.event_id))
        .where(col(Event.key) == event, col(Subscription.active))
        .group_by(col(Subscription.tenant))
    )
    return dict((await session.exec(query)).all())


async def of_webhooks(
    session: AsyncSession, tenant: str, webhook_ids: Sequence[str], *, lock: bool = False
) -> dict[str, list[Subscribed]]:
    """Return the subscriptions of each webhook, oldest first. `lock` as in `find`."""
    query = (
        _of(tenant)
        .where(col(Subscription.webhook_id).in_(webhook_ids))
        .order_by(col(Subscription.created_at), col(Subscription.id))
    )
    if lock:
        query = query.with_for_update(of=Subscription)
    found: dict[str, list[Subscribed]] = {id: [] for id in webhook_ids}
    for subscription, event in (await session.exec(query)).all():
        found[subscription.webhook_id].append((subscription, event))
    return found


async def exists(session: AsyncSession, event: Event, webhook: Webhook) -> bool:
    """Return whether the webhook is subscribed to the event."""
    query = select(Subscription.id).where(
        col(Subscription.event_id) == event.id, col(Subscription.webhook_id) == webhook.id
    )
    return (await session.exec(query)).first() is not None


async def list_newest_first(
    session: AsyncSession,
    tenant: str,
    *,
    events: Sequence[str] | None,
    webhook_ids: Sequence[str] | None,
    active: bool | None,
    owner: str | None,
    before: str | None,
    limit: int,
) -> Sequence[Subscribed]:
    """Return up to `limit` subscriptions older than the one with id `before`, filtered by what is not
    None. Of several values, any one may match."""
    query = _of(tenant, owner).order_by(col(Subscription.id).desc()).limit(limit)
    if events is not None:
        query = query.where(col(Event.key).in_(events))
    if webhook_ids is not None:
        query = query.where(col(Subscription.webhook_id).in_(webhook_ids))
    if active is not None:
        query = query.where(col(Subscription.active) == active)
    if before is not None:
        query = query.where(col(Subscription.id) < before)
    return (await session.exec(query)).all()


def _of(tenant: str, owner: str | None = None) -> Select[Subscription, str]:
    query = (
        select(Subscription, Event.key)
        .join(Event, col(Event.id) == col(Subscription.event_id))
        .where(col(Subscription.tenant) == tenant)
    )
    if owner is None:
        return query
    return query.join(Webhook, col(Webhook.id) == col(Subscription.webhook_id)).where(
        col(Webhook.client_identifier) == owner
    )
