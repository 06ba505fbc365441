"""A data directory or a master key that cannot be used: one line says which, why, and what to do."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.file_system import mounted
from webhooks.credentials import signing
from webhooks.credentials.vault import PREFIX_BYTES, Vault, key_id
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.errors import CannotRunError
from webhooks.settings import Settings
from webhooks.store import sealed
from webhooks.store.database import Database
from webhooks.store.models import Webhook


@pytest.mark.thorough
@pytest.mark.parametrize("module", ["api", "webhooks.store.migrate"])
def test_a_read_only_directory_is_named_in_one_line(tmp_path: Path, module: str) -> None:
    folder = tmp_path / "data"
    environment = {**os.environ, "WEBHOOKS_DATA_DIR": str(folder), "WEBHOOKS_PORT": "0"}
    with mounted(folder, "ro"):
        ended = subprocess.run(
            [sys.executable, "-m", module], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        f"Cannot write to WEBHOOKS_DATA_DIR {folder}: Read-only file system. Mount its file system for writing, or set "
        "WEBHOOKS_DATA_DIR to another directory."
    ]


def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with mounted(folder, "size=32k"):
        with pytest.raises(CannotRunError) as caught:
            Settings(data_dir=folder).make_data_dir()
        left = list(folder.iterdir())

    assert os.strerror(errno.ENOSPC) in str(caught.value)
    assert "Free space" in str(caught.value)
    assert left == []


def test_a_file_in_the_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(CannotRunError, match=f"{tmp_path / 'data'}: File exists. Make it a directory"):
        Settings(data_dir=tmp_path / "data").make_data_dir()


async def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "webhooks.db").mkdir()
    database = Database.of(Settings(data_dir=tmp_path))
    with pytest.raises(CannotRunError, match=f"Cannot use the database {tmp_path / 'webhooks.db'}: unable to open"):
        await database.prepare(Settings(data_dir=tmp_path))
    await database.close()


async def test_a_lost_key_file_is_missed_before_a_new_one_is_made(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    database = Database.of(settings)
    vault = await database.prepare(settings)
    columns = sealed.seal(vault, "t", "w", Secrets(signing=[signing.new_key()]))
    async with database.write() as session:
        session.add(Webhook(id="w", tenant="t", url="https://x.example/", **columns))
    key = settings.master_key_path.read_text()
    settings.master_key_path.unlink()
    with pytest.raises(CannotRunError) as caught:
        await database.prepare(settings)
    existed = settings.master_key_path.exists()
    settings.master_key_path.write_text(key)
    again = await database.prepare(settings)
    await database.close()

    assert key_id(columns["sealed"][:PREFIX_BYTES]) in str(caught.value)
    assert f"{settings.master_key_path} does not exist" in str(caught.value)
    assert not existed
    assert again.knows(columns["sealed"][:PREFIX_BYTES])


async def test_without_anything_sealed_a_new_key_is_made(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    database = Database.of(settings)
    await database.prepare(settings)
    settings.master_key_path.unlink()
    await database.prepare(settings)
    await database.close()

    assert Vault.of(settings)
