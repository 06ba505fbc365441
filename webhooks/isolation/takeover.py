"""Deliveries that Temporal holds back for a process that is no more: one of those that live takes them over."""

from datetime import UTC, datetime, timedelta

from temporalio.client import Client

from webhooks.deliveries.visibility import RUNNING, found, quoted, stamp
from webhooks.isolation.lanes import Lanes
from webhooks.temporal.connection import describe_task_queue
from webhooks.temporal.names import DELIVER_WEBHOOK, HELD_BY, TENANT_ID, WEBHOOK_ID

_WORTH_IT = timedelta(seconds=10)
"""What is begun sooner than that needs nobody."""


async def adopt(client: Client, lanes: Lanes, task_queue: str, adopted: set[str]) -> int:
    """Holds them in our lanes, but for those that were `adopted` before; how many. Temporal knows for some minutes who
    has polled, and of those the first by name adopts, so that no two do. Raises RPCError."""
    us = client.identity
    living = {poller.identity for poller in (await describe_task_queue(client, task_queue)).pollers} | {us}
    if us != min(living):
        return 0
    now = datetime.now(UTC)
    terms = [f"WorkflowType = '{DELIVER_WEBHOOK}'", RUNNING, f"ExecutionTime > {stamp(now + _WORTH_IT)}"]
    terms.append(f"{HELD_BY.name} IS NOT NULL")
    terms += [f"{HELD_BY.name} != {quoted(name)}" for name in living]
    before = len(adopted)
    async for row in found(client, " AND ".join(terms)):
        attributes = row.typed_search_attributes
        if row.execution_time and row.id not in adopted:
            left = (row.execution_time - now).total_seconds()
            lanes.hold(attributes[TENANT_ID], attributes[WEBHOOK_ID], row.id, left)
            adopted.add(row.id)
    return len(adopted) - before
