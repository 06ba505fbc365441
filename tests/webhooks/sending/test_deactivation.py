"""Since when a webhook fails, as attempts tell: against a real database, with a clock of our own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.clock import Clock
from tests.support.fresh_database import migrated
from webhooks import outcomes
from webhooks.credentials import signing
from webhooks.credentials.vault import Vault, new_key
from webhooks.credentials.webhook_secrets import Secrets
from webhooks.sending.deactivation import Deactivation
from webhooks.settings import Settings
from webhooks.store import sealed
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.database import Database
from webhooks.store.models import Webhook
from webhooks.telemetry.internal_errors import InternalErrors

DAY = 86_400.0
FAILURES = ["timeout", "connection_refused", "http_400", "http_503", "http_302", "oauth_failed", "tls_error"]


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database, vault = await migrated(settings), Vault(new_key())
    columns = sealed.seal(vault, "t", "w", Secrets(signing=[signing.new_key(None)]))
    async with database.write() as session:
        session.add(Webhook(id="w", tenant="t", url="https://a.example/", **columns))
    yield database
    await database.close()


@pytest.fixture
def deactivation(database: Database, clock: Clock) -> Deactivation:
    return Deactivation(database, 5 * DAY, InternalErrors(), clock)


async def load(database: Database) -> Webhook:
    async with database.read() as session:
        found = await stored_webhooks.find(session, "t", "w")
    assert found
    return found


async def change(database: Database, **columns: object) -> Webhook:
    async with database.write() as session:
        found = await stored_webhooks.find(session, "t", "w")
        assert found
        for column, value in columns.items():
            setattr(found, column, value)
    return await load(database)


async def fail(database: Database, deactivation: Deactivation, outcome: str = "http_503") -> bool:
    return await deactivation.record_attempt(await load(database), outcome)


def days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


@pytest.mark.parametrize("outcome", FAILURES)
async def test_failing_is_written_down_after_a_minute(
    database: Database, deactivation: Deactivation, clock: Clock, outcome: str
) -> None:
    for clock.now in (0, 30, 59):
        await fail(database, deactivation, outcome)
    before = await load(database)
    clock.now = 60
    started = datetime.now(UTC)
    await fail(database, deactivation, outcome)
    after = await load(database)
    clock.now = 600
    await fail(database, deactivation, outcome)

    assert before.failing_since is None
    assert after.failing_since
    a_minute = timedelta(seconds=60)  # on the test's clock, since the first failure
    assert started - a_minute <= after.failing_since <= datetime.now(UTC) - a_minute
    assert (await load(database)).failing_since == after.failing_since
    assert after.updated_at == before.updated_at


async def test_a_success_in_between_begins_the_minute_anew(
    database: Database, deactivation: Deactivation, clock: Clock
) -> None:
    await fail(database, deactivation)
    clock.now = 59
    await deactivation.record_attempt(await load(database), outcomes.DELIVERED)
    for clock.now in (61, 120):
        await fail(database, deactivation)

    assert (await load(database)).failing_since is None


@pytest.mark.parametrize("outcome", outcomes.NEVER_SENT)
async def test_what_was_never_sent_says_nothing(
    database: Database, deactivation: Deactivation, clock: Clock, outcome: str
) -> None:
    await fail(database, deactivation, outcome)
    clock.now = 60
    await fail(database, deactivation, outcome)
    await change(database, failing_since=days_ago(6))

    assert not await fail(database, deactivation, outcome)
    assert (await load(database)).active


async def test_a_success_ends_it(database: Database, deactivation: Deactivation) -> None:
    webhook = await change(database, failing_since=days_ago(6))
    await deactivation.record_attempt(webhook, outcomes.DELIVERED)
    # and an attempt that was under way meanwhile, and failed
    deactivated = await deactivation.record_attempt(webhook, "timeout")
    after = await load(database)

    assert not deactivated
    assert (after.active, after.failing_since) == (True, None)


@pytest.mark.parametrize(("days", "active"), [(4.9, True), (5.1, False)])
async def test_five_days_are_enough(database: Database, deactivation: Deactivation, days: float, active: bool) -> None:
    since = days_ago(days)
    await change(database, failing_since=since)
    assert not await fail(database, deactivation), "the one before may be long ago"
    deactivated = await fail(database, deactivation)
    after = await load(database)
    reason = f"no attempt has succeeded since {since:%Y-%m-%dT%H:%MZ}"

    assert deactivated is not active
    assert after.active is active
    assert after.deactivated_reason == (None if active else reason)
    assert (after.deactivated_at is None) is active
    assert after.failing_since == since


async def test_silence_between_two_failures_is_no_failure(
    database: Database, deactivation: Deactivation, clock: Clock
) -> None:
    """A webhook that is used once a month, and fails then, may work the rest of the time."""
    await change(database, failing_since=days_ago(31))
    await fail(database, deactivation)
    clock.now = 30 * 86_400
    assert not await fail(database, deactivation)

    assert (await load(database)).active


async def test_it_can_be_switched_off(database: Database, clock: Clock) -> None:
    """And still tells since when."""
    deactivation = Deactivation(database, 0, InternalErrors(), clock)
    await fail(database, deactivation)
    clock.now = 60
    await fail(database, deactivation)
    assert (await load(database)).failing_since

    await change(database, failing_since=days_ago(400))
    assert not await fail(database, deactivation)
    assert (await load(database)).active


@pytest.mark.parametrize("since", [None, 1])
async def test_410_deactivates_at_once_and_one_attempt_does_it(
    database: Database, deactivation: Deactivation, since: int | None
) -> None:
    webhook = await change(database, failing_since=since and days_ago(since))

    assert await deactivation.record_attempt(webhook, "http_410")
    assert not await deactivation.record_attempt(webhook, "http_410")
    after = await load(database)
    assert (after.active, after.deactivated_reason) == (False, "the receiver answered 410 Gone")
    assert after.deactivated_at == after.updated_at


async def test_another_url_is_not_blamed(database: Database, deactivation: Deactivation, clock: Clock) -> None:
    old = await load(database)
    await change(database, url="https://b.example/")
    await deactivation.record_attempt(old, "http_503")
    clock.now = 60
    await deactivation.record_attempt(old, "http_503")
    await deactivation.record_attempt(old, "http_410")
    after = await load(database)

    assert (after.active, after.failing_since) == (True, None)


async def test_a_database_that_is_away_costs_no_answer(
    database: Database, deactivation: Deactivation, caplog: pytest.LogCaptureFixture
) -> None:
    webhook = await change(database, failing_since=days_ago(6))
    async with database.write() as session:
        await (await session.connection()).exec_driver_sql("ALTER TABLE webhooks RENAME TO away")
    for outcome in ("http_410", "http_503", outcomes.DELIVERED):
        assert await deactivation.record_attempt(webhook, outcome) is False

    assert [record.levelname for record in caplog.records] == ["ERROR"]
