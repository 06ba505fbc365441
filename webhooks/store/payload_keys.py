"""The keys that encrypt what Temporal stores: random ones, several for each tenant, sealed with the master key.

The newest key of a tenant encrypts, and all of them decrypt. Without its keys, a tenant's data in Temporal and in every
backup of it is unreadable for ever.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.credentials import payload_key
from webhooks.credentials.payload_key import PayloadKey
from webhooks.credentials.vault import CannotOpenError, Vault
from webhooks.ids import uuid7
from webhooks.store.database import Database
from webhooks.store.models import StoredPayloadKey
from webhooks.store.postgresql import DatabaseAwayError
from webhooks.store.sealed import payload_key_context

log = logging.getLogger(__name__)

_REFRESH_SECONDS = 30.0
"""How soon a running process notices keys that were made or deleted."""
_RENEW_AFTER = timedelta(days=30)
"""A key encrypts for so long. AES-GCM with random nonces is safe for 2**32 uses: 1,600 payloads a second for 30 days.
"""
_NEWEST_FIRST = (col(StoredPayloadKey.created_at).desc(), col(StoredPayloadKey.id).desc())


def add(session: AsyncSession, vault: Vault, tenant: str) -> StoredPayloadKey:
    """Store a new key of a tenant when the session commits. It encrypts from then on."""
    id = uuid7()
    sealed = vault.seal(payload_key.new_secret(), payload_key_context(tenant, id))
    key = StoredPayloadKey(id=id, tenant=tenant, sealed=sealed)
    session.add(key)
    return key


async def forget(session: AsyncSession, tenant: str) -> int:
    """Delete every key of a tenant when the session commits, and return how many. What Temporal stores of the tenant is
    then unreadable for ever; running processes notice it within half a minute."""
    return int((await session.exec(delete(StoredPayloadKey).where(col(StoredPayloadKey.tenant) == tenant))).rowcount)


async def tenants(session: AsyncSession) -> Sequence[str]:
    """Return the tenants that have a key, in alphabetical order."""
    query = select(StoredPayloadKey.tenant).distinct().order_by(StoredPayloadKey.tenant)
    return (await session.exec(query)).all()


class PayloadKeyRing:
    """Finds keys, and keeps them in memory. One for each process."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._newest: dict[str, PayloadKey] = {}
        self._known: dict[str, PayloadKey] = {}
        self._deleted: set[str] = set()
        """Ids that were asked for and are not stored. Forgotten at each refresh."""
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def newest(self, tenant: str) -> PayloadKey:
        """Return the key that encrypts for this tenant; make one if there is none. Raises SQLAlchemyError or
        DatabaseAwayError if it is not in memory and the database cannot be read."""
        key = self._newest.get(tenant)
        if key is None:
            async with self._locks[tenant]:
                key = self._newest.get(tenant) or await self._load_newest(tenant)
        return key

    async def find(self, id: str) -> PayloadKey | None:
        """Return a key, or None if it is not stored. Raises as `newest` does."""
        key = self._known.get(id)
        if key is None and id not in self._deleted:
            async with self._database.read() as session:
                stored = (await session.exec(select(StoredPayloadKey).where(col(StoredPayloadKey.id) == id))).first()
            key = self._opened(stored) if stored else None
            if key is None:
                self._deleted.add(id)
        return key

    @contextlib.asynccontextmanager
    async def refreshed(self) -> AsyncIterator[None]:
        """Notice, while the block runs, the keys that others make or delete."""
        refreshing = asyncio.create_task(self._refresh_for_ever())
        try:
            yield
        finally:
            refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await refreshing

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                await self.refresh()
            except (SQLAlchemyError, DatabaseAwayError) as error:  # the keys in memory are used on
                log.debug("cannot look for new payload keys: %s", error)
            except Exception:
                log.exception("cannot look for new payload keys")

    async def refresh(self) -> None:
        """Forget the keys that were deleted, use the newest ones, and renew those that are old. Raises as `newest`
        does."""
        query = select(StoredPayloadKey.id, StoredPayloadKey.tenant, StoredPayloadKey.created_at)
        async with self._database.read() as session:
            rows = (
                await session.exec(query.order_by(col(StoredPayloadKey.created_at), col(StoredPayloadKey.id)))
            ).all()
        self._deleted.clear()
        stored = {id for id, _, _ in rows}
        self._known = {id: key for id, key in self._known.items() if id in stored}
        newest = {tenant: (id, created_at) for id, tenant, created_at in rows}  # the last one of each tenant
        for tenant, used in list(self._newest.items()):
            id, created_at = newest.get(tenant, ("", None))
            if created_at is None:
                del self._newest[tenant]
            elif id != used.id or datetime.now(UTC) - created_at > _RENEW_AFTER:
                self._newest[tenant] = await self._load_newest(tenant)

    async def _load_newest(self, tenant: str) -> PayloadKey:
        """Load the newest key of a tenant. Make one if there is none or it is old; several processes make one."""
        async with self._database.read() as session:
            stored = await _newest(session, tenant)
        if not _is_fresh(stored):
            async with self._database.write_alone() as session:
                stored = await _newest(session, tenant)
                if not _is_fresh(stored):
                    stored = add(session, self._vault, tenant)
        assert stored  # noqa: S101  for the type checker
        key = self._opened(stored)
        if key is None:
            raise CannotOpenError(f"payload key {stored.id} cannot be opened")
        self._newest[tenant] = key
        return key

    def _opened(self, stored: StoredPayloadKey) -> PayloadKey | None:
        try:
            secret = self._vault.open(stored.sealed, payload_key_context(stored.tenant, stored.id))
        except CannotOpenError as error:
            log.error("payload key %s: %s", stored.id, error)
            return None
        key = self._known[stored.id] = PayloadKey(stored.id, stored.tenant, secret)
        return key


def _is_fresh(stored: StoredPayloadKey | None) -> bool:
    return stored is not None and datetime.now(UTC) - stored.created_at <= _RENEW_AFTER


async def _newest(session: AsyncSession, tenant: str) -> StoredPayloadKey | None:
    query = select(StoredPayloadKey).where(col(StoredPayloadKey.tenant) == tenant).order_by(*_NEWEST_FIRST).limit(1)
    return (await session.exec(query)).first()
