"""`make new-payload-key`: gives a tenant a new key for what Temporal stores, while the platform runs.

Running processes encrypt with it within half a minute. The older keys stay, and decrypt what they have encrypted. Each
key is replaced after 30 days in any case; this is for a key that somebody else may have seen. With `--forget`, every
key of the tenant is deleted instead: nobody can read its deliveries ever again, not even from a backup of Temporal.
"""

import argparse
import logging

from sqlalchemy.exc import SQLAlchemyError

from webhooks import process
from webhooks.credentials.vault import Vault
from webhooks.errors import CannotRunError
from webhooks.settings import Settings
from webhooks.store import payload_keys
from webhooks.store.database import Database

log = logging.getLogger("new_payload_key")


async def main(settings: Settings) -> None:
    """Make a key, or delete all of a tenant. Raises CannotRunError."""
    parser = argparse.ArgumentParser(prog="new_payload_key", description="Make a key for what Temporal stores.")
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--forget", action="store_true", help="delete every key of the tenant; this cannot be undone")
    chosen = parser.parse_args()
    database = Database.of(settings)
    try:
        vault = Vault.of(settings)
        async with database.write_alone() as session:
            if chosen.forget:
                count = await payload_keys.forget(session, chosen.tenant)
            else:
                payload_keys.add(session, vault, chosen.tenant)
    except SQLAlchemyError as error:
        raise CannotRunError(
            f"Cannot store a key: {getattr(error, 'orig', error)}. The platform must have run once on this database."
        ) from None
    finally:
        await database.close()
    if chosen.forget:
        log.info(
            "deleted %d keys of tenant %s; running processes forget them within half a minute", count, chosen.tenant
        )
    else:
        log.info("made a key for tenant %s; running processes use it within half a minute", chosen.tenant)


if __name__ == "__main__":
    process.run(main)
