"""The rows of the audit: who changed what."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.ids import uuid7_not_before
from webhooks.store.models import AuditEntry

_DELETED_AT_ONCE = 1_000
"""Rows. A longer transaction would make others wait."""


async def list_newest_first(
    session: AsyncSession,
    tenant: str,
    *,
    actor: str | None = None,
    action: str | None = None,
    resource: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: str | None = None,
    limit: int,
) -> Sequence[AuditEntry]:
    """Return up to `limit` entries older than the one with id `before`, filtered by what is not None. `since` is
    inclusive, `until` exclusive."""
    query = select(AuditEntry).where(col(AuditEntry.tenant) == tenant).order_by(col(AuditEntry.id).desc()).limit(limit)
    for column, value in ((AuditEntry.actor, actor), (AuditEntry.action, action), (AuditEntry.resource, resource)):
        if value is not None:
            query = query.where(col(column) == value)
    if since is not None:
        query = query.where(col(AuditEntry.at) >= since)
    if until is not None:
        query = query.where(col(AuditEntry.at) < until)
    if before is not None:
        query = query.where(col(AuditEntry.id) < before)
    return (await session.exec(query)).all()


async def list_oldest_first(
    session: AsyncSession, tenants: Collection[str], *, since: datetime, after: str, limit: int
) -> Sequence[AuditEntry]:
    """Return up to `limit` entries of these tenants made since then, with ids after `after`."""
    first = max(uuid7_not_before(since), after)
    query = select(AuditEntry).where(col(AuditEntry.tenant).in_(tenants), col(AuditEntry.id) > first)
    return (await session.exec(query.order_by(col(AuditEntry.id)).limit(limit))).all()


async def delete_older(session: AsyncSession, than: datetime) -> bool:
    """Delete some entries of all tenants that are older. Return whether there may be more."""
    old = select(AuditEntry.id).where(col(AuditEntry.id) < uuid7_not_before(than)).limit(_DELETED_AT_ONCE)
    deleted = await session.exec(delete(AuditEntry).where(col(AuditEntry.id).in_(old)))
    return bool(deleted.rowcount == _DELETED_AT_ONCE)
