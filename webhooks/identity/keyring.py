"""API keys: whom a key belongs to, and what it may do."""

import asyncio
import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import event
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.identity import permissions
from webhooks.identity.caller import Caller
from webhooks.identity.lookups import Lookups
from webhooks.store import api_keys, roles, tenants
from webhooks.store.database import Database
from webhooks.store.models import ApiKey

log = logging.getLogger(__name__)

_USE_IS_NEWS_AFTER = timedelta(minutes=1)
"""`last_used_at` is at most this much too old: it must not cost each call a write."""


def new_key() -> str:
    """Return a new API key: 256 random bits."""
    return f"whk_{secrets.token_urlsafe(32)}"


async def permissions_of(
    session: AsyncSession, tenant: str, role: str | None, listed: list[str] | None
) -> frozenset[str]:
    """Return the permissions of a role, built-in or the tenant's own, or else those `listed`."""
    if role is None:
        return permissions.known(listed or (), tenant)
    if built_in := permissions.ROLES.get(role):
        return permissions.known(built_in, tenant)
    own = await roles.find(session, tenant, role)
    return permissions.known(own.permissions if own else (), tenant)


async def permissions_named(session: AsyncSession, tenant: str, names: Iterable[str]) -> frozenset[str]:
    """Return the permissions that these names give: each is a permission or a role, built-in or the tenant's own.
    Others give nothing."""
    given = set(names)
    granted = permissions.known(given, tenant)
    for role in sorted(given - permissions.PERMISSIONS):
        granted |= await permissions_of(session, tenant, role, None)
    return granted


@dataclass(frozen=True)
class Granted:
    """What somebody may do in a tenant, and whether that is suspended."""

    permissions: frozenset[str]
    suspended: bool


class KeyRing:
    """Finds the caller of an API key. Keeps known keys in memory, see Lookups."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: Lookups[str, Caller] = Lookups()
        """By the key's digest."""
        self._known_ids: Lookups[tuple[str, str], Caller] = Lookups()
        self._granted: Lookups[tuple[str, frozenset[str]], Granted] = Lookups()
        self._writing: set[asyncio.Task[None]] = set()

    async def caller_of(self, key: str) -> Caller | None:
        """Return whom a key belongs to, or None if it is unknown. An expired key is still known."""

        async def find() -> Caller | None:
            async with self._database.read() as session:
                return await self._described(session, await api_keys.find_with_tenant(session, key))

        return await self._known.get(api_keys.digest(key), find)

    async def caller_with_id(self, tenant: str, id: str) -> Caller | None:
        """Return whom the tenant's key with this id belongs to, or None if it was revoked. An expired key is still
        known. For tokens and sessions, which end with their key."""

        async def find() -> Caller | None:
            async with self._database.read() as session:
                return await self._described(session, await api_keys.get_with_tenant(session, tenant, id))

        return await self._known_ids.get((tenant, id), find)

    async def granted(self, tenant: str, names: frozenset[str]) -> Granted | None:
        """Return what these names of permissions and roles give in a tenant, or None if there is no such tenant. For
        callers without an API key."""

        async def find() -> Granted | None:
            async with self._database.read() as session:
                stored = await tenants.find(session, tenant)
                if stored is None:
                    return None
                return Granted(await permissions_named(session, tenant, names), stored.suspended)

        return await self._granted.get((tenant, names), find)

    def forget_after(self, session: AsyncSession) -> None:
        """Ask the database for each key again once the session has committed: keys, roles or tenants have changed."""
        event.listen(session.sync_session, "after_commit", lambda _: self._forget(), once=True)

    def _forget(self) -> None:
        for known in (self._known, self._known_ids, self._granted):
            known.forget_all()

    async def _described(self, session: AsyncSession, stored: tuple[ApiKey, bool] | None) -> Caller | None:
        if stored is None:
            return None
        key, suspended = stored
        allowed = await permissions_of(session, key.tenant, key.role, key.permissions)
        self._note_use(key)
        return Caller(
            tenant=key.tenant,
            permissions=allowed,
            actor=f"key:{key.id}",
            name=key.name,
            key_id=key.id,
            expires_at=key.expires_at,
            lasts_until=key.expires_at,
            publish_rate=key.publish_rate,
            suspended=suspended,
        )

    def _note_use(self, key: ApiKey) -> None:
        now = datetime.now(UTC)
        if key.last_used_at is None or now - key.last_used_at > _USE_IS_NEWS_AFTER:
            task = asyncio.create_task(self._write_use(key.id, now))  # nobody waits for it
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write_use(self, id: str, at: datetime) -> None:
        try:
            async with self._database.write() as session:
                await api_keys.note_use(session, id, at)
        except Exception as error:  # it is not worth failing for
            log.warning("cannot store when key %s was used: %s", id, type(error).__name__)

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._writing)
