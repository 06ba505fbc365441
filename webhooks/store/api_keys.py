"""Who may call the API."""

import hashlib
import time
from collections.abc import Sequence

from sqlalchemy import bindparam
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.store.database import Database
from webhooks.store.models import ApiKey

_REMEMBERED_SECONDS = 10.0
_FIND = select(ApiKey).where(col(ApiKey.digest) == bindparam("digest"))


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


async def find(session: AsyncSession, key: str) -> ApiKey | None:
    return (await session.exec(_FIND, params={"digest": digest(key)})).first()


class KeyRing:
    """Whose a key is, remembered for a while: every call asks. A revoked key works for that much longer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[str, float]] = {}

    async def tenant_of(self, key: str) -> str | None:
        now, name = time.monotonic(), digest(key)
        tenant, until = self._known.get(name, ("", 0.0))
        if now < until:
            return tenant
        async with self._database.read() as session:
            found = await find(session, key)
        if found is None:
            self._known.pop(name, None)
            return None
        self._known[name] = (found.tenant, now + _REMEMBERED_SECONDS)
        return found.tenant


async def tenants(session: AsyncSession) -> Sequence[str]:
    return (await session.exec(select(ApiKey.tenant).distinct().order_by(ApiKey.tenant))).all()


async def any_stored(session: AsyncSession) -> bool:
    return (await session.exec(select(ApiKey.id).limit(1))).first() is not None


def add(session: AsyncSession, *, tenant: str, name: str, key: str) -> None:
    session.add(ApiKey(tenant=tenant, name=name, digest=digest(key)))
