"""`python -m webhooks.store.migrate`: brings the schema of the configuration database to the newest revision.

Every API process does this when it starts. As a job of its own, it can also run before the workers start.
"""

import logging

from webhooks import process
from webhooks.settings import Settings
from webhooks.store.database import Database

log = logging.getLogger("migrate")


async def main(settings: Settings) -> None:
    """Migrate the database and check the master key. Raises CannotRunError."""
    database = Database.of(settings)
    try:
        await database.prepare(settings)
    finally:
        await database.close()
    log.info("the database has the newest schema")


if __name__ == "__main__":
    process.run(main)
