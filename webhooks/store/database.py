"""The configuration database: connections, transactions and migrations."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, inspect
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
from webhooks.store.remembered import Remembered

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOST_KEY = 'If it is lost, see "A lost master key" in docs/operations.md.'
_DISK_FULL = "53100"
"""The SQLSTATE of PostgreSQL."""
_DEFAULT_CONNECTIONS = 10
"""As the setting `database_connections`."""


class Database:
    """Opens sessions. A `write` block is one transaction, which is committed if the block ends without an error. In a
    `read` block, each query sees its own snapshot."""

    def __init__(self, url: str, *, connections: int = _DEFAULT_CONNECTIONS) -> None:
        """`url` is `sqlite+aiosqlite:///FILE` or `postgresql://...`. `connections` is for PostgreSQL: up to this many
        for reads, and up to this many more for writes."""
        self._is_sqlite = url.startswith("sqlite")
        self._reader: Engine | AsyncEngine
        if self._is_sqlite:
            self._writer, self._reader = sqlite.engines(url)
            self._remembered = Remembered(self._reader.url.database)
            self._reading = sqlite.ReadingSession(self._reader, self._remembered)
        else:
            self._writer, self._reader = postgresql.engines(url, connections)

    @classmethod
    def of(cls, settings: Settings) -> "Database":
        """Return the database of the settings; it need not exist yet. Raises CannotRunError."""
        if settings.database_url:
            return cls(settings.database_url.get_secret_value(), connections=settings.database_connections)
        settings.make_data_dir()
        return cls(f"sqlite+aiosqlite:///{(settings.data_dir / 'webhooks.db').resolve()}")

    async def prepare(self, settings: Settings) -> Vault:
        """Bring the schema to the newest revision, and return the vault of the settings. Make a master key if there is
        none; but not if something is sealed already, because a new key would open nothing. Raises CannotRunError."""
        try:
            keys = await self._keys_in_use() if self._is_sqlite else []  # with PostgreSQL, no process makes a key
            if keys and not settings.master_key and not settings.master_key_path.exists():
                raise CannotRunError(
                    f"Secrets are sealed with master key {', '.join(keys)}, but its file {settings.master_key_path} "
                    f"does not exist. Put a copy of the key there, or set WEBHOOKS_MASTER_KEY. {_LOST_KEY}"
                )
            vault = Vault.of(settings, create=not keys)
            await self.migrate(vault)
            await self.check_keys(vault)
        except OperationalError as error:
            if not self._is_sqlite:
                raise
            raise CannotRunError(
                f"Cannot use the database {settings.data_dir.absolute() / 'webhooks.db'}: {error.orig}. The user of "
                "this process must be able to write to it and to its directory."
            ) from error
        return vault

    async def _keys_in_use(self) -> list[str]:
        """Return the ids of the master keys that something is sealed with. The schema may be an old one, or none."""

        def with_sealed(connection: Connection) -> list[sealed.Sealed]:
            schema = inspect(connection)
            return [
                table
                for table in sealed.SEALED
                if schema.has_table(str(table.__tablename__))
                and "sealed" in {column["name"] for column in schema.get_columns(str(table.__tablename__))}
            ]

        async with self._writer.connect() as connection:
            tables = await connection.run_sync(with_sealed)
        async with self.read() as session:
            return await sealed.keys_in_use(session, tables)

    async def migrate(self, vault: Vault) -> None:
        """Bring the schema to the newest revision. Only one process at a time does. Raises DatabaseAwayError."""

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
            # A migration may have sealed secrets: free pages must not hold their cleartext any longer.
            sqlite.erase_deleted(self._reader)

    async def check_keys(self, vault: Vault) -> None:
        """Raise CannotRunError if the vault lacks a key that is in use, because nothing could be delivered."""
        async with self.read() as session:
            if unknown := await sealed.unknown_keys(session, vault):
                raise CannotRunError(
                    f"Secrets are sealed with master key {', '.join(unknown)}, which is not in WEBHOOKS_MASTER_KEY or "
                    f"the master key file. Add that key again. {_LOST_KEY}"
                )

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Open a session that only reads."""
        if isinstance(self._reader, Engine):
            yield self._reading
        else:
            async with AsyncSession(self._reader, expire_on_commit=False) as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Open a session in a transaction."""
        async with AsyncSession(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def write_alone(self) -> AsyncIterator[AsyncSession]:
        """Open a session in a transaction that waits for every other `write_alone` block, also of other processes, and
        sees what they have written."""
        async with self.write() as session:
            await self._be_alone(await session.connection())
            yield session

    async def _be_alone(self, connection: AsyncConnection) -> None:
        if not self._is_sqlite:  # SQLite has one writer at a time anyway
            await postgresql.be_alone(connection)

    async def close(self) -> None:
        """Close all connections."""
        await self._writer.dispose()
        if isinstance(self._reader, Engine):
            self._remembered.close()
            self._reader.dispose()
        else:
            await self._reader.dispose()


def is_away(error: Exception) -> bool:
    """Return whether the same call may succeed soon: the database restarts, is locked or full, or no connection is
    free."""
    if isinstance(error, DBAPIError) and not isinstance(error, OperationalError):
        return postgresql.is_passing(error)
    return isinstance(error, OperationalError | DatabaseAwayError | NoConnectionFreeError)


def is_full(error: Exception) -> bool:
    """Return whether the disk of the database is full."""
    cause = getattr(error, "orig", None)
    return "disk is full" in str(cause) or getattr(cause, "sqlstate", None) == _DISK_FULL
