"""A configuration database for one test, with the newest schema."""

from webhooks.credentials.vault import Vault, new_key
from webhooks.settings import Settings
from webhooks.store.database import Database

_migrated: list[bytes] = []
"""SQLite's file as the migrations leave it. They take ten times as long as a copy."""


async def provide(settings: Settings) -> None:
    """Write SQLite's file, so that its database is as new as after `migrate`. With PostgreSQL, do nothing."""
    if settings.database_url:
        return
    file = settings.data_dir / "webhooks.db"
    if _migrated:
        file.write_bytes(_migrated[0])
        return
    database = Database.of(settings)
    await database.migrate(Vault(new_key()))
    await database.close()  # moves the write-ahead log into the file
    _migrated.append(file.read_bytes())


async def migrated(settings: Settings) -> Database:
    """Return the database, with the newest schema and otherwise empty."""
    await provide(settings)
    database = Database.of(settings)
    if settings.database_url:
        await database.migrate(Vault(new_key()))
    return database
