"""The rows of API keys: who may call the API."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import bindparam, delete, or_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.store.models import ApiKey, Tenant

PREFIX_CHARACTERS = 10
"""Of a key, which are stored and shown. Of a key that we make, they reveal 6 of its 43 random characters."""
_SHORTEST_WITH_PREFIX = 32
"""Characters. The prefix of a shorter key, which an operator chose, would say too much."""
_FIND = (
    select(ApiKey, Tenant.suspended)
    .join(Tenant, col(Tenant.id) == col(ApiKey.tenant))
    .where(col(ApiKey.digest) == bindparam("digest"), col(Tenant.deleting_since).is_(None))
)
_GET = (
    select(ApiKey, Tenant.suspended)
    .join(Tenant, col(Tenant.id) == col(ApiKey.tenant))
    .where(
        col(ApiKey.tenant) == bindparam("tenant"),
        col(ApiKey.id) == bindparam("id"),
        col(Tenant.deleting_since).is_(None),
    )
)


def digest(key: str) -> str:
    """Return the digest under which a key is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


async def find(session: AsyncSession, key: str) -> ApiKey | None:
    """Return the stored key, or None if it is unknown."""
    found = await find_with_tenant(session, key)
    return found[0] if found else None


async def find_with_tenant(session: AsyncSession, key: str) -> tuple[ApiKey, bool] | None:
    """Return the stored key, and whether its tenant is suspended. None if the key is unknown, or its tenant is being
    deleted."""
    return (await session.exec(_FIND, params={"digest": digest(key)})).first()


async def get(session: AsyncSession, tenant: str, id: str, *, lock: bool = False) -> ApiKey | None:
    """Return the tenant's key with this id, or None. With `lock`, nobody else can change it until the transaction
    ends."""
    query = select(ApiKey).where(col(ApiKey.tenant) == tenant, col(ApiKey.id) == id)
    return (await session.exec(query.with_for_update() if lock else query)).first()


async def get_with_tenant(session: AsyncSession, tenant: str, id: str) -> tuple[ApiKey, bool] | None:
    """Return the tenant's key with this id, and whether the tenant is suspended. None if there is no such key, or the
    tenant is being deleted."""
    return (await session.exec(_GET, params={"tenant": tenant, "id": id})).first()


async def list_newest_first(session: AsyncSession, tenant: str, *, before: str | None, limit: int) -> Sequence[ApiKey]:
    """Return up to `limit` keys older than the one with id `before`."""
    query = select(ApiKey).where(col(ApiKey.tenant) == tenant).order_by(col(ApiKey.id).desc()).limit(limit)
    if before is not None:
        query = query.where(col(ApiKey.id) < before)
    return (await session.exec(query)).all()


async def lasting_with_role(session: AsyncSession, tenant: str, role: str) -> Sequence[ApiKey]:
    """Return the keys that have this role and do not expire. Nobody else can change them until the transaction
    ends."""
    query = select(ApiKey).where(
        col(ApiKey.tenant) == tenant, col(ApiKey.role) == role, col(ApiKey.expires_at).is_(None)
    )
    return (await session.exec(query.with_for_update())).all()


async def note_use(session: AsyncSession, id: str, at: datetime) -> None:
    """Store when a key was used, unless a later use is stored."""
    later = or_(col(ApiKey.last_used_at).is_(None), col(ApiKey.last_used_at) < at)
    await session.exec(update(ApiKey).where(col(ApiKey.id) == id, later).values(last_used_at=at))


async def any_stored(session: AsyncSession) -> bool:
    """Return whether there is any key."""
    return (await session.exec(select(ApiKey.id).limit(1))).first() is not None


async def revoke_all(session: AsyncSession, tenant: str) -> int:
    """Delete every key of a tenant when the session commits. Return how many."""
    return int((await session.exec(delete(ApiKey).where(col(ApiKey.tenant) == tenant))).rowcount)


def add(
    session: AsyncSession,
    *,
    tenant: str,
    name: str,
    key: str,
    role: str | None = None,
    permissions: list[str] | None = None,
    expires_at: datetime | None = None,
    created_by: str | None = None,
    publish_rate: int | None = None,
) -> ApiKey:
    """Store a key when the session commits, and return its row. Give it either a role or permissions."""
    row = ApiKey(
        tenant=tenant,
        name=name,
        digest=digest(key),
        prefix=key[:PREFIX_CHARACTERS] if len(key) >= _SHORTEST_WITH_PREFIX else "",
        role=role,
        permissions=permissions,
        expires_at=expires_at.astimezone(UTC) if expires_at else None,
        created_by=created_by,
        publish_rate=publish_rate,
    )
    session.add(row)
    return row
