"""The rows of people who have signed in with a browser."""

from datetime import datetime

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.store.models import Session


async def get(session: AsyncSession, digest: str) -> Session | None:
    """Return the session with this digest, or None."""
    return (await session.exec(select(Session).where(col(Session.digest) == digest))).first()


async def end(session: AsyncSession, digest: str) -> None:
    """Delete a session, if there is one, when the transaction commits."""
    await session.exec(delete(Session).where(col(Session.digest) == digest))


async def delete_expired(session: AsyncSession, now: datetime) -> None:
    """Delete the sessions that have expired when the transaction commits."""
    await session.exec(delete(Session).where(col(Session.expires_at) <= now))
