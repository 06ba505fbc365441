"""The configuration database on PostgreSQL: what SQLite has no need of."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFreeError
from sqlmodel import select

from tests.support.postgresql import PostgreSQL
from webhooks.credentials.vault import Vault, new_key
from webhooks.errors import CannotRunError
from webhooks.events import operational
from webhooks.settings import Settings
from webhooks.store import events as stored_events
from webhooks.store import subscriptions as stored_subscriptions
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.database import Database, is_away
from webhooks.store.models import Event, Subscription, Webhook
from webhooks.store.postgresql import DatabaseAwayError
from webhooks.testing.platform_process import PlatformProcess, until

VAULT = Vault(new_key())
NOWHERE = "127.0.0.1:1"
"""Where no Temporal server answers, and none of our own is started."""


@pytest.fixture
async def database(postgresql: PostgreSQL) -> AsyncIterator[Database]:
    database = Database(postgresql.fresh())
    await database.migrate(VAULT)
    yield database
    await database.close()


async def add(database: Database) -> None:
    """An event, a webhook and its subscription."""
    async with database.write() as session:
        session.add(Event(id="e", tenant="t", key="E", description=""))
        session.add(Webhook(id="w", tenant="t", url="https://a.example/"))
        await session.flush()
        session.add(Subscription(id="s", tenant="t", event_id="e", webhook_id="w"))


def keys_made_in(folder: Path) -> list[str]:
    return [file.read_text().strip() for file in folder.glob("*/bootstrap.key")]


async def test_processes_that_start_at_once_migrate_one_after_the_other(postgresql: PostgreSQL) -> None:
    url = postgresql.fresh()
    databases = [Database(url) for _ in range(4)]
    await asyncio.gather(*(database.migrate(VAULT) for database in databases))
    async with databases[0].read() as session:
        found = (await session.exec(select(Event))).all()
    for database in databases:
        await database.close()

    assert found == []


@pytest.mark.thorough
async def test_apis_that_start_at_once_on_an_empty_database_make_one_key(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    url, key = postgresql.fresh(), new_key()
    apis = [
        PlatformProcess(
            tmp_path / name,
            WEBHOOKS_BOOTSTRAP_KEY="",
            WEBHOOKS_DATABASE_URL=url,
            WEBHOOKS_MASTER_KEY=key,
            TEMPORAL_ADDRESS=NOWHERE,
        )
        for name in ("one", "other")
    ]
    database = Database(url)

    async def both_wait() -> bool:
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        async with database.read() as session:
            return (await (await session.connection()).exec_driver_sql(waiting)).scalar() == len(apis)

    try:
        async with database.write_alone():
            for api in apis:
                await api.spawn()
            await until(both_wait, timeout=60, what="both")
        await asyncio.gather(*(until(api.lives, timeout=60, what="the API") for api in apis))
        [key] = keys_made_in(tmp_path)
        headers = {"authorization": f"Bearer {key}"}
        answers = [await api.http.get("/v1/events", headers=headers) for api in apis]
        stopped = [await api.stop() for api in apis]
    finally:
        for api in apis:
            await api.close()
        await database.close()

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [sorted(event["key"] for event in answer.json()["items"]) for answer in answers] == [
        sorted(operational.KEYS)
    ] * 2
    assert stopped == [0, 0]


def test_an_api_does_not_make_a_master_key_that_only_it_would_have(postgresql: PostgreSQL, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=SecretStr(postgresql.fresh()))

    with pytest.raises(CannotRunError, match="WEBHOOKS_MASTER_KEY"):
        Vault.of(settings, create=True)
    assert list(tmp_path.iterdir()) == []


async def test_a_restart_costs_no_query(own_postgresql: PostgreSQL) -> None:
    database = Database(own_postgresql.fresh())
    await database.migrate(VAULT)
    await add(database)
    for _ in range(2):
        own_postgresql.restart()
        async with database.read() as session:
            event = await stored_events.find(session, "t", "E")
        own_postgresql.restart()
        async with database.write() as session:
            changed = await stored_events.find(session, "t", "E", lock=True)
            assert changed
            changed.description += "x"
    await database.close()

    assert event
    assert event.description == "x"


@pytest.mark.thorough
async def test_while_it_is_away_the_api_says_so_and_then_goes_on(own_postgresql: PostgreSQL, tmp_path: Path) -> None:
    platform = PlatformProcess(tmp_path, WEBHOOKS_DATABASE_URL=own_postgresql.fresh(), WEBHOOKS_MASTER_KEY=new_key())
    try:
        await platform.start()
        event = await platform.event()
        own_postgresql.stop()
        refused = [
            await platform.http.get(f"/v1/events/{event}"),
            await platform.http.post("/v1/events", json={"key": "E"}),
            await platform.http.get("/health/ready"),
        ]
        own_postgresql.start()
        again = await platform.http.post("/v1/events", json={"key": "E"})
        ready = await platform.http.get("/health/ready")
        assert await platform.stop() == 0
    finally:
        await platform.close()

    assert [answer.status_code for answer in refused] == [503] * 3
    assert all("configuration database" in answer.json()["detail"] for answer in refused)
    assert (again.status_code, ready.status_code) == (201, 200)
    assert "Traceback" not in platform.log


@pytest.mark.thorough
async def test_a_process_that_cannot_connect_ends_with_a_line_without_the_password(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    url = postgresql.url("none").replace(postgresql.user, "canary-user").replace("%20", "-7731")
    platform = PlatformProcess(tmp_path, WEBHOOKS_DATABASE_URL=url, WEBHOOKS_MASTER_KEY=new_key())
    await platform.spawn()
    with pytest.raises(AssertionError, match="ended"):
        while True:
            platform.assert_alive()
            await asyncio.sleep(0.05)
    await platform.close()

    assert "Cannot connect to the database of WEBHOOKS_DATABASE_URL: password authentication failed" in platform.log
    assert "7731" not in platform.log
    assert "Traceback" not in platform.log


async def test_no_connection_is_an_error_that_passes() -> None:
    database = Database("postgresql://user:password@127.0.0.1:1/none")
    with pytest.raises(DatabaseAwayError) as caught:
        await database.migrate(VAULT)
    await database.close()

    assert is_away(caught.value)
    assert "password" not in str(caught.value)


async def test_a_pool_in_use_is_an_error_that_passes(postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.store.postgresql._WAIT_FOR_CONNECTION_SECONDS", 0.1)
    database = Database(postgresql.fresh(), connections=1)
    async with database.write() as holding:
        await holding.exec(select(text("1")))
        with pytest.raises(NoConnectionFreeError) as caught:
            async with database.write() as session:
                await session.exec(select(text("1")))
        async with database.read() as session:  # readers have theirs
            await session.exec(select(text("1")))
    await database.close()

    assert is_away(caught.value)


@pytest.mark.parametrize(
    ("sqlstate", "passes"),
    [("57P01", True), ("53300", True), ("40P01", True), ("25006", True), ("55P03", True), ("42P01", False)],
)
async def test_what_may_work_in_a_moment_is_told_from_what_never_will(
    database: Database, sqlstate: str, passes: bool
) -> None:
    """As PostgreSQL itself reports it."""
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{sqlstate}'; END $$"
    with pytest.raises(DBAPIError) as caught:
        async with database.read() as session:
            await (await session.connection()).exec_driver_sql(raising)

    assert is_away(caught.value) is passes


async def test_who_reads_to_change_keeps_others_waiting(database: Database) -> None:
    """An event, a subscription, and a webhook with its subscriptions."""
    await add(database)
    order: list[str] = []

    async def change(name: str, holding: asyncio.Event) -> None:
        async with database.write() as session:
            if name == "event":
                assert await stored_events.find(session, "t", "E", lock=True)
            elif name == "subscription":
                assert await stored_subscriptions.find(session, "t", "s", lock=True)
            else:
                assert await stored_webhooks.find(session, "t", "w", lock=True)
                assert (await stored_subscriptions.of_webhooks(session, "t", ["w"], lock=True))["w"]
            order.append(f"{name} locked")
            holding.set()
            await asyncio.sleep(0.2)
            order.append(f"{name} done")

    for first, second in (("event", "event"), ("subscription", "subscription"), ("subscription", "webhook")):
        holding = asyncio.Event()
        order.clear()
        before = asyncio.create_task(change(first, holding))
        await holding.wait()
        await change(second, asyncio.Event())
        await before

        assert order == [f"{first} locked", f"{first} done", f"{second} locked", f"{second} done"]


async def test_a_wait_for_a_lock_has_an_end(database: Database) -> None:
    await add(database)
    async with database.write() as holding:
        await stored_events.find(holding, "t", "E", lock=True)
        started = time.monotonic()
        with pytest.raises(DBAPIError) as caught:
            async with database.write() as session:
                await stored_events.find(session, "t", "E", lock=True)

    assert is_away(caught.value)
    assert 4 < time.monotonic() - started < 15


async def test_times_are_utc_whatever_the_server_s_zone_is(postgresql: PostgreSQL) -> None:
    url = postgresql.fresh()
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    database = Database(f"{url}?options=-c%20timezone%3DAsia/Tokyo")
    await database.migrate(VAULT)
    async with database.write() as session:
        session.add(Event(tenant="t", key="E", description="", created_at=moment))
    async with database.read() as session:
        found = await stored_events.find(session, "t", "E")
        zone = (await (await session.connection()).exec_driver_sql("SHOW timezone")).scalar()
    await database.close()

    assert found
    assert (found.created_at, found.created_at.tzinfo) == (moment, UTC)
    assert zone == "Asia/Tokyo"
