"""Who may call the API."""

import hashlib

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.store.models import ApiKey


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


async def find(session: AsyncSession, key: str) -> ApiKey | None:
    return (await session.exec(select(ApiKey).where(col(ApiKey.digest) == digest(key)))).first()


async def any_stored(session: AsyncSession) -> bool:
    return (await session.exec(select(ApiKey.id).limit(1))).first() is not None


def add(session: AsyncSession, *, tenant: str, name: str, key: str) -> None:
    session.add(ApiKey(tenant=tenant, name=name, digest=digest(key)))
