"""The rows of webhooks, and the queries of a delivery."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, bindparam, func, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import load_only
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlmodel import SQLModel, col, exists, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.store import remembered
from webhooks.store.models import Event, Subscription, Webhook


def _columns(table: type[SQLModel], *names: str) -> list[Any]:
    return [getattr(table, name) for name in names]


# The queries of a delivery are built once: building one costs more than running it.
_SUBSCRIBED = (
    select(Event, Subscription, Webhook)
    .outerjoin(Subscription, (col(Subscription.event_id) == col(Event.id)))
    .outerjoin(Webhook, (col(Webhook.id) == col(Subscription.webhook_id)))
    .options(
        load_only(*_columns(Event, "id", "key", "active", "owner_required", "json_schema")),
        load_only(*_columns(Subscription, "id", "active", "allowed_client_identifiers", "filter")),
        load_only(*_columns(Webhook, "id", "url", "active", "bulk")),
    )
    .where(col(Event.tenant) == bindparam("tenant"), col(Event.key) == bindparam("event"))
    .order_by(col(Webhook.id))
    .execution_options(**remembered.OPTIONS)
)
_OF_ONE = (col(Webhook.tenant) == bindparam("tenant"), col(Webhook.id) == bindparam("webhook"))
_THIS_EVENT = (col(Event.tenant) == col(Webhook.tenant)) & (col(Event.key) == bindparam("event"))
_FIND = select(Webhook).where(*_OF_ONE)
_LOAD = (
    select(Webhook, Event, Subscription.active)
    .outerjoin(Event, _THIS_EVENT)
    .outerjoin(
        Subscription,
        (col(Subscription.webhook_id) == col(Webhook.id)) & (col(Subscription.event_id) == col(Event.id)),
    )
    .options(load_only(*_columns(Event, "id", "entity", "action", "template", "version")))
    .where(*_OF_ONE)
    .execution_options(**remembered.OPTIONS)
)


class Loaded(NamedTuple):
    """What a delivery needs: the webhook, the parts of the event that make the body, and whether the subscription is
    active (None: there is no subscription)."""

    webhook: Webhook
    event: Event | None
    subscribed: bool | None


async def find(session: AsyncSession, tenant: str, webhook_id: str, *, lock: bool = False) -> Webhook | None:
    """Return the webhook, or None, with one query. With `lock`, nobody else can change it until the transaction
    ends."""
    query = _FIND.with_for_update() if lock else _FIND
    return (await session.exec(query, params={"tenant": tenant, "webhook": webhook_id})).first()


async def find_all(session: AsyncSession, tenant: str, ids: Collection[str]) -> dict[str, Webhook]:
    """Return the webhooks that exist, by id."""
    query = select(Webhook).where(col(Webhook.tenant) == tenant, col(Webhook.id).in_(ids))
    return {webhook.id: webhook for webhook in (await session.exec(query)).all()}


async def ids_of_client(session: AsyncSession, tenant: str, client_identifier: str) -> Sequence[str]:
    """Return the ids of the webhooks that belong to a client."""
    query = select(Webhook.id).where(col(Webhook.tenant) == tenant, col(Webhook.client_identifier) == client_identifier)
    return (await session.exec(query)).all()


async def any_stored(session: AsyncSession) -> bool:
    """Return whether there is any webhook, of any tenant."""
    return (await session.exec(select(Webhook.id).limit(1))).first() is not None


async def list_newest_first(
    session: AsyncSession,
    tenant: str,
    *,
    events: Sequence[str] | None,
    client_identifiers: Sequence[str] | None,
    owner: str | None,
    url: str | None,
    active: bool | None,
    before: str | None,
    limit: int,
) -> Sequence[Webhook]:
    """Return up to `limit` webhooks older than the one with id `before`, filtered by what is not None. Of several
    values, any one may match. One subscription must be for the event and name the client. `owner` is the client that a
    webhook belongs to. `url` is a prefix."""
    query = select(Webhook).where(col(Webhook.tenant) == tenant).order_by(col(Webhook.id).desc()).limit(limit)
    subscription = [col(Subscription.webhook_id) == col(Webhook.id)]
    if events is not None:
        subscription += [col(Subscription.event_id) == col(Event.id), col(Event.key).in_(events)]
    if client_identifiers is not None:
        subscription.append(_names_any_client(client_identifiers))
    if len(subscription) > 1:
        query = query.where(exists().where(*subscription))
    if owner is not None:
        query = query.where(col(Webhook.client_identifier) == owner)
    if url is not None:
        query = query.where(func.substr(col(Webhook.url), 1, len(url)) == url)
    if active is not None:
        query = query.where(col(Webhook.active) == active)
    if before is not None:
        query = query.where(col(Webhook.id) < before)
    return (await session.exec(query)).all()


class _JsonElements(GenericFunction[str]):
    """The elements of a JSON list, as a table with a column `value`."""

    name = "json_each"  # SQLite's
    inherit_cache = True


@compiles(_JsonElements, "postgresql")
def _on_postgresql(function: _JsonElements, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_elements_text{compiler.process(function.clause_expr, **options)}"


def _names_any_client(client_identifiers: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that a subscription names one of these clients."""
    allowed = _JsonElements(col(Subscription.allowed_client_identifiers)).table_valued("value")
    return exists(select(allowed.c.value).where(allowed.c.value.in_(client_identifiers)))


async def subscribed(
    session: AsyncSession, tenant: str, event_key: str
) -> tuple[Event | None, list[tuple[Subscription, Webhook]]]:
    """Return the event, and its subscriptions with their webhooks, oldest webhook first. One query loads only the
    columns that matching needs."""
    rows = (await session.exec(_SUBSCRIBED, params={"tenant": tenant, "event": event_key})).all()
    return (rows[0][0] if rows else None), [(row[1], row[2]) for row in rows if row[2] is not None]


async def load(session: AsyncSession, tenant: str, webhook_id: str, event: str) -> Loaded | None:
    """Return what a delivery of `event` to this webhook needs, as stored now; None if there is no such webhook. One
    query."""
    params = {"tenant": tenant, "webhook": webhook_id, "event": event}
    row = (await session.exec(_LOAD, params=params)).first()
    return Loaded(*row) if row else None


async def deactivate(
    session: AsyncSession, seen: Webhook, now: datetime, reason: str, *, failing_since: datetime | None = None
) -> bool:
    """Deactivate a webhook and return whether this changed it. It does not if the webhook is inactive already, if its
    URL has changed since it was `seen`, or if it has not been failing since `failing_since`, where that is given."""
    webhook = await find(session, seen.tenant, seen.id, lock=True)
    if webhook is None or not webhook.active or webhook.url != seen.url:
        return False
    if failing_since and webhook.failing_since != failing_since:
        return False
    webhook.active, webhook.deactivated_reason = False, reason
    webhook.deactivated_at = webhook.updated_at = now
    return True


async def set_failing(session: AsyncSession, seen: Webhook, since: datetime) -> bool:
    """Store since when a webhook fails, and return whether this changed it. It does not if a time is stored already, or
    if the webhook's URL has changed since it was `seen`."""
    conditions = (col(Webhook.url) == seen.url, col(Webhook.failing_since).is_(None))
    return await _update(session, seen, *conditions, failing_since=since)


async def clear_failing(session: AsyncSession, seen: Webhook) -> bool:
    """Delete since when a webhook fails, and return whether this changed it."""
    return await _update(session, seen, col(Webhook.failing_since).is_not(None), failing_since=None)


async def _update(session: AsyncSession, webhook: Webhook, *conditions: ColumnElement[bool], **values: Any) -> bool:
    """Set columns of a webhook if the conditions hold. Return whether they did."""
    query = update(Webhook).where(col(Webhook.tenant) == webhook.tenant, col(Webhook.id) == webhook.id, *conditions)
    return bool((await session.exec(query.values(**values))).rowcount)


async def urls(session: AsyncSession, tenant: str, ids: Collection[str]) -> dict[str, str]:
    """Return the URLs of these webhooks of a tenant, by id. One that is deleted is left out."""
    rows = await session.exec(
        select(Webhook.id, Webhook.url).where(col(Webhook.tenant) == tenant, col(Webhook.id).in_(ids))
    )
    return dict(rows.all())


async def names(
    session: AsyncSession, tenant: str, ids: Collection[str], owner: str | None
) -> Sequence[tuple[str, str, str]]:
    """Return id, name and URL of these webhooks of a tenant; with `owner`, of those that belong to this client. One
    that is deleted is left out."""
    query = select(Webhook.id, Webhook.name, Webhook.url).where(col(Webhook.tenant) == tenant, col(Webhook.id).in_(ids))
    if owner is not None:
        query = query.where(col(Webhook.client_identifier) == owner)
    return (await session.exec(query)).all()
