"""The configuration database."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlmodel import SQLModel, select

from webhooks.settings import Settings
from webhooks.store import api_keys
from webhooks.store.database import Database
from webhooks.store.models import Event


def opened(folder: Path) -> Database:
    return Database.of(Settings(data_dir=folder))


async def test_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    database = opened(tmp_path)
    await database.migrate()
    await database.migrate()

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), SQLModel.metadata))

    async with database.read() as session:
        found = await (await session.connection()).run_sync(differences)
    await database.close()

    assert found == []


async def test_a_commit_survives_power_loss_and_the_file_is_private(tmp_path: Path) -> None:
    database = opened(tmp_path / "new")
    await database.migrate()
    async with database.read() as session:
        connection = await session.connection()
        pragmas = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    await database.close()

    assert pragmas == ["wal", 2, 1]
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


async def test_concurrent_writers_wait_for_each_other(tmp_path: Path) -> None:
    """Each reads and then writes; with a deferred transaction most would fail with `database is locked`."""
    databases = [opened(tmp_path), opened(tmp_path)]
    await databases[0].migrate()
    async with databases[0].write() as session:
        session.add(Event(tenant="t", key="E", description=""))

    async def change(database: Database) -> None:
        async with database.write() as session:
            event = (await session.exec(select(Event))).one()
            event.description += "x"

    await asyncio.gather(*(change(databases[n % 2]) for n in range(100)))
    async with databases[0].read() as session:
        event = (await session.exec(select(Event))).one()
    for database in databases:
        await database.close()

    assert event.description == "x" * 100


async def test_keys_are_stored_hashed(tmp_path: Path) -> None:
    database = opened(tmp_path)
    await database.migrate()
    async with database.write() as session:
        api_keys.add(session, tenant="t", name="n", key="canary-6630")
    async with database.read() as session:
        found = await api_keys.find(session, "canary-6630")
        missing = await api_keys.find(session, "canary-6631")
    await database.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "webhooks.db")) as stored:
        dump = "".join(stored.iterdump())

    assert found
    assert found.tenant == "t"
    assert missing is None
    assert "canary-6630" not in dump
