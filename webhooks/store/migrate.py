"""`python -m webhooks.store.migrate`: the configuration database's schema brought to the newest revision.

Every API process does this when it starts; as a job of its own it lets workers wait for it, too.
"""

import logging

from webhooks import process
from webhooks.credentials.vault import Vault
from webhooks.settings import Settings
from webhooks.store.database import Database

log = logging.getLogger("migrate")


async def main(settings: Settings) -> None:
    """Raises CannotRunError."""
    vault, database = Vault.of(settings, create=True), Database.of(settings)
    try:
        await database.migrate(vault)
        await database.check_keys(vault)
    finally:
        await database.close()
    log.info("the schema is the newest")


if __name__ == "__main__":
    process.run(main)
