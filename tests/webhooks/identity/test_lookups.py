"""What is kept in memory: not what was read before it was revoked."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.postgresql import PostgreSQL
from webhooks.credentials.vault import Vault, new_key
from webhooks.identity.keyring import KeyRing
from webhooks.identity.lookups import Lookups
from webhooks.store import api_keys
from webhooks.store.database import Database
from webhooks.store.models import Role, Tenant

ATTEMPTS = 1_000


class Slow:
    """A query that has read its row, and waits before it returns it."""

    def __init__(self, row: str) -> None:
        self.row: str | None = row
        self.has_read, self.may_return = asyncio.Event(), asyncio.Event()

    async def find(self) -> str | None:
        row = self.row
        self.has_read.set()
        await self.may_return.wait()
        return row


@pytest.mark.parametrize("forget", [lambda known: known.forget("key"), lambda known: known.forget_all()])
async def test_what_was_read_before_it_was_forgotten_is_not_kept(forget: Callable[[Lookups[str, str]], None]) -> None:
    known: Lookups[str, str] = Lookups()
    slow = Slow("before")
    reading = asyncio.create_task(known.get("key", slow.find))
    await slow.has_read.wait()
    slow.row = None
    forget(known)
    slow.may_return.set()
    await reading

    assert await known.get("key", slow.find) is None


async def test_what_was_read_afterwards_is_kept() -> None:
    known: Lookups[str, str] = Lookups()
    slow = Slow("after")
    slow.may_return.set()
    known.forget_all()
    first = await known.get("key", slow.find)
    slow.row = None

    assert [first, await known.get("key", slow.find)] == ["after", "after"]


@pytest.fixture
async def database(postgresql: PostgreSQL) -> AsyncIterator[Database]:
    database = Database(postgresql.fresh())
    await database.migrate(Vault(new_key()))
    yield database
    await database.close()


async def waits_for_lock(database: Database) -> None:
    """Return when a query waits for a lock."""
    for _ in range(ATTEMPTS):
        async with database.read() as session:
            waiting = await session.connection()
            found = await waiting.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
            if found.scalar_one():
                return
        await asyncio.sleep(0.01)
    raise AssertionError("no query waits for a lock")


@pytest.mark.parametrize("by_id", [False, True])
async def test_a_key_that_is_revoked_while_it_is_read_is_not_kept(database: Database, by_id: bool) -> None:
    """The query for the key has read it. The one for its role waits for a lock, while the key is revoked."""
    async with database.write() as session:
        session.add(Tenant(id="acme", name="acme"))
        session.add(Role(tenant="acme", name="shop", permissions=["event:list"]))
        row = api_keys.add(session, tenant="acme", name="shop", key="a-key", role="shop")
    keys = KeyRing(database)
    find: Callable[[], Coroutine[Any, Any, object]] = (
        (lambda: keys.caller_with_id("acme", row.id)) if by_id else (lambda: keys.caller_of("a-key"))
    )
    async with database.write() as locking:
        await (await locking.connection()).execute(text("LOCK TABLE roles IN ACCESS EXCLUSIVE MODE"))
        reading = asyncio.create_task(find())
        await waits_for_lock(database)
        async with database.write() as session:
            await api_keys.revoke_all(session, "acme")
            keys.forget_after(session)
    during = await reading
    await keys.close()

    assert during
    assert await find() is None


async def test_a_tenant_that_is_suspended_while_it_is_read_is_not_kept_as_active(database: Database) -> None:
    async with database.write() as session:
        session.add(Tenant(id="acme", name="acme"))
    keys = KeyRing(database)
    async with database.write() as locking:
        await (await locking.connection()).execute(text("LOCK TABLE roles IN ACCESS EXCLUSIVE MODE"))
        reading = asyncio.create_task(keys.granted("acme", frozenset({"a-role"})))
        await waits_for_lock(database)
        async with database.write() as session:
            tenant = await session.get_one(Tenant, "acme")
            tenant.suspended = True
            keys.forget_after(session)
    during = await reading
    after = await keys.granted("acme", frozenset({"a-role"}))

    assert during and not during.suspended
    assert after and after.suspended
