"""The configuration database: opened, migrated, and handed out as transactions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFreeError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from webhooks import signing
from webhooks.credentials import Secrets
from webhooks.errors import CannotRunError
from webhooks.settings import Settings
from webhooks.store import postgresql, webhooks
from webhooks.store.postgresql import DatabaseAwayError
from webhooks.vault import Vault

_MIGRATIONS = Path(__file__).parent / "migrations"
_FREE_SECONDS = 5.0


class Database:
    """Where sessions come from. A writing block that ends without an error is committed; a reading one sees each
    query's own snapshot."""

    def __init__(self, url: str, *, connections: int = 10) -> None:
        """A file's `sqlite+aiosqlite:///`, or `postgresql://`: then with as many connections for reading, and as many
        for writing."""
        self._is_sqlite = url.startswith("sqlite")
        options: dict[str, Any] = {"hide_parameters": True}
        if not self._is_sqlite:
            # Pinged, so that a restart of the database costs no request; the last one used first, so that no more are
            # open than are needed.
            options |= {"async_creator": postgresql.connecting(url), "pool_pre_ping": True, "pool_use_lifo": True}
            options |= {"pool_size": connections, "max_overflow": 0, "pool_timeout": _FREE_SECONDS}
            url = postgresql.DIALECT_URL
        self._writer = create_async_engine(url, **options)
        # A read is one query: on its own it needs no transaction, which would be two more trips to the database.
        self._reader = create_async_engine(url, isolation_level="AUTOCOMMIT", **options)
        if self._is_sqlite:
            for engine in (self._writer, self._reader):
                event.listen(engine.sync_engine, "connect", _sqlite_pragmas)
            event.listen(self._writer.sync_engine, "begin", _sqlite_begin)

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
            return webhooks.seal(vault, tenant, webhook_id, secrets)

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
        if upgraded and self._is_sqlite:
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
        await self._reader.dispose()


def is_away(error: Exception) -> bool:
    """Whether the database may serve the same in a moment: it restarts, is locked or full, or no connection is free."""
    if isinstance(error, DBAPIError) and not isinstance(error, OperationalError):
        return postgresql.is_passing(error)
    return isinstance(error, OperationalError | DatabaseAwayError | NoConnectionFreeError)


def _sqlite_pragmas(connection: Any, _: Any) -> None:
    """A commit survives power loss, whoever finds the database locked waits, and what is deleted is overwritten."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _sqlite_begin(connection: Connection) -> None:
    """A transaction that will write says so at its beginning and waits for its turn: SQLite does not wait when a reader
    turns into a writer, it fails."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
