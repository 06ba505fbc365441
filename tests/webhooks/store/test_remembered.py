"""What is remembered of the configuration is never older than what the database holds."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from webhooks.credentials.vault import Vault, new_key
from webhooks.store import remembered
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.database import Database
from webhooks.store.models import Event

CHANGE = "UPDATE events SET active = NOT active"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'webhooks.db'}")
    await database.migrate(Vault(new_key()))
    async with database.write() as session:
        session.add(Event(tenant="acme", key="Created"))
    yield database
    await database.close()


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """The queries that SQLite was asked."""
    queries: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        queries.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield queries
    event.remove(Engine, "before_cursor_execute", note)


async def is_active(database: Database, key: str = "Created") -> bool | None:
    async with database.read() as session:
        found, _ = await stored_webhooks.subscribed(session, "acme", key)
    return None if found is None else found.active


def connected(folder: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(folder / "webhooks.db", isolation_level=None, timeout=5))


async def test_a_query_is_asked_once(database: Database, asked: list[str]) -> None:
    assert [await is_active(database) for _ in range(3)] == [True] * 3
    assert [await is_active(database, "Other") for _ in range(2)] == [None] * 2
    assert len(asked) == 2


async def test_a_change_is_seen_at_once(database: Database) -> None:
    async with database.read() as session:
        before, _ = await stored_webhooks.subscribed(session, "acme", "Created")
    assert before
    for active in (False, True, False):
        async with database.write() as session:
            before.active = active
            await session.merge(before)
        assert await is_active(database) is active


async def test_a_change_of_another_process_is_seen_at_once(database: Database, tmp_path: Path) -> None:
    change = f"import sqlite3; c = sqlite3.connect('webhooks.db'); c.execute('{CHANGE}'); c.commit()"
    for active in (True, False, True):
        assert await is_active(database) is active
        await asyncio.to_thread(subprocess.run, (sys.executable, "-c", change), cwd=tmp_path, check=True)


async def test_what_was_read_before_a_change_is_not_kept(database: Database, tmp_path: Path) -> None:
    """The change comes while the query waits for its thread, and another query notices it."""
    with connected(tmp_path) as other:
        for _ in range(20):
            reading = asyncio.ensure_future(is_active(database))
            await asyncio.sleep(0)
            other.execute(CHANGE)
            await asyncio.gather(reading, is_active(database, "Other"))
            assert await is_active(database) is bool(other.execute("SELECT active FROM events").fetchone()[0])


async def test_an_uncommitted_change_is_not_seen(database: Database, tmp_path: Path) -> None:
    with connected(tmp_path) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute(CHANGE)
        assert await is_active(database) is True
        other.execute("COMMIT")
        assert await is_active(database) is False


async def test_the_least_recently_used_is_forgotten(
    database: Database, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "_MAX_RESULTS", 2)
    for key in ("A", "B", "A", "C", "A", "B"):
        await is_active(database, key)
    assert len(asked) == 4
