"""What a job does with one delivery. Nothing is done twice, also if a job is interrupted, repeated, or not alone."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from temporalio.api.common.v1 import WorkflowExecution as Execution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from webhooks.contracts import JOB_SIGNAL, RESEND_SIGNAL, Job, JobResend
from webhooks.deliveries import start
from webhooks.deliveries.monitor import (
    AlreadyDeliveredError,
    AlreadyEndedError,
    AttemptInProgressError,
    Deliveries,
    DeliveryDetail,
    DeliverySummary,
)
from webhooks.deliveries.start import Digest
from webhooks.deliveries.status import DeliveryStatus
from webhooks.ids import workflow_id
from webhooks.temporal import names

DONE = ""
"""In place of a reason to skip a delivery: the job has done what it is for, now or before it was interrupted."""
SENT_MEANWHILE = "sent_meanwhile"
"""It was sent since the job began: by itself, by a person or by another job."""
IN_PROGRESS = "in_progress"
"""An attempt is in progress."""
DOES_NOT_MATCH = "does_not_match"
"""It has another status or outcome than the filter asks for, or no longer has it."""
NOT_SENDABLE = "not_sendable"
"""Its webhook or its subscription is inactive or deleted."""
UNREADABLE = "unreadable"
"""Its data cannot be decrypted any more."""
GONE = "gone"
"""It was erased, or its retention has ended."""

RESENDABLE = (DeliveryStatus.FAILED, DeliveryStatus.EXPIRED)
"""What a resend sends if nobody says which."""

_TRIES = 3
"""A delivery may change between reading and sending it."""

WAITING = (DeliveryStatus.PENDING, DeliveryStatus.RETRYING)
"""What a job gives up if nobody says which."""

Sendable = Callable[[str, str, str], Awaitable[bool]]
"""Tells for a tenant, a webhook's id and an event's key whether anything can be sent."""


class Resends:
    """Resends deliveries one by one, for a job."""

    def __init__(self, client: Client, deliveries: Deliveries, task_queue: str, sendable: Sendable) -> None:
        self._client = client
        self._deliveries = deliveries
        self._task_queue = task_queue
        self._sendable = sendable

    async def resend(self, job: Job, delivery_id: str, turn: Callable[[], Awaitable[object]]) -> str:
        """Send a delivery again unless something speaks against it. Return DONE or why not. `turn` is awaited before it
        is sent. Raises RPCError."""
        reason = await self._why_not(job, delivery_id)
        if not isinstance(reason, DeliveryDetail):
            return reason
        await turn()
        for _ in range(_TRIES):
            now = await self._why_not(job, delivery_id)
            if not isinstance(now, DeliveryDetail):
                return now
            if await self._send(job, now):
                return DONE
        return IN_PROGRESS

    async def _why_not(self, job: Job, delivery_id: str) -> DeliveryDetail | str:
        detail = await self._deliveries.get(job.tenant, delivery_id)
        if detail is None:
            return GONE
        run, summary = detail.latest, detail.summary
        if run.job_id == job.id:
            return DONE
        if not run.readable:
            return UNREADABLE
        since = [moment for moment in (run.asked_at, summary.last_attempt_at) if moment]
        if any(moment >= job.started_at for moment in since):
            return SENT_MEANWHILE
        if not _is_selected(job, detail):
            return DOES_NOT_MATCH
        if not summary.closed_at and summary.status is not DeliveryStatus.FAILED and summary.next_attempt_at is None:
            return IN_PROGRESS
        if not await self._sendable(job.tenant, summary.webhook_id, summary.event):
            return NOT_SENDABLE
        return detail

    async def _send(self, job: Job, detail: DeliveryDetail) -> bool:
        """Return False if the delivery is no longer as `detail` says."""
        if detail.summary.closed_at:
            return await _restart(self._client, self._task_queue, job, detail)
        return await _signal(self._client, job, detail)


async def cancel(deliveries: Deliveries, job: Job, delivery_id: str, turn: Callable[[], Awaitable[object]]) -> str:
    """Give up a delivery, unless something speaks against it. Return DONE or why not. `turn` is awaited before it is
    given up. Raises RPCError."""
    detail = await deliveries.get(job.tenant, delivery_id)
    if detail is None:
        return GONE
    if detail.summary.canceled_by == job.requested_by:
        return DONE
    if not _is_selected(job, detail):
        return DOES_NOT_MATCH
    await turn()
    for _ in range(_TRIES):
        try:
            status = await deliveries.cancel(job.tenant, delivery_id, requested_by=job.requested_by)
        except (AlreadyDeliveredError, AlreadyEndedError):
            return DOES_NOT_MATCH
        except AttemptInProgressError:
            continue
        return DONE if status else GONE
    return IN_PROGRESS


def was_attempted_since(summary: DeliverySummary, since: datetime | None) -> bool:
    """Return whether the last attempt was made at `since` or later. Without an attempt, its creation counts."""
    return since is None or (summary.last_attempt_at or summary.created_at) >= since


def _is_selected(job: Job, detail: DeliveryDetail) -> bool:
    summary, selection = detail.summary, job.selection
    return (
        summary.status in selection.statuses
        and (not selection.outcomes or summary.last_outcome in selection.outcomes)
        and was_attempted_since(summary, selection.last_attempt_since)
    )


async def _signal(client: Client, job: Job, detail: DeliveryDetail) -> bool:
    """Ask a delivery that waits to be sent. Return False if it has closed meanwhile.

    Temporal takes a signal with a request id once. The id is that of the next resend: of several jobs that have read
    the same history, or of a process that was frozen and goes on, only one resends."""
    run = detail.latest
    id = workflow_id(job.tenant, detail.summary.id)
    described = JobResend(job_id=job.id, requested_by=job.requested_by, attempts_before=len(detail.attempts))
    request = SignalWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=Execution(workflow_id=id, run_id=run.id),
        signal_name=RESEND_SIGNAL,
        identity=client.identity,
        request_id=str(uuid5(NAMESPACE_URL, f"{id}/{run.id}/{run.resends + 1}")),
    )
    try:
        handle = client.get_workflow_handle(id, run_id=run.id)
        await handle.signal(JOB_SIGNAL, described, rpc_timeout=names.RPC_TIMEOUT)
        await client.workflow_service.signal_workflow_execution(request, timeout=names.RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


async def _restart(client: Client, task_queue: str, job: Job, detail: DeliveryDetail) -> bool:
    """Start another run of a closed delivery. Return False if somebody else has done so meanwhile."""
    run = detail.latest
    delivered = run.status is DeliveryStatus.DELIVERED
    changes: dict[str, Any] = {
        "failed_before": not delivered,
        "delivered_before": delivered,
        "attempts_before": len(detail.attempts),
        "requested_by": job.requested_by,
        "job_id": job.id,
        "resent": True,
    }
    delivery = run.delivery.model_copy(update=changes)
    digest = Digest(start.digest_of(delivery.occurrence).text, run.exact_digest)
    policy = WorkflowIDReusePolicy.ALLOW_DUPLICATE if delivered else WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
    try:
        await client.start_workflow(
            names.DELIVER_WEBHOOK,
            delivery,
            id=workflow_id(delivery.tenant, delivery.id),
            task_queue=task_queue,
            id_reuse_policy=policy,
            task_timeout=timedelta(seconds=names.TASK_SECONDS),
            rpc_timeout=names.RPC_TIMEOUT,
            **start.labels(delivery, digest=digest, url=run.url, created_at=run.created_at),
        )
    except WorkflowAlreadyStartedError:
        return False
    return True
