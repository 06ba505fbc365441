"""Fan-outs: an occurrence for many webhooks is stored as one workflow, which then starts the deliveries.

Its workflow and its activity have a task queue of their own. So they take no slot from deliveries and do not wait for
jobs, and no worker of a version that does not know them polls it."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from webhooks.contracts import FanOut
from webhooks.deliveries.start import Digest, assert_same_content, labels
from webhooks.deliveries.visibility import RUNNING, Filter, count_rows, found, quoted
from webhooks.errors import WebhooksError
from webhooks.ids import fan_out_name, workflow_id
from webhooks.temporal import names

MAX_RUNNING = 10
"""Fan-outs of a tenant that have not ended. At WEBHOOKS_FAN_OUT_RATE, ten of 1,000 webhooks take six minutes."""
MAX_WEBHOOKS = 10_000
"""Of one workflow: their ids take 390 KB of its input, beside the occurrence. Temporal refuses one of 2 MB."""


class TooManyFanOutsError(WebhooksError):
    """The tenant has as many running fan-outs as it may have; or the one of this occurrence runs for other webhooks."""


def task_queue_of_fan_outs(task_queue: str) -> str:
    """Return the task queue of the fan-outs that start the deliveries of this one."""
    return f"{task_queue}-fan-outs"


async def start(client: Client, task_queue: str, fan_out: FanOut, digest: Digest) -> bool:
    """Start the fan-out of an occurrence, and return whether it is new. `task_queue` is that of the deliveries.

    One that has ended starts again if other webhooks match now: it starts the deliveries that are missing.
    Raises OccurrenceConflictError if the occurrence was published with other content, TooManyFanOutsError and
    RPCError."""
    await _assert_not_published_otherwise(client, fan_out, digest)
    await _assert_room(client, fan_out.tenant)
    ids = fan_out.webhook_ids
    started = [
        await _start(client, task_queue, fan_out, digest, part)
        for part in range(-(-len(ids) // MAX_WEBHOOKS))  # the first one decides between concurrent publishers
    ]
    return any(started)


async def _start(client: Client, task_queue: str, fan_out: FanOut, digest: Digest, part: int) -> bool:
    webhook_ids = fan_out.webhook_ids[part * MAX_WEBHOOKS :][:MAX_WEBHOOKS]
    id = workflow_id(fan_out.tenant, fan_out_name(fan_out.occurrence.id, part))
    webhooks = hashlib.sha256("".join(webhook_ids).encode()).hexdigest()
    given = labels(fan_out, digest=digest, url="", created_at=datetime.now(UTC))
    given["memo"] |= {names.MEMO_MATCHED: len(fan_out.webhook_ids), names.MEMO_WEBHOOKS: webhooks}
    options: dict[str, Any] = {
        "args": [fan_out.model_copy(update={"webhook_ids": webhook_ids})],
        "id": id,
        "task_queue": task_queue_of_fan_outs(task_queue),
        "request_eager_start": True,
        "rpc_timeout": names.RPC_TIMEOUT,
        **given,
    }
    try:
        await client.start_workflow(
            names.FAN_OUT_OCCURRENCE, id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE, **options
        )
        return True
    except WorkflowAlreadyStartedError:
        earlier = await client.get_workflow_handle(id).describe(rpc_timeout=names.RPC_TIMEOUT)
    await assert_same_content(earlier, fan_out.occurrence.id, digest)
    if await earlier.memo_value(names.MEMO_WEBHOOKS) == webhooks and earlier.status in (
        WorkflowExecutionStatus.RUNNING,
        WorkflowExecutionStatus.COMPLETED,
    ):
        return False
    try:
        await client.start_workflow(
            names.FAN_OUT_OCCURRENCE, id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE, **options
        )
    except WorkflowAlreadyStartedError:
        raise TooManyFanOutsError("this occurrence's deliveries are being started, for other webhooks") from None
    return True


async def _assert_not_published_otherwise(client: Client, fan_out: FanOut, digest: Digest) -> None:
    """Raise OccurrenceConflictError if a delivery that no fan-out started has other content."""
    id = fan_out.occurrence.id
    filter = Filter(fan_out.tenant, occurrence_ids=[id], without_fanned_out=True)
    if query := filter.query():
        async for row in found(client, query):
            if filter.selects(row):
                await assert_same_content(row, id, digest)


async def _assert_room(client: Client, tenant: str) -> None:
    of_tenant = f"{names.TENANT_ID.name} = {quoted(tenant)}"
    query = f"WorkflowType = '{names.FAN_OUT_OCCURRENCE}' AND {RUNNING} AND {of_tenant}"
    if await count_rows(client, query) >= MAX_RUNNING:
        raise TooManyFanOutsError(f"the deliveries of {MAX_RUNNING} occurrences of the tenant are still being started")
