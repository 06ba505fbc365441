"""The delivery monitor: deliveries read from Temporal and re-sent through it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from webhooks import publishing, temporal
from webhooks.contracts import RESEND_SIGNAL, Attempt, Prepared
from webhooks.history import Run, Status, read
from webhooks.ids import name_in, workflow_id
from webhooks.visibility import Filter, Position, latest_runs, newest_first, quoted

_MEMO_CREATED_AT = "created_at"
_READS_AT_ONCE = 10
_MOST_ROWS_READ = 500
"""Rows that one call looks at before it hands back what it has, with a cursor to go on."""


class AlreadyDeliveredError(Exception):
    """A delivery that succeeded is only sent again when the caller insists."""


class DeliverySummary(BaseModel):
    """A delivery without its attempts. Times are None while they have not come, or when none will."""

    id: str
    occurrence_id: str
    event: str
    webhook_id: str
    client_identifier: str | None
    url: str
    status: Status
    occurred_at: datetime
    created_at: datetime
    last_attempt_at: datetime | None
    next_attempt_at: datetime | None
    closed_at: datetime | None
    temporal_url: str


@dataclass(frozen=True)
class DeliveryDetail:
    """A delivery with every attempt of all its runs."""

    summary: DeliverySummary
    prepared: Prepared | None
    attempts: list[Attempt]
    latest: Run


class Deliveries:
    """What happened to a tenant's deliveries, and making it happen again."""

    def __init__(self, client: Client, *, ui: str, task_queue: str) -> None:
        self._client = client
        self._ui = ui
        self._task_queue = task_queue

    async def get(self, tenant: str, delivery_id: str) -> DeliveryDetail | None:
        """None for a delivery that never was, or whose retention has ended."""
        id = workflow_id(tenant, delivery_id)
        latest = await self._run(id)
        if latest is None:
            return None
        runs = [latest]
        if latest.resent:
            earlier = [
                row.run_id
                async for row in self._client.list_workflows(f"WorkflowId = {quoted(id)}")
                if row.run_id != latest.run_id
            ]
            found = await asyncio.gather(*(self._run(id, run_id) for run_id in earlier))
            runs = sorted([run for run in found if run] + runs, key=lambda run: run.started_at)
        attempts = [attempt for run in runs for attempt in run.attempts]
        prepared = next((run.prepared for run in reversed(runs) if run.prepared), None)
        occurrence = latest.delivery.occurrence
        url = next((attempt.url for attempt in reversed(attempts) if attempt.url), prepared.url if prepared else "")
        summary = DeliverySummary(
            id=delivery_id,
            occurrence_id=occurrence.id,
            event=occurrence.event,
            webhook_id=latest.delivery.webhook_id,
            client_identifier=occurrence.client_identifier,
            url=url,
            status=latest.status,
            occurred_at=occurrence.occurred_at,
            created_at=runs[0].started_at,
            last_attempt_at=attempts[-1].started_at if attempts else None,
            next_attempt_at=latest.next_attempt_at,
            closed_at=latest.closed_at,
            temporal_url=self._url(id, latest.run_id),
        )
        return DeliveryDetail(summary, prepared, attempts, latest)

    async def list(self, filter: Filter, *, limit: int, cursor: str | None) -> tuple[list[DeliverySummary], str | None]:
        """A page newest first, and the cursor of the next. Raises pages.BadCursorError."""
        after = Position.from_cursor(cursor) if cursor else None
        page: list[DeliverySummary] = []
        chunk: list[WorkflowExecution] = []
        seen = 0
        async for row in newest_first(self._client, filter, after):
            if len(page) >= limit or seen >= _MOST_ROWS_READ:
                assert after  # noqa: S101  rows were read before
                return page, after.cursor()
            chunk.append(row)
            if len(chunk) < limit - len(page):
                continue
            page += await self._summaries(filter, chunk)
            seen, after, chunk = seen + len(chunk), Position.of(row), []
        page += await self._summaries(filter, chunk)
        return page, None

    async def resend(self, tenant: str, delivery_id: str, *, force: bool) -> bool:
        """Sends again now: what is parked or waits is signalled, what is closed gets a new run of the same workflow
        with the original's input, and what is on the wire this moment is left to arrive. False if there is no such
        delivery. Raises AlreadyDeliveredError unless forced."""
        detail = await self.get(tenant, delivery_id)
        if detail is None:
            return False
        if detail.summary.status is Status.DELIVERED and not force:
            raise AlreadyDeliveredError
        run, id = detail.latest, workflow_id(tenant, delivery_id)
        if run.closed_at is None:
            if run.status is not Status.FAILED and run.next_attempt_at is None:
                return True
            try:
                await self._client.get_workflow_handle(id, run_id=run.run_id).signal(RESEND_SIGNAL)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # it closed this moment
                    raise
                return await self.resend(tenant, delivery_id, force=force)
            return True
        await self._client.start_workflow(
            temporal.DELIVER_WEBHOOK,
            run.delivery,
            id=id,
            task_queue=self._task_queue,
            start_signal=RESEND_SIGNAL,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            search_attributes=publishing.search_attributes(tenant, run.delivery.occurrence, run.delivery.webhook_id),
            memo={**await self._memo(id, run.run_id), _MEMO_CREATED_AT: detail.summary.created_at},
            static_summary=f"{run.delivery.occurrence.event} to {detail.summary.url}, re-sent",
        )
        return True

    async def _run(self, id: str, run_id: str | None = None) -> Run | None:
        try:
            history = await self._client.get_workflow_handle(id, run_id=run_id).fetch_history()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        return read(history.events)

    async def _memo(self, id: str, run_id: str) -> Mapping[str, Any]:
        return await (await self._client.get_workflow_handle(id, run_id=run_id).describe()).memo()

    async def _summaries(self, filter: Filter, rows: Sequence[WorkflowExecution]) -> Sequence[DeliverySummary]:
        """The rows that still stand for their delivery, each as it is now."""
        closed = [row.id for row in rows if row.status is not WorkflowExecutionStatus.RUNNING]
        latest = await latest_runs(self._client, closed) if closed else {}
        gate = asyncio.Semaphore(_READS_AT_ONCE)

        async def summary(row: WorkflowExecution) -> DeliverySummary | None:
            if latest.get(row.id, row.run_id) != row.run_id:
                return None
            if row.status is WorkflowExecutionStatus.COMPLETED:
                return await self._delivered(filter.tenant, row)
            async with gate:
                detail = await self.get(filter.tenant, name_in(filter.tenant, row.id))
            if detail is None or (filter.status and detail.summary.status is not filter.status):
                return None
            return detail.summary

        return [found for found in await asyncio.gather(*(summary(row) for row in rows)) if found]

    async def _delivered(self, tenant: str, row: WorkflowExecution) -> DeliverySummary:
        """A closed success has all of it in its visibility row; it closed in the task that its last attempt ran in."""
        memo = await row.memo()
        attributes = row.typed_search_attributes
        return DeliverySummary(
            id=name_in(tenant, row.id),
            occurrence_id=attributes[temporal.OCCURRENCE_ID],
            event=attributes[temporal.EVENT_KEY],
            webhook_id=attributes[temporal.WEBHOOK_ID],
            client_identifier=attributes.get(temporal.CLIENT_ID),
            url=memo[publishing.MEMO_URL],
            status=Status.DELIVERED,
            occurred_at=datetime.fromisoformat(memo[publishing.MEMO_OCCURRED_AT]),
            created_at=datetime.fromisoformat(memo[_MEMO_CREATED_AT]) if _MEMO_CREATED_AT in memo else row.start_time,
            last_attempt_at=row.close_time,
            next_attempt_at=None,
            closed_at=row.close_time,
            temporal_url=self._url(row.id, row.run_id),
        )

    def _url(self, id: str, run_id: str) -> str:
        return f"{self._ui}/namespaces/{self._client.namespace}/workflows/{quote(id, safe='')}/{run_id}/history"
