"""Webhooks with their subscriptions, and the two loads that a delivery makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import Select

from webhooks.store.models import Event, Subscription, Webhook

Subscribed = tuple[Webhook, Subscription, Event]
"""A webhook, its subscription, and the event that it is subscribed to."""


# Built once: a delivery's three queries, whose construction would cost more than their execution.
_MATCHING = (
    select(Event, Subscription.allowed_client_identifiers, Webhook.id, Webhook.url)
    .outerjoin(Subscription, (col(Subscription.event_id) == col(Event.id)) & col(Subscription.active).is_(True))
    .outerjoin(Webhook, (col(Webhook.id) == col(Subscription.webhook_id)) & col(Webhook.active).is_(True))
    .where(col(Event.tenant) == bindparam("tenant"), col(Event.key) == bindparam("event"))
    .order_by(col(Webhook.id))
)
_LOAD = select(Webhook).where(col(Webhook.tenant) == bindparam("tenant"), col(Webhook.id) == bindparam("webhook"))
_LOAD_WITH_TEMPLATE = (
    select(Webhook, Event.template)
    .outerjoin(Event, (col(Event.tenant) == col(Webhook.tenant)) & (col(Event.key) == bindparam("event")))
    .where(col(Webhook.tenant) == bindparam("tenant"), col(Webhook.id) == bindparam("webhook"))
)


@dataclass(frozen=True)
class Match:
    """A webhook that wants an occurrence."""

    webhook_id: str
    url: str


async def find(session: AsyncSession, tenant: str, webhook_id: str) -> Subscribed | None:
    return (await session.exec(_subscribed(tenant).where(col(Webhook.id) == webhook_id))).first()


async def list_newest_first(
    session: AsyncSession, tenant: str, *, event: str | None, active: bool | None, before: str | None, limit: int
) -> Sequence[Subscribed]:
    query = _subscribed(tenant).order_by(col(Webhook.id).desc()).limit(limit)
    if event is not None:
        query = query.where(col(Event.key) == event)
    if active is not None:
        query = query.where(col(Webhook.active) == active)
    if before is not None:
        query = query.where(col(Webhook.id) < before)
    return (await session.exec(query)).all()


async def matching(
    session: AsyncSession, tenant: str, event_key: str, client_identifier: str | None
) -> tuple[Event | None, list[Match]]:
    """The event, and the active webhooks that want its occurrence for this client, oldest first. One query."""
    rows = (await session.exec(_MATCHING, params={"tenant": tenant, "event": event_key})).all()
    matches = [
        Match(webhook_id, url)
        for _, allowed, webhook_id, url in rows
        if webhook_id and (not allowed or client_identifier in allowed)
    ]
    return (rows[0][0] if rows else None), matches


async def load(session: AsyncSession, tenant: str, webhook_id: str) -> Webhook | None:
    """The live destination of an attempt. One query."""
    return (await session.exec(_LOAD, params={"tenant": tenant, "webhook": webhook_id})).first()


async def load_with_template(
    session: AsyncSession, tenant: str, webhook_id: str, event_key: str
) -> tuple[Webhook, Any] | None:
    """What `prepare` needs: the webhook, and the event's template if it has one. One query."""
    params = {"tenant": tenant, "webhook": webhook_id, "event": event_key}
    return (await session.exec(_LOAD_WITH_TEMPLATE, params=params)).first()


async def deactivate(session: AsyncSession, tenant: str, webhook_id: str, reason: str) -> None:
    webhook = await load(session, tenant, webhook_id)
    if webhook and webhook.active:
        webhook.active, webhook.deactivated_reason = False, reason
        webhook.updated_at = datetime.now(UTC)


def _subscribed(tenant: str) -> Select[Webhook, Subscription, Event]:
    return (
        select(Webhook, Subscription, Event)
        .join(Subscription, col(Subscription.webhook_id) == col(Webhook.id))
        .join(Event, col(Event.id) == col(Subscription.event_id))
        .where(col(Webhook.tenant) == tenant)
    )
