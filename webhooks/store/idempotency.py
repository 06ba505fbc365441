"""The rows of answers that are given again when a call is repeated with the same `Idempotency-Key`."""

import hashlib
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.store.models import IdempotentAnswer

KEPT = timedelta(hours=24)


def row_id(tenant: str, actor: str, key: str) -> str:
    """Return the id of the answer to this caller's call with this key. Another caller's key is another one: an answer
    may hold what only the first caller may see."""
    return hashlib.sha256("\0".join((tenant, actor, key)).encode()).hexdigest()


async def find(session: AsyncSession, id: str) -> IdempotentAnswer | None:
    """Return the answer, or None if there is none or it is too old."""
    query = select(IdempotentAnswer).where(col(IdempotentAnswer.id) == id, col(IdempotentAnswer.at) > _oldest())
    return (await session.exec(query)).first()


async def add(session: AsyncSession, answer: IdempotentAnswer) -> None:
    """Store an answer. Raises IntegrityError if a call with the same key has stored one since `find`."""
    await session.exec(
        delete(IdempotentAnswer).where(col(IdempotentAnswer.id) == answer.id, col(IdempotentAnswer.at) <= _oldest())
    )
    session.add(answer)
    await session.flush()


async def delete_old(session: AsyncSession) -> None:
    """Delete the answers of all tenants that are too old."""
    await session.exec(delete(IdempotentAnswer).where(col(IdempotentAnswer.at) <= _oldest()))


def _oldest() -> datetime:
    return datetime.now(UTC) - KEPT
