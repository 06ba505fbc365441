"""What the workflow does at moments that cannot be held from outside: run by a worker in the test's own process."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from tests.workflows.sandbox import SANDBOX
from webhooks.contracts import Occurrence
from webhooks.credentials.vault import Vault
from webhooks.egress.client import Egress
from webhooks.ids import uuid7
from webhooks.isolation.backlog import LocalBacklog
from webhooks.isolation.lanes import Lanes
from webhooks.isolation.live_traffic import LiveTraffic
from webhooks.publishing.matching import Match
from webhooks.publishing.publish import Publisher
from webhooks.sending.resources import Resources
from webhooks.sending.sender import Sender
from webhooks.settings import Settings
from webhooks.store.database import Database
from webhooks.store.payload_keys import PayloadKeyRing
from webhooks.testing.platform_process import PlatformProcess, until
from worker import create_worker


async def test_cancelled_while_the_database_is_away(platform: PlatformProcess, tmp_path: Path) -> None:
    """`prepare` fails for want of a table, and is tried again later: a cancel then ends the delivery, and does not park
    it as one that failed for good."""
    client = await platform.temporal()
    settings = Settings(data_dir=tmp_path, task_queue=uuid4().hex)
    database, vault, egress = Database.of(settings), Vault.of(settings, create=True), Egress(())
    keys = PayloadKeyRing(database, vault)
    resources = Resources(settings, database, vault, egress, Sender(database, vault, egress), keys)
    publisher = Publisher(client, settings.task_queue, resend_window=60, backlog=LocalBacklog())
    occurrence = Occurrence(id=uuid4().hex, event="E", occurred_at=datetime.now(UTC), data={})
    async with create_worker(client, resources, Lanes(), publisher, LiveTraffic(), SANDBOX):
        [started] = await publisher.publish("default", occurrence, [Match(uuid7(), "https://a.example/")], "")
        handle = client.get_workflow_handle(f"default/{started.delivery_id}")

        async def backing_off() -> bool:
            events = (await handle.fetch_history()).events
            return any(event.HasField("timer_started_event_attributes") for event in events)

        await until(backing_off, timeout=30, what="a failed prepare")
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as failure:
            await asyncio.wait_for(handle.result(), 30)
    await egress.close()
    await database.close()

    assert isinstance(failure.value.cause, CancelledError)
