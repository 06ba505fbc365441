"""An empty workflow and a delivery, begun and ended within this process: what there is without the API."""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, Worker

from bench.empty_workflow import EmptyWorkflow
from webhooks.contracts import Occurrence
from webhooks.credentials.vault import Vault
from webhooks.egress.client import Egress
from webhooks.isolation.lanes import Lanes
from webhooks.publishing.matching import Match
from webhooks.publishing.publish import publish
from webhooks.sending.sender import Sender
from webhooks.settings import Settings, parse_networks
from webhooks.store.database import Database
from webhooks.testing.platform_process import PlatformProcess
from worker import WORKFLOW_RUNNER, WORKFLOW_THREADS, create_worker

Once = Callable[[int], Awaitable[object]]


class Engine:
    """The platform's worker and a worker for the empty workflow, in this process, on the platform's server."""

    def __init__(self, client: Client, platform: PlatformProcess, event: str, webhook_id: str) -> None:
        self._client, self._event, self._webhook_id = client, event, webhook_id
        ours = Settings(data_dir=platform.data_dir, task_queue="bench")
        self._database, self._egress = Database.of(ours), Egress(parse_networks("127.0.0.0/8"))
        self._sender = Sender(self._database, Vault.of(ours), self._egress)
        self._ours = create_worker(client, ours, self._sender, Lanes())
        self._empty = Worker(
            client,
            task_queue="bench-empty",
            workflows=[EmptyWorkflow],
            workflow_runner=WORKFLOW_RUNNER,
            workflow_task_executor=ThreadPoolExecutor(WORKFLOW_THREADS, "workflow"),
            workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
            max_concurrent_workflow_tasks=200,
        )

    async def __aenter__(self) -> tuple[Once, Once]:
        await self._ours.__aenter__()
        await self._empty.__aenter__()
        return self._run_empty, self._run_delivery

    async def __aexit__(self, *error: object) -> None:
        await self._empty.__aexit__(None, None, None)
        await self._ours.__aexit__(None, None, None)
        await self._sender.close()
        await self._egress.close()
        await self._database.close()

    async def _run_empty(self, n: int) -> None:
        await self._client.execute_workflow(
            EmptyWorkflow.run, id=uuid4().hex, task_queue="bench-empty", request_eager_start=True
        )

    async def _run_delivery(self, n: int) -> None:
        occurrence = Occurrence(id=f"engine-{uuid4().hex}", event=self._event, occurred_at=datetime.now(UTC), data={})
        [started] = await publish(
            self._client,
            tenant="default",
            occurrence=occurrence,
            matches=[Match(self._webhook_id, "")],
            unmatched="",
            resend_window=60,
            task_queue="bench",
        )
        await self._client.get_workflow_handle(f"default/{started.delivery_id}").result()
