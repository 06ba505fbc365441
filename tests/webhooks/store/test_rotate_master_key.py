import gc
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlmodel import select

from webhooks.credentials import signing
from webhooks.credentials.vault import PREFIX_BYTES, Vault, key_id, new_key
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.errors import CannotRunError
from webhooks.settings import Settings
from webhooks.store import rotate_master_key, sealed
from webhooks.store.database import Database
from webhooks.store.models import Webhook

SECRETS = Secrets(signing=[signing.new_key()], headers={"Authorization": "Bearer x"})


def settings(folder: Path, key: str | None = None, file: Path | None = None) -> Settings:
    return Settings(data_dir=folder, master_key=SecretStr(key) if key else None, master_key_file=file)


async def configured(ours: Settings, vault: Vault) -> None:
    """Three webhooks of two tenants, sealed by the vault."""
    database = Database.of(ours)
    await database.migrate(vault)
    async with database.write() as session:
        for tenant, name in (("t", "w-1"), ("t", "w-2"), ("other", "w-3")):
            columns = sealed.seal(vault, tenant, name, SECRETS)
            session.add(Webhook(id=name, tenant=tenant, url="https://x.example/", **columns))
    await database.close()


async def stored(ours: Settings) -> Sequence[Webhook]:
    database = Database.of(ours)
    async with database.read() as session:
        rows = (await session.exec(select(Webhook).order_by(Webhook.id))).all()
    await database.close()
    return rows


async def test_the_default_file_gets_a_new_first_key_that_seals_everything(tmp_path: Path) -> None:
    ours = settings(tmp_path)
    await configured(ours, Vault.of(ours, create=True))
    [old] = ours.master_key_path.read_text().split()
    await rotate_master_key.main(ours)
    new, *others = ours.master_key_path.read_text().split()
    rows = await stored(ours)

    assert others == [old] != [new]
    assert ours.master_key_path.stat().st_mode & 0o777 == 0o600
    assert [sealed.unseal(Vault(new), row) for row in rows] == [SECRETS] * 3  # so the old one may go


async def test_a_running_process_goes_on_with_the_new_key(tmp_path: Path) -> None:
    ours = settings(tmp_path)
    running = Vault.of(ours, create=True)
    await configured(ours, running)
    os.utime(ours.master_key_path, (1, 1))
    running, before = Vault.of(ours), await stored(ours)
    await rotate_master_key.main(ours)
    new = Vault(ours.master_key_path.read_text().split()[0])
    row = Webhook(id="w-4", tenant="t", url="x", **sealed.seal(running, "t", "w-4", SECRETS))

    assert [sealed.unseal(running, row) for row in [*await stored(ours), *before]] == [SECRETS] * 6
    assert sealed.unseal(new, row) == SECRETS


async def test_each_rotation_adds_a_key(tmp_path: Path) -> None:
    ours = settings(tmp_path)
    await configured(ours, Vault.of(ours, create=True))
    for _ in range(3):
        await rotate_master_key.main(ours)
    keys = ours.master_key_path.read_text().split()

    assert len(set(keys)) == len(keys) == 4
    assert [sealed.unseal(Vault(keys[0]), row) for row in await stored(ours)] == [SECRETS] * 3


@pytest.mark.parametrize("in_a_file", [False, True])
async def test_keys_that_the_operator_holds_are_left_to_him(tmp_path: Path, in_a_file: bool) -> None:
    new, old = new_key(), new_key()
    file = tmp_path / "theirs"
    file.write_text(f"{new}\n{old}\n")
    ours = settings(tmp_path / "data", file=file) if in_a_file else settings(tmp_path / "data", f"{new},{old}")
    await configured(ours, Vault(old))
    await rotate_master_key.main(ours)
    rows = await stored(ours)
    await rotate_master_key.main(ours)

    assert [sealed.unseal(Vault(new), row) for row in rows] == [SECRETS] * 3
    assert [row.sealed for row in rows] == [row.sealed for row in await stored(ours)]  # nothing left to do
    assert file.read_text() == f"{new}\n{old}\n"
    assert not (tmp_path / "data" / "master.key").exists()


async def test_without_any_key_there_is_nothing_to_rotate(tmp_path: Path) -> None:
    with pytest.raises(CannotRunError, match=r"Cannot read the master key .*master\.key"):
        await rotate_master_key.main(settings(tmp_path))

    assert not (tmp_path / "master.key").exists()


async def test_a_key_that_is_in_use_and_missing_is_named_and_nothing_changes(tmp_path: Path) -> None:
    lost, ours = Vault(new_key()), settings(tmp_path, new_key())
    await configured(ours, lost)
    before = await stored(ours)

    with pytest.raises(CannotRunError, match=key_id(before[0].sealed[:PREFIX_BYTES])):
        await rotate_master_key.main(ours)
    gc.collect()  # a connection that was left open would warn

    assert [sealed.unseal(lost, row) for row in await stored(ours)] == [SECRETS] * 3
