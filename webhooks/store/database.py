"""The configuration database: opened, migrated, and handed out as transactions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFreeError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks.credentials import signing
from webhooks.credentials.vault import Vault
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.errors import CannotRunError
from webhooks.settings import Settings
from webhooks.store import postgresql, sealed, sqlite
from webhooks.store.postgresql import DatabaseAwayError

_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """Where sessions come from. A writing block that ends without an error is committed; a reading one sees each
    query's own snapshot."""

    def __init__(self, url: str, *, connections: int = 10) -> None:
        """A file's `sqlite+aiosqlite:///`, or `postgresql://`: then with as many connections for reading, and as many
        for writing."""
        self._is_sqlite = url.startswith("sqlite")
        self._reader: Engine | AsyncEngine
        if self._is_sqlite:
            self._writer, self._reader = sqlite.engines(url)
        else:
            self._writer, self._reader = postgresql.engines(url, connections)

    @classmethod
    def of(cls, settings: Settings) -> "Database":
        if settings.database_url:
            return cls(settings.database_url.get_secret_value(), connections=settings.database_connections)
        settings.make_data_dir()
        return cls(f"sqlite+aiosqlite:///{(settings.data_dir / 'webhooks.db').resolve()}")

    async def migrate(self, vault: Vault) -> None:
        """Brings the schema to the newest revision; one process at a time. Raises DatabaseAwayError."""

        def seal(tenant: str, webhook_id: str, signing_secret: str, headers: dict[str, str]) -> dict[str, Any]:
            secrets = Secrets(signing=[signing.new_key(signing_secret)], headers=headers)
            return sealed.seal(vault, tenant, webhook_id, secrets)

        def upgrade(connection: Connection) -> bool:
            before = MigrationContext.configure(connection).get_current_revision()
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS))
            config.attributes.update(connection=connection, seal=seal)
            command.upgrade(config, "head")
            return before not in (None, MigrationContext.configure(connection).get_current_revision())

        async with self._writer.begin() as connection:
            await self._be_alone(connection)
            upgraded = await connection.run_sync(upgrade)
        if upgraded and isinstance(self._reader, Engine):
            sqlite.forget_what_was_deleted(self._reader)  # what a migration sealed, no free page may still tell

    async def check_keys(self, vault: Vault) -> None:
        """Raises CannotRunError if the vault lacks a key that is in use: nothing could be delivered."""
        async with self.read() as session:
            if unknown := await sealed.unknown_keys(session, vault):
                raise CannotRunError(
                    f"Secrets are sealed under master key {', '.join(unknown)}, which is not in WEBHOOKS_MASTER_KEY or "
                    "the master key file. Bring that key back; without it every webhook needs its secrets anew."
                )

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        if isinstance(self._reader, Engine):
            reading: AsyncSession = sqlite.ReadingSession(self._reader)
        else:
            reading = AsyncSession(self._reader, expire_on_commit=False)
        async with reading as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        async with AsyncSession(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def write_alone(self) -> AsyncIterator[AsyncSession]:
        """Of all processes, one at a time is in such a block. It begins with what the one before has written."""
        async with self.write() as session:
            await self._be_alone(await session.connection())
            yield session

    async def _be_alone(self, connection: AsyncConnection) -> None:
        if not self._is_sqlite:  # where whoever writes is alone
            await postgresql.be_alone(connection)

    async def close(self) -> None:
        await self._writer.dispose()
        if isinstance(self._reader, Engine):
            self._reader.dispose()
        else:
            await self._reader.dispose()


def is_away(error: Exception) -> bool:
    """Whether the database may serve the same in a moment: it restarts, is locked or full, or no connection is free."""
    if isinstance(error, DBAPIError) and not isinstance(error, OperationalError):
        return postgresql.is_passing(error)
    return isinstance(error, OperationalError | DatabaseAwayError | NoConnectionFreeError)
