"""A worker process: `python worker.py` delivers until SIGTERM, then finishes what is in flight.

Any number may run beside each other and beside API processes; they share nothing but Temporal and the configuration.
"""

import asyncio
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker, WorkflowRunner

from activities.delivery import DeliveryActivities
from webhooks import process
from webhooks.credentials.vault import Vault
from webhooks.egress.client import Egress
from webhooks.isolation import gauges
from webhooks.isolation.lanes import Lanes
from webhooks.isolation.resuming import releasing
from webhooks.publishing.operational_events import OperationalEvents
from webhooks.sending.sender import Sender
from webhooks.settings import Settings
from webhooks.store.database import Database
from webhooks.telemetry import setup
from webhooks.temporal.connection import connect
from workflows.deliver_webhook import DeliverWebhook
from workflows.record_occurrence import RecordOccurrence

log = logging.getLogger("worker")

# The sandbox's watch over determinism costs a fifth of Python's time for a delivery, over the same two short workflows
# again and again: the tests run and replay them in it (tests/workflows/), workers do not.
WORKFLOW_RUNNER = UnsandboxedWorkflowRunner()
WORKFLOW_THREADS = 4
"""The SDK's own pool grows to one for each task, and all contend for the GIL. Our workflows never wait in them: to wait
for a thread counts as a deadlock, after 2 s."""


def create_worker(
    client: Client, settings: Settings, sender: Sender, lanes: Lanes, runner: WorkflowRunner = WORKFLOW_RUNNER
) -> Worker:
    """A worker on the settings' task queue, for a process of its own or for the API's."""
    gauges.observe(lanes)
    activities = DeliveryActivities(sender, lanes, OperationalEvents(client, sender.database, settings, lanes))
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=[DeliverWebhook, RecordOccurrence],
        activities=[activities.prepare, activities.send, activities.report],
        workflow_runner=runner,
        workflow_task_executor=ThreadPoolExecutor(WORKFLOW_THREADS, "workflow"),
        no_remote_activities=True,
        max_concurrent_workflow_tasks=200,  # a local activity keeps its workflow task's slot while it runs
        max_concurrent_local_activities=200,
        max_cached_workflows=2_000,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        graceful_shutdown_timeout=timedelta(seconds=45),  # longer than the longest attempt
    )


async def main(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with setup.running(settings):
        await _deliver(settings, stop)


async def _deliver(settings: Settings, stop: asyncio.Event) -> None:
    database, egress = Database.of(settings), Egress.of(settings)
    vault = Vault.of(settings)
    await database.check_keys(vault)
    sender = Sender(database, vault, egress, deactivate_after=settings.deactivate_after)
    client, lanes = await connect(settings), Lanes()
    async with create_worker(client, settings, sender, lanes), releasing(client, lanes, settings):
        log.info("delivering from task queue %s of Temporal at %s", settings.task_queue, settings.temporal_target)
        await stop.wait()
    await sender.close()
    await egress.close()
    await database.close()


if __name__ == "__main__":
    process.run(main)
