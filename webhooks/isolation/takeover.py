"""Takeover: delayed deliveries of a process that has ended are resumed by one of those that live."""

from datetime import UTC, datetime, timedelta

from temporalio.client import Client

from webhooks.deliveries.visibility import RUNNING, found, quoted, stamp
from webhooks.isolation.lanes import Lanes
from webhooks.temporal.connection import describe_task_queue
from webhooks.temporal.names import DELIVER_WEBHOOK, HELD_BY, TENANT_ID, WEBHOOK_ID

_STARTS_SOON = timedelta(seconds=10)
"""Deliveries that Temporal starts within this time are not taken over."""


async def take_over(client: Client, lanes: Lanes, task_queue: str, known: set[str]) -> int:
    """Remember in our lanes the delayed deliveries whose process no longer polls, and return how many are new. `known`
    holds the workflow ids that were taken over before; new ones are added.

    Temporal remembers for some minutes who has polled. Only the poller with the smallest identity takes over. Raises
    RPCError."""
    us = client.identity
    alive = {poller.identity for poller in (await describe_task_queue(client, task_queue)).pollers} | {us}
    if us != min(alive):
        return 0
    now = datetime.now(UTC)
    terms = [f"WorkflowType = '{DELIVER_WEBHOOK}'", RUNNING, f"ExecutionTime > {stamp(now + _STARTS_SOON)}"]
    terms.append(f"{HELD_BY.name} IS NOT NULL")
    terms += [f"{HELD_BY.name} != {quoted(name)}" for name in alive]
    before = len(known)
    async for row in found(client, " AND ".join(terms)):
        attributes = row.typed_search_attributes
        if row.execution_time and row.id not in known:
            left = (row.execution_time - now).total_seconds()
            lanes.add_delayed(attributes[TENANT_ID], attributes[WEBHOOK_ID], row.id, left)
            known.add(row.id)
    return len(known) - before
