"""The configuration database: opened, migrated, and handed out as transactions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.settings import Settings

_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """Where sessions come from. A writing block that ends without an error is committed; a reading one sees each
    query's own snapshot."""

    def __init__(self, url: str) -> None:
        self._writer = create_async_engine(url, hide_parameters=True)
        # A read is one query: on its own it needs no transaction, which would be two more trips to the database.
        self._reader = create_async_engine(url, hide_parameters=True, isolation_level="AUTOCOMMIT")
        if self._writer.dialect.name == "sqlite":
            for engine in (self._writer, self._reader):
                event.listen(engine.sync_engine, "connect", _sqlite_pragmas)
            event.listen(self._writer.sync_engine, "begin", _sqlite_begin)

    @classmethod
    def of(cls, settings: Settings) -> "Database":
        settings.make_data_dir()
        return cls(f"sqlite+aiosqlite:///{(settings.data_dir / 'webhooks.db').resolve()}")

    async def migrate(self) -> None:
        """Brings the schema to the newest revision."""

        def upgrade(connection: Connection) -> None:
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

        async with self._writer.begin() as connection:
            await connection.run_sync(upgrade)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with AsyncSession(self._reader, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        async with AsyncSession(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    async def close(self) -> None:
        await self._writer.dispose()
        await self._reader.dispose()


def _sqlite_pragmas(connection: Any, _: Any) -> None:
    """A commit survives power loss; whoever finds the database locked waits."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}").close()


def _sqlite_begin(connection: Connection) -> None:
    """A transaction that will write says so at its beginning and waits for its turn: SQLite does not wait when a reader
    turns into a writer, it fails."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
