"""The delivery monitor: list, read, resend and give up deliveries. Temporal is the only store."""

import asyncio
import builtins
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import quote

from pydantic import BaseModel
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from webhooks.contracts import ATTEMPTS_SIGNAL, REQUESTED_BY_SIGNAL, RESEND_SIGNAL, Attempt, Prepared
from webhooks.deliveries import restart
from webhooks.deliveries.history import Run, decrypt_and_read
from webhooks.deliveries.pages import page
from webhooks.deliveries.status import DeliveryStatus, WaitingFor
from webhooks.deliveries.summaries import BUSY_SECONDS, CLOSED_SECONDS, WAITING_SECONDS, Summaries
from webhooks.deliveries.visibility import Filter, found, latest_runs, quoted
from webhooks.deliveries.windows import FirstPages, Position, newest_first
from webhooks.errors import WebhooksError
from webhooks.ids import name_in, workflow_id
from webhooks.telemetry import traces
from webhooks.temporal.names import RPC_TIMEOUT

log = logging.getLogger(__name__)

_MAX_CONCURRENT_READS = 10
_SHOWN_OUTCOMES = 12
_END_SECONDS = 2.0
"""How long a call waits for the end of an attempt, or of a delivery that was given up."""
_POLL_SECONDS = 0.1
_STARTS_SOON = timedelta(seconds=0.25)
"""An attempt that comes this soon counts as in progress."""


class AlreadyDeliveredError(WebhooksError):
    """The delivery succeeded. It is sent again only with `force`, and cannot be given up."""


class AlreadyEndedError(WebhooksError):
    """The delivery has ended without success. There is nothing to give up."""


class AttemptInProgressError(WebhooksError):
    """The delivery cannot be given up during an attempt. Try again when it has ended."""


class DeliverySummary(BaseModel):
    """A delivery without its attempts. A time is None if it has not come yet, or never will."""

    id: str
    occurrence_id: str
    event: str
    webhook_id: str
    client_identifier: str | None
    url: str
    status: DeliveryStatus
    waiting_for: WaitingFor | None
    """None during an attempt, and when it is closed."""
    attempt_count: int
    last_outcome: str | None
    """That of the last attempt; None before the first one has ended."""
    attempt_outcomes: list[str]
    """Those of the last 12 attempts, oldest first."""
    last_duration_ms: float | None
    """That of the last attempt."""
    last_status_code: int | None
    """None if the last attempt got no answer."""
    occurred_at: datetime
    created_at: datetime
    last_attempt_at: datetime | None
    next_attempt_at: datetime | None
    closed_at: datetime | None
    canceled_by: str | None
    """Who gave it up: the name of the key, and its id. None if nobody did, or if it was done in Temporal."""
    readable: bool
    """False if its data cannot be decrypted any more: then attempts are incomplete, and it cannot be sent again."""
    temporal_url: str | None
    """None for those who have nothing to do with Temporal."""


@dataclass(frozen=True)
class DeliveryDetail:
    """A delivery with every attempt of all its runs."""

    summary: DeliverySummary
    latest: Run
    prepared: Prepared | None
    attempts: list[Attempt]


Shown = TypeVar("Shown", DeliverySummary, DeliveryDetail)


class Deliveries:
    """Lists, reads, resends and gives up the deliveries of a tenant."""

    def __init__(
        self,
        client: Client,
        *,
        ui: str,
        task_queue: str,
        summaries: Summaries[DeliverySummary] | None = None,
        first_pages: FirstPages | None = None,
    ) -> None:
        self._client = client
        self._kept = summaries or Summaries()
        self._first_pages = first_pages or FirstPages()
        self._ui = ui
        self._task_queue = task_queue

    async def get(self, tenant: str, delivery_id: str) -> DeliveryDetail | None:
        """Return a delivery; None if it never existed or its retention has ended. Raises RPCError."""
        id, since = workflow_id(tenant, delivery_id), self._kept.changes
        try:
            described = await self._client.get_workflow_handle(id).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        detail = await self._detail(delivery_id, id, described.run_id)
        if detail:
            self._keep(id, described.run_id, detail.summary, since)  # so that a list is not older than this
        return detail

    async def list(self, filter: Filter, *, limit: int, cursor: str | None) -> tuple[list[DeliverySummary], str | None]:
        """Return a page of deliveries, newest first, and the cursor of the next page; None on the last page.

        Raises BadCursorError and RPCError."""
        after = Position.from_cursor(cursor) if cursor else None

        async def items_of(rows: Sequence[WorkflowExecution]) -> Sequence[DeliverySummary]:
            return await self._shown(filter, rows, self._summary_of)

        return await page(newest_first(self._client, filter, after, self._first_pages), after, limit, items_of)

    async def details(
        self, filter: Filter, *, limit: int, cursor: str | None
    ) -> tuple[builtins.list[DeliveryDetail], str | None]:
        """Return the same page with the attempts of each delivery."""
        after = Position.from_cursor(cursor) if cursor else None
        rows = newest_first(self._client, filter, after)

        async def items_of(rows: Sequence[WorkflowExecution]) -> Sequence[DeliveryDetail]:
            return await self._shown(filter, rows, self._detail_of)

        return await page(rows, after, limit, items_of)

    async def resend(self, tenant: str, delivery_id: str, *, force: bool, requested_by: str) -> bool:
        """Send the delivery again now. Return False if there is no such delivery. The attempt shows `requested_by`.

        A delivery that awaits a resend or the next attempt gets a signal. A delayed one starts. A closed one gets a new
        run of its workflow, with the same input. Nothing is done while an attempt is in progress.

        Raises AlreadyDeliveredError if it succeeded and `force` is false, UnreadableError if its data cannot be
        decrypted any more, and RPCError."""
        try:
            return await self._resend(tenant, delivery_id, force=force, requested_by=requested_by)
        finally:
            self._kept.forget(workflow_id(tenant, delivery_id))

    async def _resend(self, tenant: str, delivery_id: str, *, force: bool, requested_by: str) -> bool:
        id = workflow_id(tenant, delivery_id)
        detail = await self.get(tenant, delivery_id)
        if detail:
            detail.latest.assert_readable()
        if detail and detail.latest.given_up and not detail.summary.closed_at:
            await self._end_of(id)
            detail = await self.get(tenant, delivery_id)
        if detail and detail.latest.begun and not detail.summary.closed_at:
            if detail.summary.status is not DeliveryStatus.FAILED and detail.summary.next_attempt_at is None:
                return True
            try:
                with traces.continuing("resend", detail.latest.trace):
                    handle = self._client.get_workflow_handle(id)
                    await handle.signal(ATTEMPTS_SIGNAL, len(detail.attempts), rpc_timeout=RPC_TIMEOUT)
                    await handle.signal(REQUESTED_BY_SIGNAL, requested_by, rpc_timeout=RPC_TIMEOUT)
                    await handle.signal(RESEND_SIGNAL, rpc_timeout=RPC_TIMEOUT)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                detail = await self.get(tenant, delivery_id)  # it closed after it was read
            else:
                return True
        if detail is None:
            return False
        if detail.summary.status is DeliveryStatus.DELIVERED and not force:
            raise AlreadyDeliveredError
        await restart.resend(self._client, self._task_queue, detail.latest, len(detail.attempts), requested_by)
        return True

    async def cancel(self, tenant: str, delivery_id: str, *, requested_by: str) -> DeliveryStatus | None:
        """Give the delivery up: no further attempt follows. Return its status after that, or None if there is no such
        delivery. One that was given up before stays as it is.

        An attempt in progress is waited for, for at most 2 s. It is not cancelled: Temporal would drop the record of
        what the receiver answered.

        Raises AlreadyDeliveredError, AlreadyEndedError, AttemptInProgressError and RPCError."""
        id = workflow_id(tenant, delivery_id)
        detail = await self._after_attempt(tenant, delivery_id)
        if detail is None:
            return None
        if detail.summary.status is DeliveryStatus.CANCELED:
            return DeliveryStatus.CANCELED
        _assert_open(detail)
        if not detail.latest.given_up:
            try:
                await self._give_up(id, detail.latest, requested_by)
            except RPCError as error:  # it closed after it was read
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
        await self._end_of(id)
        detail = await self.get(tenant, delivery_id)
        return detail.summary.status if detail else None

    async def _after_attempt(self, tenant: str, delivery_id: str) -> DeliveryDetail | None:
        """Return the delivery when no attempt is in progress. Raises AttemptInProgressError after 2 s."""
        try:
            async with asyncio.timeout(_END_SECONDS):
                while True:
                    detail = await self.get(tenant, delivery_id)
                    if detail is None or not _in_progress(detail):
                        return detail
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise AttemptInProgressError from None

    async def _give_up(self, id: str, run: Run, requested_by: str) -> None:
        handle = self._client.get_workflow_handle(id)
        if not run.readable:  # no worker can run it any more
            await handle.terminate(reason="given up", rpc_timeout=RPC_TIMEOUT)
            return
        await handle.signal(REQUESTED_BY_SIGNAL, requested_by, rpc_timeout=RPC_TIMEOUT)
        await handle.cancel(rpc_timeout=RPC_TIMEOUT)
        if not run.begun:  # otherwise it would end when its start delay does
            await restart.proceed(self._client, self._task_queue, id)

    async def _end_of(self, id: str) -> None:
        """Wait for the end of a delivery that was given up, for at most 2 s."""
        with contextlib.suppress(TimeoutError, WorkflowFailureError):
            async with asyncio.timeout(_END_SECONDS):
                await self._client.get_workflow_handle(id).result()

    async def _detail(self, delivery_id: str, id: str, run_id: str) -> DeliveryDetail | None:
        latest = await self._run(id, run_id)
        if latest is None:
            return None
        runs = [latest]
        if latest.resent:
            rows = [row async for row in found(self._client, f"WorkflowId = {quoted(id)}")]
            earlier = [row.run_id for row in rows if row.id == id and row.run_id != run_id]
            all_runs = await asyncio.gather(*(self._run(id, other) for other in earlier))
            runs = sorted([run for run in all_runs if run] + runs, key=lambda run: run.started_at)
        attempts = [attempt for run in runs for attempt in run.attempts]
        occurrence = latest.delivery.occurrence
        summary = DeliverySummary(
            id=delivery_id,
            occurrence_id=occurrence.id,
            event=occurrence.event,
            webhook_id=latest.delivery.webhook_id,
            client_identifier=occurrence.client_identifier,
            url=attempts[-1].url if attempts else latest.url,
            status=latest.status,
            waiting_for=latest.waiting_for,
            attempt_count=len(attempts),
            last_outcome=attempts[-1].outcome if attempts else None,
            attempt_outcomes=[attempt.outcome for attempt in attempts[-_SHOWN_OUTCOMES:]],
            last_duration_ms=attempts[-1].duration_ms if attempts else None,
            last_status_code=attempts[-1].status_code if attempts else None,
            occurred_at=occurrence.occurred_at,
            created_at=latest.created_at,
            last_attempt_at=attempts[-1].started_at if attempts else None,
            next_attempt_at=latest.next_attempt_at,
            closed_at=latest.closed_at,
            canceled_by=latest.canceled_by,
            readable=all(run.readable for run in runs),
            temporal_url=f"{self._ui}/namespaces/{self._client.namespace}/workflows/{quote(id, safe='')}/{run_id}"
            "/history",
        )
        prepared = next((run.prepared for run in reversed(runs) if run.prepared), None)
        return DeliveryDetail(summary, latest, prepared, attempts)

    async def _run(self, id: str, run_id: str) -> Run | None:
        try:
            history = await self._client.get_workflow_handle(id, run_id=run_id).fetch_history(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        return await decrypt_and_read(history.events, self._client.data_converter)

    async def _detail_of(self, tenant: str, row: WorkflowExecution) -> DeliveryDetail | None:
        return await self._detail(name_in(tenant, row.id), row.id, row.run_id)

    async def _summary_of(self, tenant: str, row: WorkflowExecution) -> DeliverySummary | None:
        """Return the delivery whose newest run this is. It is read only if it may have changed."""
        kept = self._kept.get(row.id, row.run_id, closed=row.status is not WorkflowExecutionStatus.RUNNING)
        if kept:
            return kept
        since = self._kept.changes
        detail = await self._detail_of(tenant, row)
        if detail is None:
            return None
        self._keep(row.id, row.run_id, detail.summary, since)
        return detail.summary

    def _keep(self, id: str, run_id: str, summary: DeliverySummary, since: int) -> None:
        closed = summary.closed_at is not None
        self._kept.keep(id, run_id, summary, _unchanged_seconds(summary), closed=closed, since=since)

    async def _shown(
        self,
        filter: Filter,
        rows: Sequence[WorkflowExecution],
        read: Callable[[str, WorkflowExecution], Awaitable[Shown | None]],
    ) -> Sequence[Shown]:
        """Return the current state of the deliveries, read from their histories. Leave out rows of older runs, and
        deliveries that do not have one of the filter's statuses or outcomes (any more)."""
        closed = [row.id for row in rows if row.status is not WorkflowExecutionStatus.RUNNING]
        latest = await latest_runs(self._client, closed) if closed and filter.is_of_state else {}
        gate = asyncio.Semaphore(_MAX_CONCURRENT_READS)

        async def one(row: WorkflowExecution) -> Shown | None:
            if latest.get(row.id, row.run_id) != row.run_id:
                return None
            async with gate:
                try:
                    shown = await read(filter.tenant, row)
                except ValueError:  # another program or version wrote it; show the other deliveries
                    log.exception("the history of %s cannot be read", row.id)
                    return None
            if shown is None:
                return None
            summary = shown.summary if isinstance(shown, DeliveryDetail) else shown
            if filter.statuses and summary.status not in filter.statuses:
                return None
            if filter.outcomes and summary.last_outcome not in filter.outcomes:
                return None
            return shown

        return [shown for shown in await asyncio.gather(*map(one, rows)) if shown]


def _unchanged_seconds(summary: DeliverySummary) -> float:
    """Return for how many seconds the delivery stays as it is, unless a person or a job changes it."""
    if summary.closed_at:
        return CLOSED_SECONDS
    if summary.waiting_for is None or summary.waiting_for is WaitingFor.WORKER:
        return BUSY_SECONDS
    if summary.next_attempt_at is None:
        return WAITING_SECONDS
    return min((summary.next_attempt_at - datetime.now(UTC)).total_seconds(), WAITING_SECONDS)


def _in_progress(detail: DeliveryDetail) -> bool:
    """Return whether an attempt is on the wire, or will be in a moment."""
    run, next_at = detail.latest, detail.summary.next_attempt_at
    if run.closed_at or run.given_up or not run.begun or not run.readable:
        return False
    return run.waiting_for is None or (next_at is not None and next_at < datetime.now(UTC) + _STARTS_SOON)


def _assert_open(detail: DeliveryDetail) -> None:
    """Raise AlreadyDeliveredError or AlreadyEndedError if the delivery has ended."""
    if detail.summary.status is DeliveryStatus.DELIVERED:
        raise AlreadyDeliveredError
    if detail.summary.closed_at:
        raise AlreadyEndedError
