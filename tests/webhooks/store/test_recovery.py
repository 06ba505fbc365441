"""Commands for the operator: backup, a new API key, and a lost master key."""

import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlmodel import select

from webhooks.credentials import signing
from webhooks.credentials.source_secrets import SourceSecrets
from webhooks.credentials.vault import Vault, new_key
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.errors import CannotRunError
from webhooks.identity import new_api_key
from webhooks.settings import Settings
from webhooks.store import api_keys, payload_keys, reset_lost_secrets, sealed
from webhooks.store.backup import back_up
from webhooks.store.database import Database
from webhooks.store.models import Source, Tenant, Webhook

SECRETS = Secrets(signing=[signing.new_key()], headers={"X-Token": "canary-5521"})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


async def configured(settings: Settings, *names: str) -> Database:
    """Return an open database with webhooks that the settings' vault has sealed."""
    database = Database.of(settings)
    vault = await database.prepare(settings)
    async with database.write() as session:
        for name in names:
            columns = sealed.seal(vault, "t", name, SECRETS)
            session.add(Webhook(id=name, tenant="t", url=f"https://{name}.example/", **columns))
    return database


def source_of(name: str, vault: Vault) -> Source:
    source = Source(id=name, tenant="t", name=name, event="E", verification={"type": "github"})
    source.sealed = sealed.seal_of_source(
        vault, source, SourceSecrets().rotated("canary-of-a-sender", 0, datetime.now(UTC))
    )
    return source


async def webhooks_in(settings: Settings) -> dict[str, Webhook]:
    database = Database.of(settings)
    async with database.read() as session:
        found = {row.id: row for row in (await session.exec(select(Webhook))).all()}
    await database.close()
    return found


async def test_a_backup_has_what_is_only_in_the_write_ahead_log(settings: Settings, tmp_path: Path) -> None:
    database = await configured(settings, "w-1")
    with closing(sqlite3.connect(settings.data_dir / "temporal.db")) as temporal:
        temporal.execute("PRAGMA journal_mode=WAL").close()
        temporal.execute("CREATE TABLE executions (id)")
        temporal.execute("INSERT INTO executions VALUES (4711)")
        temporal.commit()
        temporal.execute("INSERT INTO executions VALUES (4712)")  # not committed
        back_up(settings, tmp_path / "copy")
    await database.close()
    restored = Settings(data_dir=tmp_path / "copy")
    found = await webhooks_in(restored)
    with closing(sqlite3.connect(tmp_path / "copy" / "temporal.db")) as temporal:
        rows = temporal.execute("SELECT id FROM executions").fetchall()

    assert sealed.unseal(Vault.of(restored), found["w-1"]) == SECRETS
    assert rows == [(4711,)]
    assert not (tmp_path / "copy.incomplete").exists()


async def test_a_backup_never_replaces_another_one(settings: Settings, tmp_path: Path) -> None:
    await (await configured(settings)).close()
    back_up(settings, tmp_path / "copy")
    with pytest.raises(CannotRunError, match="exists already"):
        back_up(settings, tmp_path / "copy")


def test_a_backup_of_nothing_or_of_postgresql_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(CannotRunError, match=r"There is no webhooks\.db"):
        back_up(settings, tmp_path / "copy")
    elsewhere = Settings(data_dir=tmp_path, database_url=SecretStr("postgresql://u@h/d"))
    with pytest.raises(CannotRunError, match="PostgreSQL"):
        back_up(elsewhere, tmp_path / "copy")

    assert not (tmp_path / "copy").exists()


async def test_a_new_key_is_printed_once_and_may_end_the_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database = await configured(settings)
    async with database.write() as session:
        session.add(Tenant(id="other", name="Other"))
        for tenant in ("default", "other"):
            api_keys.add(session, tenant=tenant, name="first", key=f"first-key-of-{tenant}")
    (settings.data_dir / "bootstrap.key").write_text("first-key-of-default\n")
    monkeypatch.setattr(sys, "argv", ["new_api_key"])
    await new_api_key.main(settings)
    second = capsys.readouterr().out.strip()
    async with database.read() as session:
        beside = [await api_keys.find(session, key) for key in ("first-key-of-default", second)]
    monkeypatch.setattr(sys, "argv", ["new_api_key", "--revoke-others"])
    await new_api_key.main(settings)
    third = capsys.readouterr().out.strip()
    keys = ("first-key-of-default", second, third, "first-key-of-other")
    async with database.read() as session:
        after = [await api_keys.find(session, key) for key in keys]
    await database.close()

    assert all(beside)
    assert [bool(found) for found in after] == [False, False, True, True]
    assert not (settings.data_dir / "bootstrap.key").exists()


async def test_a_key_for_no_tenant_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    await (await configured(settings)).close()
    monkeypatch.setattr(sys, "argv", ["new_api_key", "--tenant", "acme"])
    with pytest.raises(CannotRunError, match="There is no tenant acme"):
        await new_api_key.main(settings)


async def test_a_key_for_no_database_is_refused_with_what_to_do(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["new_api_key"])
    with pytest.raises(CannotRunError, match="must have run once"):
        await new_api_key.main(settings)


async def test_what_a_lost_key_had_sealed_is_reset_when_confirmed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await configured(settings, "lost")
    async with before.write() as session:
        payload_keys.add(session, Vault.of(settings), "unreadable")
        session.add(source_of("lost-source", Vault.of(settings)))
    await before.close()
    settings.master_key_path.write_text(new_key() + "\n")
    database = Database.of(settings)
    kept = sealed.seal(Vault.of(settings), "t", "kept", SECRETS)
    async with database.write() as session:
        session.add(Webhook(id="kept", tenant="t", url="https://kept.example/", **kept))
        payload_keys.add(session, Vault.of(settings), "readable")
        session.add(source_of("kept-source", Vault.of(settings)))
    monkeypatch.setattr(sys, "argv", ["reset_lost_secrets"])
    await reset_lost_secrets.main(settings)
    with pytest.raises(CannotRunError, match="A lost master key"):
        await database.prepare(settings)
    monkeypatch.setattr(sys, "argv", ["reset_lost_secrets", "--confirm"])
    await reset_lost_secrets.main(settings)
    vault = await database.prepare(settings)
    async with database.read() as session:
        assert await payload_keys.tenants(session) == ["readable"]
        sources = {row.id: row for row in (await session.exec(select(Source))).all()}
    await database.close()
    found = await webhooks_in(settings)
    reset = sealed.unseal(vault, found["lost"])

    assert (found["lost"].active, found["lost"].deactivated_reason) == (False, reset_lost_secrets.REASON)
    assert (reset.headers, found["lost"].headers) == ({}, {})
    assert found["kept"].active
    assert sealed.unseal(vault, found["kept"]) == SECRETS
    assert (sources["lost-source"].active, sources["kept-source"].active) == (False, True)
    assert sealed.unseal_source(vault, sources["lost-source"]) == SourceSecrets()
    assert sealed.unseal_source(vault, sources["kept-source"]).secrets[0].value == "canary-of-a-sender"
