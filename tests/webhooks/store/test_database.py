"""The configuration database."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from pydantic import ValidationError
from sqlalchemy.orm import Session
from sqlmodel import SQLModel, select

import webhooks.store
from webhooks.credentials import signing
from webhooks.credentials.authentication import KeyValuePair
from webhooks.credentials.masking import MASK
from webhooks.credentials.vault import PREFIX_BYTES, CannotOpenError, Vault, key_id, new_key
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.errors import CannotRunError
from webhooks.settings import Settings
from webhooks.store import api_keys, sealed
from webhooks.store import events as stored_events
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.database import Database
from webhooks.store.models import ApiKey, Event, Subscription, Webhook

VAULT = Vault(new_key())
CANARY = "canary-6630"
MOMENT = "2026-01-02 03:04:05.000000"


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    database = Database.of(settings)
    try:
        yield database
    finally:
        await database.close()


def files_with(text: str, folder: Path) -> list[str]:
    """The database's, its write-ahead log included, that hold it anywhere."""
    return sorted(file.name for file in folder.iterdir() if text.encode() in file.read_bytes())


@contextlib.contextmanager
def first_release(folder: Path) -> Iterator[sqlite3.Connection]:
    """A database as migration 0001 left it, on an SQLite whose deletions leave behind what was there: most do."""
    config = Config()
    config.set_main_option("script_location", str(Path(webhooks.store.__file__).parent / "migrations"))
    with contextlib.closing(sqlite3.connect(folder / "webhooks.db", isolation_level=None)) as connection:
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "secure_delete=OFF"):
            connection.execute(f"PRAGMA {pragma}").close()
        engine = sa.create_engine("sqlite://", creator=lambda: connection, poolclass=sa.StaticPool)
        with engine.begin() as upgraded:
            config.attributes["connection"] = upgraded
            command.upgrade(config, "0001")
        yield connection


def insert(connection: sqlite3.Connection, table: str, **values: Any) -> None:
    columns, places = ", ".join(f'"{name}"' for name in values), ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", [*values.values()])


def insert_webhook(connection: sqlite3.Connection, name: str, headers: dict[str, Any], **values: Any) -> None:
    row = {
        "id": name,
        "tenant": "t",
        "name": f"name of {name}",
        "url": f"https://{name}.example/",
        "method": "PUT",
        "description": "d",
        "headers": json.dumps(headers),
        "active": False,
        "deactivated_reason": "gone",
        "signing_secret": signing.new_key().secret,
        "retry_policy": '{"maximum_attempts": 3}',
        "timeout": 7.5,
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }
    insert(connection, "webhooks", **row | values)


async def test_migrations_make_what_the_models_say(settings: Settings) -> None:
    def differences(session: Session) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(session.connection()), SQLModel.metadata))

    async with opened(settings) as database:
        await database.migrate(VAULT)
        await database.migrate(VAULT)
        async with database.write() as session:
            found = await session.run_sync(differences)

    assert found == []


async def test_a_commit_survives_power_loss_what_is_deleted_is_overwritten_and_the_file_is_private(
    tmp_path: Path,
) -> None:
    pragmas: Any = [
        sa.text(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
    ]
    found = []
    async with opened(Settings(data_dir=tmp_path / "new")) as database:
        await database.migrate(VAULT)
        for opening in (database.read, database.write):
            async with opening() as session:
                found.append([(await session.exec(pragma)).scalar() for pragma in pragmas])

    assert found == [["wal", 2, 1, 1]] * 2
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


async def test_concurrent_writers_wait_for_each_other(settings: Settings) -> None:
    """Each reads and then writes: SQLite would fail with `database is locked` in a deferred transaction, and PostgreSQL
    lose most of it without row locks."""

    async def change(database: Database) -> None:
        async with database.write() as session:
            event = await stored_events.find(session, "t", "E", lock=True)
            assert event
            event.description += "x"

    async with opened(settings) as one, opened(settings) as other:
        await one.migrate(VAULT)
        async with one.write() as session:
            session.add(Event(tenant="t", key="E", description=""))
        await asyncio.gather(*(change((one, other)[n % 2]) for n in range(30)))
        async with one.read() as session:
            event = (await session.exec(select(Event))).one()

    assert event.description == "x" * 30


async def test_keys_are_stored_hashed(settings: Settings, tmp_path: Path) -> None:
    async with opened(settings) as database:
        await database.migrate(VAULT)
        async with database.write() as session:
            api_keys.add(session, tenant="default", name="n", key=CANARY)
        async with database.read() as session:
            found = await api_keys.find(session, CANARY)
            missing = await api_keys.find(session, "canary-6631")
        hiding = files_with(CANARY, tmp_path)

    assert found
    assert found.tenant == "default"
    assert missing is None
    assert hiding == files_with(CANARY, tmp_path) == []


def secrets_with(canary: str) -> Secrets:
    return Secrets(
        signing=[signing.new_key(f"{canary}-signing")],
        headers={"Authorization": f"Bearer {canary}-header", "X-Custom-Header": "logiwa-webhook"},
        authentication=KeyValuePair(type="Key Value Pair", name="X-Key", value=f"{canary}-value"),
    )


def webhook(name: str, secrets: Secrets, vault: Vault = VAULT, tenant: str = "t") -> Webhook:
    return Webhook(id=name, tenant=tenant, url="https://x.example/", **sealed.seal(vault, tenant, name, secrets))


async def test_secrets_are_stored_sealed_and_shown_masked(settings: Settings, tmp_path: Path) -> None:
    secrets = secrets_with(CANARY)
    async with opened(settings) as database:
        await database.migrate(VAULT)
        async with database.write() as session:
            session.add(webhook("w-1", secrets))
        async with database.read() as session:
            found = await stored_webhooks.find(session, "t", "w-1")
        hiding = files_with(CANARY, tmp_path)

    assert found
    assert sealed.unseal(VAULT, found) == secrets
    assert found.headers == {"Authorization": MASK, "X-Custom-Header": "logiwa-webhook"}
    assert found.authentication == {"type": "Key Value Pair", "name": "X-Key", "value": MASK, "in": "header"}
    assert found.public_key == signing.public_key(secrets.signing[0])
    assert hiding == files_with(CANARY, tmp_path) == []


@pytest.mark.parametrize(("tenant", "name"), [("t", "w-2"), ("other", "w-1")])
def test_what_is_sealed_opens_in_no_other_row(tenant: str, name: str) -> None:
    own = webhook("w-1", secrets_with(CANARY))
    moved = Webhook(id=name, tenant=tenant, url=own.url, sealed=own.sealed)

    with pytest.raises(CannotOpenError):
        sealed.unseal(VAULT, moved)


async def test_without_a_key_that_is_in_use_nothing_starts(settings: Settings) -> None:
    keys = [new_key() for _ in range(3)]
    vaults = [Vault(key) for key in keys]
    rows = [webhook(f"w-{number}", secrets_with(CANARY), vault) for number, vault in enumerate(vaults)]
    ids = [key_id(row.sealed[:PREFIX_BYTES]) for row in rows]
    async with opened(settings) as database:
        await database.migrate(vaults[0])
        async with database.write() as session:
            session.add_all(rows)
        with pytest.raises(CannotRunError) as caught:
            await database.check_keys(vaults[0])
        await database.check_keys(Vault(",".join([new_key(), *keys])))

    assert [name in str(caught.value) for name in ids] == [False, True, True]


async def test_an_upgrade_from_the_first_release_loses_nothing(tmp_path: Path) -> None:
    secret = signing.new_key().secret
    headers = {"Authorization": f"Bearer {CANARY}", "X-Custom-Header": "logiwa-webhook"}
    with first_release(tmp_path) as connection:
        insert(connection, "api_keys", id="k", tenant="t", name="n", digest="d", created_at=MOMENT)
        event = {"description": "d", "active": True, "created_at": MOMENT, "updated_at": MOMENT}
        insert(connection, "events", id="e-1", tenant="t", key="E", schema='{"type": "object"}', **event)
        insert(connection, "events", id="e-2", tenant="t", key="A.B", entity="A", action="B", template="[1]", **event)
        insert_webhook(connection, "w-1", headers, signing_secret=secret)
        insert_webhook(connection, "w-2", {}, tenant="other")
        subscription = {"tenant": "t", "active": True, "allowed_client_identifiers": '["c-1"]'}
        insert(connection, "subscriptions", id="s-1", event_id="e-1", webhook_id="w-1", **subscription)
        insert(connection, "subscriptions", id="s-2", event_id="e-2", webhook_id="w-1", **subscription)
    before = datetime.now(UTC)
    async with opened(Settings(data_dir=tmp_path)) as database:
        await database.migrate(VAULT)
        async with database.read() as session:
            keys = (await session.exec(select(ApiKey))).all()
            events = (await session.exec(select(Event).order_by(Event.id))).all()
            rows = (await session.exec(select(Webhook).order_by(Webhook.id))).all()
            subscriptions = (await session.exec(select(Subscription).order_by(Subscription.id))).all()
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    first, second = (sealed.unseal(VAULT, row) for row in rows)

    assert [(key.digest, key.role) for key in keys] == [("d", "administrator")]
    assert [(event.key, event.entity, event.json_schema, event.template, event.version) for event in events] == [
        ("E", None, {"type": "object"}, None, 1),
        ("A.B", "A", None, [1], 1),
    ]
    assert rows[0].model_dump(exclude={"sealed", "public_key"}) == {
        "id": "w-1",
        "tenant": "t",
        "client_identifier": None,
        "name": "name of w-1",
        "url": "https://w-1.example/",
        "method": "PUT",
        "description": "d",
        "format": "JSON",
        "sends_json": True,
        "headers": {"Authorization": MASK, "X-Custom-Header": "logiwa-webhook"},
        "authentication": {"type": "None"},
        "client_certificate": None,
        "signatures": ["v1"],
        "active": False,
        "deactivated_reason": "gone",
        "deactivated_at": None,
        "failing_since": None,
        "bulk": False,
        "retry_policy": {"maximum_attempts": 3},
        "timeout": 7.5,
        "created_at": moment,
        "updated_at": moment,
    }
    assert (first.headers, [key.secret for key in first.signing]) == (headers, [secret])
    assert [row.public_key for row in rows] == [signing.public_key(secrets.signing[0]) for secrets in (first, second)]
    assert second.headers == {}
    assert [(row.id, row.event_id, row.webhook_id, row.allowed_client_identifiers) for row in subscriptions] == [
        ("s-1", "e-1", "w-1", ["c-1"]),
        ("s-2", "e-2", "w-1", ["c-1"]),
    ]
    assert all(before <= row.created_at == row.updated_at <= datetime.now(UTC) for row in subscriptions)


async def test_after_an_upgrade_no_file_holds_a_secret(tmp_path: Path) -> None:
    """Neither what stood in the clear until now, nor what had been changed or deleted before."""
    with first_release(tmp_path) as connection:
        for number in range(300):
            headers = {"Authorization": f"Bearer {CANARY}-header"}
            insert_webhook(connection, f"w-{number:03}", headers, signing_secret=f"{CANARY}-signing")
        connection.execute("UPDATE webhooks SET headers = '{}' WHERE id < 'w-100'")
        connection.execute("DELETE FROM webhooks WHERE id > 'w-200'")
    before = files_with(CANARY, tmp_path)
    async with opened(Settings(data_dir=tmp_path)) as database:
        await database.migrate(VAULT)
        while_running = files_with(CANARY, tmp_path)

    assert before == ["webhooks.db"]
    assert {"while running": while_running, "at the end": files_with(CANARY, tmp_path)} == {
        "while running": [],
        "at the end": [],
    }


async def test_an_upgrade_that_fails_changes_nothing_and_may_be_repeated(tmp_path: Path) -> None:
    with first_release(tmp_path) as connection:
        insert_webhook(connection, "w-1", {"X-Fine": "x"}, signing_secret="whsec_")
        insert_webhook(connection, "w-2", {"X-Odd": 5})
        before = list(connection.iterdump())
    async with opened(Settings(data_dir=tmp_path)) as database:
        with pytest.raises(ValidationError):
            await database.migrate(VAULT)
        with contextlib.closing(sqlite3.connect(tmp_path / "webhooks.db")) as connection:
            after = list(connection.iterdump())
            connection.execute("UPDATE webhooks SET headers = '{}' WHERE id = 'w-2'")
            connection.commit()
        await database.migrate(VAULT)
        async with database.read() as session:
            rows = (await session.exec(select(Webhook).order_by(Webhook.id))).all()

    assert before == after
    assert [sealed.unseal(VAULT, row).headers for row in rows] == [{"X-Fine": "x"}, {}]


async def test_a_read_that_is_cut_off_disturbs_no_other(tmp_path: Path) -> None:
    """It goes on in its thread, and its connection is free once it has ended."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600000) SELECT max(i) FROM n"
    slow: Any = sa.text(numbers)
    async with opened(Settings(data_dir=tmp_path)) as database:
        await database.migrate(VAULT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02), database.read() as session:
                await session.exec(slow)
        pool = database._reader.pool
        assert isinstance(pool, sa.QueuePool)
        during = pool.checkedout()
        for _ in range(20):
            async with database.read() as session:
                assert (await session.exec(select(Event.key))).all() == []
        async with asyncio.timeout(10):
            while pool.checkedout():  # noqa: ASYNC110  a pool tells nobody
                await asyncio.sleep(0.01)
        async with database.read() as session:
            found = (await session.exec(slow)).all()

    assert during == 1
    assert [tuple(row) for row in found] == [(600_000,)]
