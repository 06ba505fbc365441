"""Starting a delivery again: one that is closed, or one whose start Temporal delays."""

from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from webhooks.contracts import PROCEED_SIGNAL, REQUESTED_BY_SIGNAL, RESEND_SIGNAL, Delivery
from webhooks.deliveries import start
from webhooks.deliveries.history import Run, decrypt_and_read
from webhooks.deliveries.start import Digest
from webhooks.deliveries.status import DeliveryStatus
from webhooks.ids import workflow_id
from webhooks.telemetry import traces
from webhooks.temporal import names


async def resend(client: Client, task_queue: str, run: Run, attempts: int, requested_by: str) -> None:
    """Start another run of a closed delivery, with the input and the labels of `run`; or start a delayed one now.
    `attempts`: how many the delivery has had. `requested_by`: who asks for it.

    Raises RPCError."""
    delivery = run.delivery
    if run.begun:
        delivered = run.status is DeliveryStatus.DELIVERED
        changes: dict[str, Any] = {
            "failed_before": not delivered,
            "delivered_before": delivered,
            "attempts_before": attempts,
        }
        changes |= {"requested_by": requested_by, "job_id": None, "resent": False}
        delivery = delivery.model_copy(update=changes)
    policy = WorkflowIDReusePolicy.ALLOW_DUPLICATE if run.begun else WorkflowIDReusePolicy.REJECT_DUPLICATE
    with traces.continuing("resend", run.trace):
        if not run.begun:  # its input is stored already
            handle = client.get_workflow_handle(workflow_id(delivery.tenant, delivery.id))
            await handle.signal(REQUESTED_BY_SIGNAL, requested_by, rpc_timeout=names.RPC_TIMEOUT)
        await _signal_with_start(client, task_queue, run, RESEND_SIGNAL, policy, delivery)


async def proceed(client: Client, task_queue: str, workflow_id: str) -> None:
    """Start a delayed delivery now, or tell one that is started that it may go on. Raises RPCError, and
    UnreadableError if its data cannot be decrypted any more."""
    handle = client.get_workflow_handle(workflow_id)
    history = await handle.fetch_history(rpc_timeout=names.RPC_TIMEOUT)
    run = await decrypt_and_read(history.events, client.data_converter)
    if run.begun:
        await handle.signal(PROCEED_SIGNAL, rpc_timeout=names.RPC_TIMEOUT)
        return
    run.assert_readable()
    with traces.continuing("begin", run.trace):
        await _signal_with_start(
            client, task_queue, run, PROCEED_SIGNAL, WorkflowIDReusePolicy.REJECT_DUPLICATE, run.delivery
        )


async def _signal_with_start(
    client: Client,
    task_queue: str,
    run: Run,
    signal: str,
    policy: WorkflowIDReusePolicy,
    delivery: Delivery,
) -> None:
    """Signal with start: the only call for which Temporal ends a start delay."""
    # An older version may have accepted it, without the producer's digits: no exact digest can be computed then.
    digest = Digest(start.digest_of(delivery.occurrence).text, run.exact_digest)
    try:
        await client.start_workflow(
            names.DELIVER_WEBHOOK,
            delivery,
            id=workflow_id(delivery.tenant, delivery.id),
            task_queue=task_queue,
            start_signal=signal,
            id_reuse_policy=policy,
            task_timeout=timedelta(seconds=names.TASK_SECONDS),
            rpc_timeout=names.RPC_TIMEOUT,
            **start.labels(delivery, digest=digest, url=run.url, created_at=run.created_at),
        )
    except WorkflowAlreadyStartedError:  # it was started, and has ended
        return
