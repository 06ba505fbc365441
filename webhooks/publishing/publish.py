"""Accepting an occurrence: one workflow start for each webhook that wants it.

Workflows are started by name, because the library lies below the workflows; their input is a contract.
"""

import asyncio
from dataclasses import dataclass

from temporalio.client import Client

from webhooks.contracts import Delivery, Occurrence, UnmatchedOccurrence
from webhooks.deliveries.start import digest_of
from webhooks.deliveries.start import start as start_delivery
from webhooks.ids import workflow_id
from webhooks.isolation.lanes import Lanes
from webhooks.publishing.matching import Match
from webhooks.telemetry import metrics, traces

_STARTS_AT_ONCE = 20


@dataclass(frozen=True)
class Published:
    delivery_id: str
    webhook_id: str


async def publish(
    client: Client,
    *,
    tenant: str,
    occurrence: Occurrence,
    matches: list[Match],
    unmatched: str,
    lanes: Lanes | None = None,
    resend_window: float,
    task_queue: str,
) -> list[Published]:
    """Starts a delivery for each match, and returns when Temporal has stored them all. Publishing the same occurrence
    again starts nothing twice and completes what an earlier call could not start. `unmatched` says why nobody wants it,
    if nobody does. `lanes` are those of the worker in this process, if there is one.

    Raises OccurrenceConflictError if one of these deliveries exists with other content, TooManyDelayedError if a
    webhook in trouble is published to faster than is good for the others, RPCError while Temporal is not reachable."""
    digest = digest_of(occurrence)
    traces.describe(tenant=tenant, event_key=occurrence.event, occurrence_id=occurrence.id, deliveries=len(matches))
    if not matches:
        await start_delivery(
            client, task_queue, UnmatchedOccurrence(tenant=tenant, occurrence=occurrence, reason=unmatched), digest
        )
        metrics.occurrence(metrics.UNMATCHED)
        return []
    gate = asyncio.Semaphore(_STARTS_AT_ONCE)

    async def start(match: Match) -> Published:
        delivery = Delivery(
            tenant=tenant, webhook_id=match.webhook_id, occurrence=occurrence, resend_window=resend_window
        )
        id = workflow_id(tenant, delivery.id)
        async with gate:
            wait = lanes.head_start(match.webhook_id) if lanes else 0
            if lanes and wait:
                async with lanes.holding():
                    if await start_delivery(client, task_queue, delivery, digest, url=match.url, wait=wait):
                        lanes.hold(tenant, match.webhook_id, id, wait)
            elif lanes:
                lanes.announce(id)
                started = False
                try:
                    started = await start_delivery(client, task_queue, delivery, digest, url=match.url)
                finally:
                    if not started:
                        lanes.begin(id)
            else:
                await start_delivery(client, task_queue, delivery, digest, url=match.url)
        return Published(delivery.id, match.webhook_id)

    if lanes:  # those that flow do not wait for those that are in trouble
        matches = sorted(matches, key=lambda match: lanes.head_start(match.webhook_id) > 0)
    # The first start decides between concurrent publishers of one id: who loses it has started nothing.
    published = [await start(matches[0])]
    for outcome in await asyncio.gather(*(start(match) for match in matches[1:]), return_exceptions=True):
        if isinstance(outcome, BaseException):  # all have ended: nothing of this goes on while it is published again
            raise outcome
        published.append(outcome)
    metrics.occurrence(metrics.MATCHED)
    return published
