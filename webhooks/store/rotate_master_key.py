"""`make rotate-master-key`: reseals every secret and payload key with a new master key, while the platform runs.

If the default key file is used, the new key is created and put first here; running processes notice the change. If the
operator keeps the keys elsewhere, the operator puts the new key first, restarts the processes, and runs this.
Afterwards, older keys may be removed, unless a backup still needs them.
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
    """Reseal all secrets with the first master key. Raises CannotRunError."""
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
                resealed = await sealed.reseal(session, keys)
        finally:
            await database.close()
    rows = ", ".join(f"{count} of {table}" for table, count in resealed.items())
    log.info("resealed with the first master key: %s", rows)


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Run one rotation of the default key file at a time: otherwise one could remove the key that the other has just
    sealed with."""
    with (settings.data_dir / "rotation.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    process.run(main)
