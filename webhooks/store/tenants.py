"""The rows of tenants: who owns everything else."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, or_
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.store.models import Tenant

_COLUMN = "tenant"


async def find(session: AsyncSession, id: str, *, lock: bool = False) -> Tenant | None:
    """Return the tenant, or None if there is none or it is being deleted. With `lock`, nobody else can change it until
    the transaction ends."""
    query = select(Tenant).where(col(Tenant.id) == id, col(Tenant.deleting_since).is_(None))
    return (await session.exec(query.with_for_update() if lock else query)).first()


async def is_taken(session: AsyncSession, id: str) -> bool:
    """Return whether there is a tenant with this id, also one that is being deleted."""
    return (await session.exec(select(Tenant.id).where(col(Tenant.id) == id))).first() is not None


async def list_by_id(session: AsyncSession, *, after: str | None, limit: int) -> Sequence[Tenant]:
    """Return up to `limit` tenants in the order of their ids, beginning after the id `after`; not those that are being
    deleted."""
    query = select(Tenant).where(col(Tenant.deleting_since).is_(None)).order_by(col(Tenant.id)).limit(limit)
    if after is not None:
        query = query.where(col(Tenant.id) > after)
    return (await session.exec(query)).all()


async def ids(session: AsyncSession) -> Sequence[str]:
    """Return the ids of all tenants that are not being deleted, in alphabetical order."""
    query = select(Tenant.id).where(col(Tenant.deleting_since).is_(None)).order_by(col(Tenant.id))
    return (await session.exec(query)).all()


async def paused(session: AsyncSession) -> Sequence[str]:
    """Return the ids of the tenants for which nothing is sent: suspended ones, and those that are being deleted."""
    query = select(Tenant.id).where(or_(col(Tenant.suspended), col(Tenant.deleting_since).is_not(None)))
    return (await session.exec(query)).all()


async def being_deleted(session: AsyncSession) -> Sequence[tuple[str, datetime]]:
    """Return the tenants that are being deleted, and since when."""
    query = select(Tenant.id, Tenant.deleting_since).where(col(Tenant.deleting_since).is_not(None))
    return [(id, since) for id, since in (await session.exec(query)).all() if since]


async def delete_rows(session: AsyncSession, id: str) -> None:
    """Delete the rows of a tenant in every table that has a column `tenant`. Its own row stays."""
    for table in reversed(SQLModel.metadata.sorted_tables):
        if _COLUMN in table.c:
            await session.exec(delete(table).where(table.c[_COLUMN] == id))


async def delete_deleted(session: AsyncSession, id: str) -> None:
    """Delete the row of a tenant that is being deleted: then another one may have its id."""
    await session.exec(delete(Tenant).where(col(Tenant.id) == id, col(Tenant.deleting_since).is_not(None)))
