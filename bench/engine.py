"""An empty workflow and a delivery, begun and ended within this process: what there is without the API."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, Worker

from bench.empty_workflow import EmptyWorkflow
from webhooks.contracts import Occurrence
from webhooks.isolation.backlog import LocalBacklog
from webhooks.isolation.lanes import Lanes
from webhooks.publishing.matching import Match
from webhooks.publishing.publish import Publisher
from webhooks.sending.resources import opened
from webhooks.settings import Settings, parse_networks
from webhooks.testing.platform_process import PlatformProcess
from worker import WORKFLOW_RUNNER, WORKFLOW_THREADS, delivering

Once = Callable[[int], Awaitable[object]]
_QUEUE, _EMPTY_QUEUE = "bench", "bench-empty"
_RESEND_WINDOW_SECONDS = 60


@contextlib.asynccontextmanager
async def engine(
    client: Client, platform: PlatformProcess, event: str, webhook_id: str
) -> AsyncIterator[tuple[Once, Once]]:
    """Run the platform's worker and one for the empty workflow in this process, on the platform's server. Yield what
    runs one of each to its end."""
    ours = Settings(data_dir=platform.data_dir, task_queue=_QUEUE, egress_allow=parse_networks("127.0.0.0/8"))
    publisher = Publisher(client, _QUEUE, _RESEND_WINDOW_SECONDS, LocalBacklog())
    empty = Worker(
        client,
        task_queue=_EMPTY_QUEUE,
        workflows=[EmptyWorkflow],
        workflow_runner=WORKFLOW_RUNNER,
        workflow_task_executor=ThreadPoolExecutor(WORKFLOW_THREADS, "workflow"),
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        max_concurrent_workflow_tasks=200,
    )

    async def run_empty(_: int) -> None:
        await client.execute_workflow(
            EmptyWorkflow.run, id=uuid4().hex, task_queue=_EMPTY_QUEUE, request_eager_start=True
        )

    async def run_delivery(_: int) -> None:
        occurrence = Occurrence(id=f"engine-{uuid4().hex}", event=event, occurred_at=datetime.now(UTC), data={})
        [started] = await publisher.publish("default", occurrence, [Match(webhook_id, "")], "")
        await client.get_workflow_handle(f"default/{started.delivery_id}").result()

    async with opened(ours) as resources, delivering(client, resources, Lanes(), publisher), empty:
        yield run_empty, run_delivery
