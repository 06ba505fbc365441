"""The rows of sources: where webhooks of other systems come from."""

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.store.models import Source, Tenant


async def find(session: AsyncSession, tenant: str, id: str, *, lock: bool = False) -> Source | None:
    """Return the source, or None. With `lock`, nobody else can change it until the transaction ends."""
    query = select(Source).where(col(Source.tenant) == tenant, col(Source.id) == id)
    return (await session.exec(query.with_for_update() if lock else query)).first()


async def find_for_request(session: AsyncSession, id: str) -> tuple[Source, bool] | None:
    """Return the source that a request names, and whether its tenant is suspended. None if there is none, or if its
    tenant is being deleted. Only its id tells the tenant, and no two tenants have the same one."""
    query = (
        select(Source, Tenant.suspended)
        .join(Tenant, col(Tenant.id) == col(Source.tenant))
        .where(col(Source.id) == id, col(Tenant.deleting_since).is_(None))
    )
    return (await session.exec(query)).first()


async def list_newest_first(
    session: AsyncSession,
    tenant: str,
    *,
    events: Sequence[str] | None,
    active: bool | None,
    before: str | None,
    limit: int,
) -> Sequence[Source]:
    """Return up to `limit` sources older than the one with id `before`, filtered by what is not None. `events` selects
    by the event of a source; any one may match."""
    query = select(Source).where(col(Source.tenant) == tenant).order_by(col(Source.id).desc()).limit(limit)
    if events is not None:
        query = query.where(col(Source.event).in_(events))
    if active is not None:
        query = query.where(col(Source.active) == active)
    if before is not None:
        query = query.where(col(Source.id) < before)
    return (await session.exec(query)).all()


async def uses_event(session: AsyncSession, tenant: str, event: str) -> bool:
    """Return whether what a source receives becomes this event."""
    query = select(Source.event, Source.events_by_type).where(col(Source.tenant) == tenant)
    found = (await session.exec(query)).all()
    return any(event == one or event in by_type.values() for one, by_type in found)
