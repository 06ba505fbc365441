"""The rows of roles: a tenant's own named sets of permissions, beside the built-in ones."""

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.store.models import ApiKey, Role


async def find(session: AsyncSession, tenant: str, name: str, *, lock: bool = False) -> Role | None:
    """Return the tenant's role of this name, or None. With `lock`, nobody else can change it until the transaction
    ends."""
    query = select(Role).where(col(Role.tenant) == tenant, col(Role.name) == name)
    return (await session.exec(query.with_for_update() if lock else query)).first()


async def list_by_name(session: AsyncSession, tenant: str) -> Sequence[Role]:
    """Return the tenant's roles, ordered by name."""
    return (await session.exec(select(Role).where(col(Role.tenant) == tenant).order_by(col(Role.name)))).all()


async def is_in_use(session: AsyncSession, tenant: str, name: str) -> bool:
    """Return whether a key has this role."""
    query = select(ApiKey.id).where(col(ApiKey.tenant) == tenant, col(ApiKey.role) == name).limit(1)
    return (await session.exec(query)).first() is not None
