"""Another run of a delivery, with the input and the labels of the one before."""

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from webhooks import publishing, temporal, traces
from webhooks.contracts import RESEND_SIGNAL
from webhooks.history import Run, Status, read
from webhooks.ids import workflow_id


async def start_anew(client: Client, task_queue: str, run: Run, *, resend: bool) -> None:
    """Starts a run after a closed one, or in the place of one that Temporal holds back: it ends no delay early. Raises
    RPCError."""
    delivery = run.delivery
    if run.begun:
        delivery = delivery.model_copy(update={"failed_before": run.status is not Status.DELIVERED})
    await client.start_workflow(
        temporal.DELIVER_WEBHOOK,
        delivery,
        id=workflow_id(delivery.tenant, delivery.id),
        task_queue=task_queue,
        start_signal=RESEND_SIGNAL if resend else None,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=(
            WorkflowIDConflictPolicy.UNSPECIFIED if run.begun else WorkflowIDConflictPolicy.TERMINATE_EXISTING
        ),
        rpc_timeout=temporal.RPC_TIMEOUT,
        **publishing.labels(
            delivery, digest=publishing.digest_of(delivery.occurrence), url=run.url, created_at=run.created_at
        ),
    )


async def begin(client: Client, task_queue: str, workflow_id: str) -> None:
    """Begins now what Temporal holds back. Does nothing if it has begun. Raises RPCError."""
    history = await client.get_workflow_handle(workflow_id).fetch_history(rpc_timeout=temporal.RPC_TIMEOUT)
    run = read(history.events)
    if not run.begun:
        with traces.continuing("begin", run.trace):
            await start_anew(client, task_queue, run, resend=False)
