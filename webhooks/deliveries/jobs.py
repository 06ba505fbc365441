"""Jobs: what is done to many deliveries is a workflow of its own. Started, listed, read, paused and stopped here.

A job's workflows and activities have a task queue of their own. So they take no slot from deliveries, and no worker of
a version that does not know them polls it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from webhooks.contracts import Job, JobProgress, JobState, JobStatus
from webhooks.deliveries.pages import page
from webhooks.deliveries.visibility import RUNNING, Filter, can_be_queried, count_rows, quoted
from webhooks.deliveries.windows import Position, newest_first
from webhooks.errors import WebhooksError
from webhooks.ids import job_name, workflow_id
from webhooks.temporal import names
from webhooks.temporal.codec import UnreadableError

MAX_RUNNING = 10
"""Jobs of a tenant that have not ended. Those of its clients' users are counted apart, and are at most as many."""
MAX_OF_CLIENT = 2
"""Of these, the jobs of one client's users."""
_ENDED = {
    WorkflowExecutionStatus.CANCELED: JobState.STOPPED,
    WorkflowExecutionStatus.TERMINATED: JobState.STOPPED,
    WorkflowExecutionStatus.FAILED: JobState.FAILED,
    WorkflowExecutionStatus.TIMED_OUT: JobState.FAILED,
}
"""What became of a job that did not end by itself."""


class TooManyJobsError(WebhooksError):
    """The tenant, its clients, or one of these have as many running jobs as they may have."""


class Request(StrEnum):
    """What a job can be asked to do: names of its signals."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"


@dataclass(frozen=True)
class JobView:
    """A job and how far it has come. `ended_at` is None while it runs or is paused."""

    job: Job
    state: JobState
    progress: JobProgress
    ended_at: datetime | None
    temporal_url: str

    @property
    def rate(self) -> float | None:
        """How many deliveries it has looked at per second, without its pauses; None before the first second."""
        return self.progress.seen / self.progress.worked if self.progress.worked >= 1 else None

    @property
    def expected_end(self) -> datetime | None:
        """When it ends if it goes on at its rate; None if that is not known, or if it does not run."""
        if self.state is not JobState.RUNNING or not self.rate or self.progress.found is None:
            return None
        left = max(self.progress.found - self.progress.seen, 0)
        return datetime.now(UTC) + timedelta(seconds=left / self.rate)


def task_queue_of_jobs(task_queue: str) -> str:
    """Return the task queue of the jobs about the deliveries of this one."""
    return f"{task_queue}-jobs"


class Jobs:
    """The jobs of all tenants."""

    def __init__(self, client: Client, *, ui: str, task_queue: str) -> None:
        """`task_queue` is that of the deliveries."""
        self._client = client
        self._ui = ui
        self._task_queue = task_queue_of_jobs(task_queue)

    async def start(self, job: Job) -> None:
        """Start a job, unless one with its id was started before. Raises TooManyJobsError and RPCError."""
        await self._assert_room(job)
        pairs: list[SearchAttributePair[Any]] = [
            SearchAttributePair(names.TENANT_ID, job.tenant),
            SearchAttributePair(names.CREATED_AT, job.started_at),
        ]
        if job.client_identifier:
            pairs.append(SearchAttributePair(names.CLIENT_ID, job.client_identifier))
        try:
            await self._client.start_workflow(
                names.RUN_JOB,
                args=[job],
                id=workflow_id(job.tenant, job_name(job.id)),
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                search_attributes=TypedSearchAttributes(pairs),
                memo={names.MEMO_JOB: job, names.MEMO_JOB_STATUS: JobStatus()},
                static_summary=names.cut_summary(f"{job.kind} by {job.requested_by}"),
                rpc_timeout=names.RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return

    async def _assert_room(self, job: Job) -> None:
        """Raise TooManyJobsError. A client's users can pause their jobs for ever: these must not use up what the tenant
        and its other clients may have."""
        running = f"WorkflowType = '{names.RUN_JOB}' AND {RUNNING} AND {names.TENANT_ID.name} = {quoted(job.tenant)}"
        client, attribute = job.client_identifier, names.CLIENT_ID.name
        limits = [(f"{attribute} IS NOT NULL", MAX_RUNNING, "clients")]
        if client is None:
            limits = [(f"{attribute} IS NULL", MAX_RUNNING, "tenant")]
        elif can_be_queried(client):
            limits.append((f"{attribute} = {quoted(client)}", MAX_OF_CLIENT, "client"))
        for condition, most, whose in limits:
            if await count_rows(self._client, f"{running} AND {condition}") >= most:
                raise TooManyJobsError(f"{most} jobs of the {whose} have not ended yet")

    async def get(self, tenant: str, id: str) -> JobView | None:
        """Return a job; None if it never was started or its retention has ended. Raises RPCError."""
        handle = self._client.get_workflow_handle(workflow_id(tenant, job_name(id)))
        try:
            described = await handle.describe(rpc_timeout=names.RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        return await self._view(described)

    async def list(
        self, tenant: str, *, client_identifier: str | None, limit: int, cursor: str | None
    ) -> tuple[list[JobView], str | None]:
        """Return a page of jobs, newest first, and the cursor of the next page; None on the last page.
        `client_identifier`: only those of this client's users. Raises BadCursorError and RPCError."""
        clients = (client_identifier,) if client_identifier else ()
        filter = Filter(tenant, client_identifiers=clients, workflow_types=(names.RUN_JOB,))
        after = Position.from_cursor(cursor) if cursor else None
        rows = newest_first(self._client, filter, after)

        async def items_of(rows: Sequence[WorkflowExecution]) -> Sequence[JobView]:
            # A long job has several runs, of which the last one is shown.
            last = [row for row in rows if row.status is not WorkflowExecutionStatus.CONTINUED_AS_NEW]
            return [view for row in last if (view := await self._view(row))]

        return await page(rows, after, limit, items_of)

    async def ask(self, tenant: str, id: str, request: Request) -> bool:
        """Ask a job to pause, to resume or to stop. Return False if it has ended already. Raises RPCError."""
        handle = self._client.get_workflow_handle(workflow_id(tenant, job_name(id)))
        try:
            await handle.signal(request.value, rpc_timeout=names.RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True

    async def _view(self, row: WorkflowExecution) -> JobView | None:
        """Return the job; None if it cannot be decrypted any more."""
        try:
            job = await row.memo_value(names.MEMO_JOB, type_hint=Job)
            status = await row.memo_value(names.MEMO_JOB_STATUS, type_hint=JobStatus)
            progress = status.progress
            if isinstance(row, WorkflowExecutionDescription):
                for pending in row.raw_description.pending_activities:
                    progress = await self._progress_of(pending) or progress
        except UnreadableError:
            return None
        state = _ENDED.get(row.status, status.state) if row.status else status.state
        url = f"{self._ui}/namespaces/{self._client.namespace}/workflows/{quote(row.id, safe='')}/{row.run_id}/history"
        return JobView(job, state, progress, row.close_time, url)

    async def _progress_of(self, pending: PendingActivityInfo) -> JobProgress | None:
        payloads = pending.heartbeat_details.payloads
        if not payloads:
            return None
        [progress] = await self._client.data_converter.decode(payloads, [JobProgress])
        found: JobProgress = progress
        return found
