"""`make backup`: copies what is in the data directory to another one, while the platform runs.

Each database is copied as it was at one moment, with SQLite's backup API: a copy of the file alone lacks what is in the
write-ahead log. Temporal's comes first, so that the configuration has the webhooks of all deliveries in the backup,
and the master key comes last, so that it opens everything in the backup.
"""

import argparse
import logging
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from webhooks import process
from webhooks.errors import CannotRunError
from webhooks.settings import Settings

log = logging.getLogger("backup")

_DATABASES = ("temporal.db", "webhooks.db")
_WAIT_SECONDS = 30.0
"""How long a locked database is waited for."""


async def main(settings: Settings) -> None:
    """Back up to the directory that the command line names. Raises CannotRunError."""
    parser = argparse.ArgumentParser(prog="backup", description="Copy the data directory while the platform runs.")
    parser.add_argument(
        "to", nargs="?", type=Path, default=Path("backups", f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"),
        help="a directory that does not exist yet",
    )  # fmt: skip
    back_up(settings, parser.parse_args().to)


def back_up(settings: Settings, to: Path) -> None:
    """Copy the databases and the default key file to the directory `to`, which exists only when the backup is
    complete. Raises CannotRunError."""
    if settings.database_url:
        raise CannotRunError(
            "The configuration is in PostgreSQL (WEBHOOKS_DATABASE_URL): back it up with PostgreSQL's own tools, as "
            "docs/operations.md says."
        )
    if to.exists():
        raise CannotRunError(f"{to} exists already. Name a directory that does not exist yet.")
    draft = to.with_name(f"{to.name}.incomplete")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        copied = [name for name in _DATABASES if _copy(settings.data_dir / name, draft / name)]
        if "webhooks.db" not in copied:
            raise CannotRunError(f"There is no webhooks.db in WEBHOOKS_DATA_DIR {settings.data_dir.absolute()}.")
        if not settings.master_key and not settings.master_key_file:
            shutil.copy2(settings.master_key_path, draft)
            copied.append(settings.master_key_path.name)
        else:
            log.warning("the master key is not in the backup, because you keep it elsewhere: keep a copy of it")
        if settings.temporal_address:
            log.warning("the deliveries are not in the backup: they are on the Temporal server of TEMPORAL_ADDRESS")
        _sync(draft)
        draft.rename(to)
    except (OSError, sqlite3.Error) as error:
        raise CannotRunError(f"The backup to {to} failed: {error}") from error
    log.info("backed up %s to %s", ", ".join(copied), to.absolute())


def _copy(source: Path, target: Path) -> bool:
    """Copy a database as it is at one moment, and check the copy. Return whether there is one."""
    if not source.exists():
        return False
    with (
        closing(sqlite3.connect(source, timeout=_WAIT_SECONDS)) as original,
        closing(sqlite3.connect(target)) as copy,
    ):
        original.backup(copy)  # all pages in one step, under one snapshot: writers go on
        [found] = copy.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(f"the copy of {source.name} is damaged: {found}")
    return True


def _sync(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


if __name__ == "__main__":
    process.run(main)
