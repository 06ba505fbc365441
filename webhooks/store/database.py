"""The configuration database: opened, migrated, and handed out as transactions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks import signing
from webhooks.credentials import Secrets
from webhooks.errors import CannotRunError
from webhooks.settings import Settings
from webhooks.store import webhooks
from webhooks.vault import Vault

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

    async def migrate(self, vault: Vault) -> None:
        """Brings the schema to the newest revision."""

        def seal(tenant: str, webhook_id: str, signing_secret: str, headers: dict[str, str]) -> dict[str, Any]:
            secrets = Secrets(signing=[signing.new_key(signing_secret)], headers=headers)
            return webhooks.seal(vault, tenant, webhook_id, secrets)

        def upgrade(connection: Connection) -> bool:
            before = MigrationContext.configure(connection).get_current_revision()
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS))
            config.attributes.update(connection=connection, seal=seal)
            command.upgrade(config, "head")
            return before not in (None, MigrationContext.configure(connection).get_current_revision())

        async with self._writer.begin() as connection:
            upgraded = await connection.run_sync(upgrade)
        if upgraded and self._writer.dialect.name == "sqlite":
            async with self._reader.connect() as connection:  # what a migration sealed, no free page may still tell
                await connection.exec_driver_sql("VACUUM")
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    async def check_keys(self, vault: Vault) -> None:
        """Raises CannotRunError if the vault lacks a key that is in use: nothing could be delivered."""
        async with self.read() as session:
            if unknown := await webhooks.unknown_keys(session, vault):
                raise CannotRunError(
                    f"Secrets are sealed under master key {', '.join(unknown)}, which is not in WEBHOOKS_MASTER_KEY or "
                    "the master key file. Bring that key back; without it every webhook needs its secrets anew."
                )

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
    """A commit survives power loss, whoever finds the database locked waits, and what is deleted is overwritten."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _sqlite_begin(connection: Connection) -> None:
    """A transaction that will write says so at its beginning and waits for its turn: SQLite does not wait when a reader
    turns into a writer, it fails."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
