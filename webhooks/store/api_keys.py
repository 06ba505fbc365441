"""API keys: who may call the API."""

import hashlib
import time
from collections.abc import Sequence

from sqlalchemy import bindparam, delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.store.database import Database
from webhooks.store.models import ApiKey

_KEY_CACHE_SECONDS = 10.0
"""How long a key's tenant is kept in memory, because every call asks for it. A revoked key works for this much
longer."""
_FIND = select(ApiKey).where(col(ApiKey.digest) == bindparam("digest"))


def digest(key: str) -> str:
    """Return the digest under which a key is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


async def find(session: AsyncSession, key: str) -> ApiKey | None:
    """Return the stored key, or None if it is unknown."""
    return (await session.exec(_FIND, params={"digest": digest(key)})).first()


class KeyRing:
    """Finds the tenant of a key. Keeps known keys in memory for _KEY_CACHE_SECONDS."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[str, float]] = {}

    async def tenant_of(self, key: str) -> str | None:
        """Return the tenant that a key belongs to, or None if the key is unknown."""
        now, name = time.monotonic(), digest(key)
        tenant, until = self._known.get(name, ("", 0.0))
        if now < until:
            return tenant
        async with self._database.read() as session:
            found = await find(session, key)
        if found is None:
            self._known.pop(name, None)
            return None
        self._known[name] = (found.tenant, now + _KEY_CACHE_SECONDS)
        return found.tenant


async def tenants(session: AsyncSession) -> Sequence[str]:
    """Return the tenants that have a key, in alphabetical order."""
    return (await session.exec(select(ApiKey.tenant).distinct().order_by(ApiKey.tenant))).all()


async def any_stored(session: AsyncSession) -> bool:
    """Return whether there is any key."""
    return (await session.exec(select(ApiKey.id).limit(1))).first() is not None


async def revoke_all(session: AsyncSession, tenant: str) -> int:
    """Delete every key of a tenant when the session commits. Return how many."""
    return int((await session.exec(delete(ApiKey).where(col(ApiKey.tenant) == tenant))).rowcount)


def add(session: AsyncSession, *, tenant: str, name: str, key: str) -> None:
    """Store a key when the session commits."""
    session.add(ApiKey(tenant=tenant, name=name, digest=digest(key)))
