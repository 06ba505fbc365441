"""`make rotate-signing-key`: makes a new key that signs tokens, while the platform runs.

This also happens every 30 days without the command. The new key signs after 10 minutes, when everybody knows it; tokens
of the old one stay valid until they expire. With `--revoke-others`, the new key signs within seconds and every token
made so far ends: for a key that somebody else has.
"""

import argparse
import logging

from webhooks import process
from webhooks.credentials.vault import Vault
from webhooks.identity import signing_keys
from webhooks.settings import Settings
from webhooks.store import signing_keys as stored_keys
from webhooks.store.database import Database

log = logging.getLogger("rotate_signing_key")


async def main(settings: Settings) -> None:
    """Store a new key. Raises CannotRunError."""
    parser = argparse.ArgumentParser(prog="rotate_signing_key", description="Make a new key that signs tokens.")
    parser.add_argument("--revoke-others", action="store_true", help="end every token made so far")
    revoke = parser.parse_args().revoke_others
    vault, database = Vault.of(settings), Database.of(settings)
    try:
        await database.check_keys(vault)
        async with database.write_alone() as session:
            for row in await stored_keys.list_oldest_first(session) if revoke else ():
                await session.delete(row)
            await session.flush()
            await signing_keys.replace(session, vault, force=True)
    finally:
        await database.close()
    if revoke:
        log.info("made a new signing key and revoked the others; running processes accept them for a few seconds more")
    else:
        log.info("made a new signing key; it signs in %d minutes", signing_keys.PUBLISHED_BEFORE.total_seconds() // 60)


if __name__ == "__main__":
    process.run(main)
