"""A worker process: `python worker.py` delivers until SIGTERM, then finishes what is in flight.

Any number may run beside each other and beside API processes. They share Temporal and the configuration, nothing else.
"""

import gc

if __name__ == "__main__":
    gc.disable()  # what the imports make stays: to search it for garbage would take a quarter of their time

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker, WorkflowRunner

from activities.delivery import DeliveryActivities
from activities.fan_outs import FanOutActivities
from activities.jobs import JobActivities
from webhooks import VERSION, process
from webhooks.deliveries import counts
from webhooks.deliveries.fan_outs import task_queue_of_fan_outs
from webhooks.deliveries.jobs import task_queue_of_jobs
from webhooks.identity import suspensions
from webhooks.isolation import gauges
from webhooks.isolation.backlog import LocalBacklog
from webhooks.isolation.delayed_starts import DelayedStarts
from webhooks.isolation.lanes import MAX_CONCURRENT_PER_TENANT, MAX_QUEUED, RESERVE_PER_TENANT, Lanes
from webhooks.isolation.live_traffic import LiveTraffic
from webhooks.isolation.pacer import Pacer
from webhooks.isolation.resuming import resuming
from webhooks.publishing.operational_events import OperationalEvents
from webhooks.publishing.publish import Publisher
from webhooks.sending.resources import Resources, opened
from webhooks.settings import Settings
from webhooks.telemetry import setup
from webhooks.temporal.connection import connect
from workflows.deliver_webhook import DeliverWebhook
from workflows.fan_out_occurrence import FanOutOccurrence
from workflows.record_occurrence import RecordOccurrence
from workflows.run_job import RunJob

log = logging.getLogger("worker")

# The sandbox costs a fifth of Python's time for a delivery. Tests run and replay the workflows in it
# (tests/workflows/), workers do not: docs/decisions/.
WORKFLOW_RUNNER = UnsandboxedWorkflowRunner()
ON_THE_EVENT_LOOP = True
"""The SDK's `debug_mode`: workflow code runs on the event loop. Otherwise each step of a workflow goes to a thread and
comes back, which costs a fifth of Python's time for a delivery. Our workflows never block, so the detection of
deadlocks, which needs the thread, has nothing to find."""
_BUILD_ID = VERSION
"""What histories and the Web UI call the code that ran. Without one, the SDK hashes all modules: 0.4 s at a start."""
_STORAGE_CALLS = 1
"""There is no external storage, but with more than one call at a time the SDK makes a task for each payload."""
MAX_LOCAL_ACTIVITIES = 200
"""A local activity holds its slot while the receiver takes its time."""
_MAX_CACHED_WORKFLOWS = 2_000
_MAX_JOBS = 50
"""Jobs that a process works for at the same time. They share one rate, and each has its turn."""
_MAX_FAN_OUTS = 50
"""Fan-outs that a process works for at the same time, in the same way."""
_HEARTBEATS = timedelta(seconds=2)
"""How often at most Temporal hears how far a job has come."""
_FAN_OUT_HEARTBEATS = timedelta(seconds=1)
"""An answer to a heartbeat also says that the occurrence is being erased."""
_GRACEFUL_SHUTDOWN = timedelta(seconds=45)
"""Longer than the longest attempt."""


def create_worker(
    client: Client,
    resources: Resources,
    lanes: Lanes,
    publisher: Publisher,
    live: LiveTraffic,
    runner: WorkflowRunner = WORKFLOW_RUNNER,
) -> Worker:
    """Return a worker for a process of its own or for the API's process. `publisher` counts what it starts in the
    backlog that this worker empties."""
    assert MAX_CONCURRENT_PER_TENANT + RESERVE_PER_TENANT + MAX_QUEUED < MAX_LOCAL_ACTIVITIES  # noqa: S101
    gauges.observe(lanes)
    activities = DeliveryActivities(
        resources.sender, lanes, publisher.backlog, live, OperationalEvents(publisher, resources.database)
    )
    return Worker(
        client,
        task_queue=publisher.task_queue,
        workflows=[DeliverWebhook, RecordOccurrence],
        activities=[activities.prepare, activities.send, activities.report],
        workflow_runner=runner,
        debug_mode=ON_THE_EVENT_LOOP,
        build_id=_BUILD_ID,
        max_workflow_task_external_storage_concurrency=_STORAGE_CALLS,
        no_remote_activities=True,
        max_concurrent_workflow_tasks=MAX_LOCAL_ACTIVITIES,
        max_concurrent_local_activities=MAX_LOCAL_ACTIVITIES,
        max_cached_workflows=_MAX_CACHED_WORKFLOWS,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        graceful_shutdown_timeout=_GRACEFUL_SHUTDOWN,
    )


def create_job_worker(
    client: Client,
    resources: Resources,
    publisher: Publisher,
    live: LiveTraffic,
    runner: WorkflowRunner = WORKFLOW_RUNNER,
) -> Worker:
    """Return a worker for jobs. It shares no slot with deliveries."""
    pacer = Pacer(resources.settings.job_rate, live, publisher.backlog.full)
    activities = JobActivities(publisher, resources.database, pacer)
    queue = task_queue_of_jobs(publisher.task_queue)
    return _create_background_worker(client, queue, RunJob, activities.work, _MAX_JOBS, _HEARTBEATS, runner)


def create_fan_out_worker(
    client: Client,
    resources: Resources,
    publisher: Publisher,
    live: LiveTraffic,
    runner: WorkflowRunner = WORKFLOW_RUNNER,
) -> Worker:
    """Return a worker for occurrences that many webhooks get. It shares no slot with deliveries and jobs."""
    pacer = Pacer(resources.settings.fan_out_rate, live, publisher.backlog.full)
    activities = FanOutActivities(publisher, resources.database, pacer)
    queue, work = task_queue_of_fan_outs(publisher.task_queue), activities.start_deliveries
    return _create_background_worker(client, queue, FanOutOccurrence, work, _MAX_FAN_OUTS, _FAN_OUT_HEARTBEATS, runner)


def _create_background_worker(
    client: Client,
    task_queue: str,
    workflow: type,
    activity: Callable[..., Any],
    most: int,
    heartbeats: timedelta,
    runner: WorkflowRunner,
) -> Worker:
    """Return a worker for workflows with one long activity each, at most `most` at the same time. When it ends, they go
    on elsewhere, or later."""
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[workflow],
        activities=[activity],
        workflow_runner=runner,
        debug_mode=ON_THE_EVENT_LOOP,
        build_id=_BUILD_ID,
        max_workflow_task_external_storage_concurrency=_STORAGE_CALLS,
        max_concurrent_workflow_tasks=2,
        max_concurrent_activities=most,
        max_cached_workflows=most,
        default_heartbeat_throttle_interval=heartbeats,
        max_heartbeat_throttle_interval=heartbeats,
        graceful_shutdown_timeout=timedelta(0),
    )


@contextlib.asynccontextmanager
async def delivering(client: Client, resources: Resources, lanes: Lanes, publisher: Publisher) -> AsyncIterator[Worker]:
    """Deliver while the block runs: workers for deliveries, fan-outs and jobs, the resuming of what waits, and a
    count of what waits for a person."""
    settings, live = resources.settings, LiveTraffic()
    async with (
        suspensions.watched(resources.database, lanes.suspend),
        create_worker(client, resources, lanes, publisher, live) as worker,
        create_fan_out_worker(client, resources, publisher, live),
        create_job_worker(client, resources, publisher, live),
        resuming(client, lanes, publisher.task_queue, settings.resume_rate),
        counts.exporting(client) if setup.exports_metrics(settings) else contextlib.nullcontext(),
    ):
        yield worker


async def main(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with setup.running(settings):
        async with opened(settings) as resources:
            client, lanes = await connect(settings, resources.payload_keys), Lanes()
            publisher = Publisher(
                client, settings.task_queue, settings.resend_window, LocalBacklog(), DelayedStarts(lanes)
            )
            async with delivering(client, resources, lanes, publisher):
                log.info(
                    "delivering from task queue %s of Temporal at %s", settings.task_queue, settings.temporal_target
                )
                await stop.wait()


if __name__ == "__main__":
    process.run(main)
