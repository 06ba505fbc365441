"""The keys that sign tokens: replaced by time or by command, never lost to those who verify."""

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.fresh_database import migrated
from webhooks.credentials.vault import Vault, new_key
from webhooks.identity import rotate_signing_key, signing_keys
from webhooks.identity.signing_keys import (
    LONGEST_TOKEN,
    PUBLISHED_BEFORE,
    REPLACED_AFTER,
    SigningKeys,
    published_rows,
    signing_row,
)
from webhooks.settings import Settings
from webhooks.store import sealed
from webhooks.store import signing_keys as stored_keys
from webhooks.store.database import Database
from webhooks.store.models import SigningKey

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = await migrated(settings)
    yield database
    await database.close()


VAULT = Vault(new_key())


def row(id: str, age: timedelta) -> SigningKey:
    return SigningKey(id=id, sealed=b"", created_at=NOW - age)


@pytest.mark.parametrize(
    ("rows", "signing", "published"),
    [
        ([], None, []),
        ([row("a", 0 * MINUTE)], "a", ["a"]),
        ([row("a", 5 * MINUTE), row("b", MINUTE)], "a", ["a", "b"]),
        ([row("a", REPLACED_AFTER), row("b", PUBLISHED_BEFORE - MINUTE)], "a", ["a", "b"]),
        ([row("a", REPLACED_AFTER), row("b", PUBLISHED_BEFORE)], "b", ["a", "b"]),
        ([row("a", REPLACED_AFTER), row("b", PUBLISHED_BEFORE + LONGEST_TOKEN)], "b", ["a", "b"]),
        ([row("a", REPLACED_AFTER), row("b", PUBLISHED_BEFORE + LONGEST_TOKEN + 10 * MINUTE)], "b", ["b"]),
        ([row("a", 90 * MINUTE), row("b", 2 * MINUTE), row("c", MINUTE)], "a", ["a", "b", "c"]),
    ],
)
def test_which_key_signs_and_which_are_published(
    rows: list[SigningKey], signing: str | None, published: list[str]
) -> None:
    found = signing_row(rows, NOW)

    assert (found and found.id) == signing
    assert [key.id for key in published_rows(rows, NOW)] == published


async def test_processes_that_start_together_make_one_key(database: Database) -> None:
    processes = [SigningKeys(database, VAULT) for _ in range(5)]
    keys = await asyncio.gather(*(process.signing() for process in processes))
    async with database.read() as session:
        rows = await stored_keys.list_oldest_first(session)

    assert {key.kid for key in keys} == {row.id for row in rows}
    assert len(rows) == 1


async def test_an_old_key_is_replaced_and_still_published(database: Database) -> None:
    ours = SigningKeys(database, VAULT)
    old = await ours.signing()
    async with database.write_alone() as session:
        [stored] = await stored_keys.list_oldest_first(session)
        stored.created_at = datetime.now(UTC) - REPLACED_AFTER
    processes = [SigningKeys(database, VAULT) for _ in range(3)]
    signing = await asyncio.gather(*(process.signing() for process in processes))
    published = [{key["kid"] for key in await process.published()} for process in processes]
    async with database.write_alone() as session:
        rows = await stored_keys.list_oldest_first(session)
        assert len(rows) == 2
        rows[1].created_at -= PUBLISHED_BEFORE
    later = SigningKeys(database, VAULT)

    assert {key.kid for key in signing} == {old.kid}
    assert all(kids == {row.id for row in rows} for kids in published)
    assert (await later.signing()).kid == rows[1].id
    assert await later.find(str(old.kid)) is not None


async def test_a_key_that_nobody_needs_is_deleted_with_the_next_replacement(database: Database) -> None:
    for months in (3, 2):
        async with database.write_alone() as session:
            await signing_keys.replace(session, VAULT, force=True)
            for key in await stored_keys.list_oldest_first(session):
                key.created_at -= timedelta(days=30 * months)
    async with database.write_alone() as session:
        before = {key.id for key in await stored_keys.list_oldest_first(session)}
        assert await signing_keys.replace(session, VAULT)
        assert not await signing_keys.replace(session, VAULT)
    async with database.read() as session:
        after = {key.id for key in await stored_keys.list_oldest_first(session)}

    assert len(before) == len(after) == 2
    assert len(before & after) == 1


async def test_a_new_key_of_another_process_is_found_at_once(database: Database) -> None:
    ours, theirs = SigningKeys(database, VAULT), SigningKeys(database, VAULT)
    assert await ours.published() == []
    key = await theirs.signing()

    assert await ours.find(str(key.kid)) is not None
    assert await ours.find("unknown") is None


async def test_the_command_makes_a_key_and_can_end_all_others(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = new_key()
    monkeypatch.setattr(Vault, "of", lambda *_, **__: Vault(secret))
    ours = SigningKeys(database, Vault(secret))
    first = await ours.signing()
    monkeypatch.setattr(sys, "argv", ["rotate_signing_key"])
    await rotate_signing_key.main(settings)
    second = await SigningKeys(database, Vault(secret)).signing()
    monkeypatch.setattr(sys, "argv", ["rotate_signing_key", "--revoke-others"])
    await rotate_signing_key.main(settings)
    later = SigningKeys(database, Vault(secret))
    third = await later.signing()

    assert second.kid == first.kid  # the new one signs in 10 minutes
    assert third.kid != first.kid
    assert await later.find(str(first.kid)) is None
    assert len(await later.published()) == 1


async def test_private_keys_are_sealed_and_resealed(database: Database) -> None:
    old, new = Vault(first := new_key()), Vault(new_key())
    key = await SigningKeys(database, old).signing()
    both = Vault(f"{next(iter([new_key()]))},{first}")
    secret = key.as_dict(private=True)["d"]
    async with database.read() as session:
        [stored] = await stored_keys.list_oldest_first(session)
        unknown = await sealed.unknown_keys(session, new)
    async with database.write_alone() as session:
        counts = [await sealed.reseal(session, both), await sealed.reseal(session, both)]
    again = await SigningKeys(database, both).signing()

    assert len(unknown) == 1
    assert str(secret).encode() not in stored.sealed
    assert stored_keys.unseal(old, stored) not in stored.sealed
    assert [count["signing_keys"] for count in counts] == [1, 0]
    assert again.as_dict(private=True)["d"] == secret
