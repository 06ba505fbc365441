"""`make rotate-master-key`: every secret sealed anew, under a new master key, while the platform runs.

In the default key file the new key is made here and put first; running processes notice. Where the operator holds the
keys, he puts the new one first, restarts, and runs this. Older keys may go once this has run and no backup needs them.
"""

import contextlib
import fcntl
import logging
from collections.abc import Iterator

from webhooks import process
from webhooks.credentials import vault
from webhooks.credentials.vault import Vault
from webhooks.settings import Settings
from webhooks.store import sealed
from webhooks.store.database import Database

log = logging.getLogger("rotate_master_key")


async def main(settings: Settings) -> None:
    """Raises CannotRunError."""
    keys, file = Vault.of(settings), settings.master_key_path
    is_default_file = not settings.master_key and not settings.master_key_file
    with _alone(settings) if is_default_file else contextlib.nullcontext():
        if is_default_file:
            vault.write_key_file(file, f"{vault.new_key()}\n{file.read_text()}")
            keys = Vault.of(settings)
            log.info("put a new master key first in %s", file)
        database = Database.of(settings)
        try:
            await database.check_keys(keys)
            async with database.write_alone() as session:
                renewed = await sealed.reseal(session, keys)
        finally:
            await database.close()
    log.info("sealed the secrets of %d webhooks under the first master key", renewed)


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Of two rotations of the default key file at once, one could drop the key under which the other has sealed."""
    with (settings.data_dir / "rotation.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    process.run(main)
