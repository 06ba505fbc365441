"""The keys that encrypt what Temporal stores, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import update
from sqlmodel import col, select

from tests.support.fresh_database import migrated
from webhooks.credentials.vault import Vault, new_key
from webhooks.errors import CannotRunError
from webhooks.settings import Settings
from webhooks.store import payload_keys, sealed
from webhooks.store.database import Database
from webhooks.store.models import StoredPayloadKey
from webhooks.store.payload_keys import PayloadKeyRing

MASTER = new_key()


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = await migrated(settings)
    yield database
    await database.close()


def ring(database: Database, *master_keys: str) -> PayloadKeyRing:
    return PayloadKeyRing(database, Vault(",".join(master_keys or (MASTER,))))


async def stored(database: Database) -> list[StoredPayloadKey]:
    async with database.read() as session:
        return list((await session.exec(select(StoredPayloadKey).order_by(col(StoredPayloadKey.id)))).all())


async def age(database: Database, **by: float) -> None:
    async with database.write() as session:
        await session.exec(update(StoredPayloadKey).values(created_at=datetime.now(UTC) - timedelta(**by)))


async def test_a_key_is_made_once_by_however_many_ask_at_the_same_time(database: Database) -> None:
    rings = [ring(database) for _ in range(4)]  # as in processes of their own
    keys = await asyncio.gather(*(one.newest("t") for one in rings for _ in range(3)))
    [row] = await stored(database)

    assert {key.id for key in keys} == {row.id}
    assert {key.secret for key in keys} == {keys[0].secret}
    assert keys[0].secret not in row.sealed
    assert (await ring(database).newest("other")).id != row.id


async def test_another_process_finds_a_key_by_its_id(database: Database) -> None:
    key = await ring(database).newest("t")
    found = await ring(database).find(key.id)

    assert found == key
    assert await ring(database).find("nobody") is None


async def test_after_the_first_time_no_key_is_read_from_the_database(database: Database) -> None:
    keys = ring(database)
    key = await keys.newest("t")
    assert await keys.find("nobody") is None
    async with database.write() as session:
        await session.exec(update(StoredPayloadKey).values(sealed=b"nonsense"))

    assert await keys.newest("t") is key
    assert await keys.find(key.id) is key
    assert await keys.find("nobody") is None


async def test_a_new_key_is_used_at_the_next_refresh_and_the_old_one_is_kept(database: Database) -> None:
    keys = ring(database)
    old = await keys.newest("t")
    async with database.write_alone() as session:
        payload_keys.add(session, Vault(MASTER), "t")
    await keys.refresh()
    new = await keys.newest("t")

    assert new.id != old.id
    assert await ring(database).find(old.id) == old
    assert (await ring(database).newest("t")) == new


async def test_a_key_is_renewed_when_it_is_old(database: Database) -> None:
    keys, other = ring(database), ring(database)
    old = await keys.newest("t")
    await other.newest("t")
    await age(database, days=29)
    await keys.refresh()
    assert (await keys.newest("t")).id == old.id
    await age(database, days=31)
    await asyncio.gather(keys.refresh(), other.refresh())

    assert (await keys.newest("t")).id == (await other.newest("t")).id != old.id
    assert len(await stored(database)) == 2


async def test_a_forgotten_tenant_has_no_key_in_any_process(database: Database) -> None:
    keys = ring(database)
    gone, kept = await keys.newest("gone"), await keys.newest("kept")
    async with database.write_alone() as session:
        assert await payload_keys.forget(session, "gone") == 1
        assert await payload_keys.tenants(session) == ["kept"]
    await keys.refresh()

    assert await keys.find(gone.id) is None
    assert await keys.find(kept.id) == kept
    assert (await keys.newest("gone")).id != gone.id  # the tenant may begin again


async def test_the_master_key_is_replaced(database: Database) -> None:
    """What was sealed with the old one is sealed with the new one, and the data keys stay the same."""
    key, new = await ring(database).newest("t"), new_key()
    async with database.write_alone() as session:
        old_ids = await sealed.keys_in_use(session)
        assert await sealed.reseal(session, Vault(f"{new},{MASTER}")) == {
            "webhooks": 0,
            "sources": 0,
            "payload_keys": 1,
            "signing_keys": 0,
        }
        assert await sealed.unknown_keys(session, Vault(MASTER)) == await sealed.keys_in_use(session) != old_ids

    assert await ring(database, new).find(key.id) == key
    assert await ring(database).find(key.id) is None


async def test_a_row_of_another_tenant_is_not_opened(database: Database) -> None:
    """Whoever can write to the database cannot give a tenant another tenant's key."""
    key = await ring(database).newest("a")
    async with database.write() as session:
        await session.exec(update(StoredPayloadKey).values(tenant="b"))

    assert await ring(database).find(key.id) is None


async def test_the_platform_does_not_start_without_the_master_key_of_a_payload_key(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, master_key=SecretStr(MASTER))
    database = Database.of(settings)
    await database.prepare(settings)
    await ring(database).newest("t")
    with pytest.raises(CannotRunError, match="Secrets are sealed with master key"):
        await database.check_keys(Vault(new_key()))
    await database.close()
