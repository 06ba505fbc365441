"""Accepting an occurrence: one workflow start for each webhook that wants it.

Workflows are started by name, because the library lies below the workflows; their input is a contract.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from webhooks.contracts import Delivery, Occurrence, Recorded
from webhooks.ids import workflow_id
from webhooks.isolation.lanes import Lanes
from webhooks.publishing.matching import Match
from webhooks.telemetry import metrics, traces
from webhooks.temporal import connection

MEMO_DIGEST = "digest"
MEMO_URL = "url"
_STARTS_AT_ONCE = 20
TASK_SECONDS = 20.0
"""What a workflow task may take before Temporal gives it to somebody else, who would send again: more than an attempt
usually takes, so that a slow receiver on a busy machine is not sent to twice. After `kill -9`, it is waited for."""


class OccurrenceConflictError(Exception):
    """This occurrence id was published before with other content."""


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

    Raises OccurrenceConflictError if one of these deliveries exists with other content, CrowdedError if a webhook in
    trouble is published to faster than is good for the others, or RPCError while Temporal is not reachable."""
    digest = digest_of(occurrence)
    traces.describe(tenant=tenant, event_key=occurrence.event, occurrence_id=occurrence.id, deliveries=len(matches))
    if not matches:
        await _start(client, task_queue, Recorded(tenant=tenant, occurrence=occurrence, reason=unmatched), digest)
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
                    if await _start(client, task_queue, delivery, digest, url=match.url, wait=wait):
                        lanes.hold(tenant, match.webhook_id, id, wait)
            elif lanes:
                lanes.announce(id)
                started = False
                try:
                    started = await _start(client, task_queue, delivery, digest, url=match.url)
                finally:
                    if not started:
                        lanes.begin(id)
            else:
                await _start(client, task_queue, delivery, digest, url=match.url)
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


async def _start(
    client: Client,
    task_queue: str,
    argument: Delivery | Recorded,
    digest: str,
    *,
    url: str = "",
    wait: float = 0,
) -> bool:
    """Whether it is a new one. `wait` is the seconds after which it is begun."""
    occurrence = argument.occurrence
    if isinstance(argument, Delivery):
        workflow, id = connection.DELIVER_WEBHOOK, workflow_id(argument.tenant, argument.id)
    else:
        workflow, id = connection.RECORD_OCCURRENCE, workflow_id(argument.tenant, occurrence.id)
    try:
        await client.start_workflow(
            workflow,
            argument,
            id=id,
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            request_eager_start=not wait,
            task_timeout=timedelta(seconds=TASK_SECONDS),
            start_delay=timedelta(seconds=wait) if wait else None,
            rpc_timeout=connection.RPC_TIMEOUT,
            **labels(
                argument,
                digest=digest,
                url=url,
                created_at=datetime.now(UTC),
                held_by=client.identity if wait else None,
            ),
        )
        return True
    except WorkflowAlreadyStartedError:
        described = await client.get_workflow_handle(id).describe(rpc_timeout=connection.RPC_TIMEOUT)
        if await described.memo_value(MEMO_DIGEST, default=None) != digest:
            raise OccurrenceConflictError(
                f"occurrence {occurrence.id} was published before with other content"
            ) from None
        return False


def labels(
    argument: Delivery | Recorded, *, digest: str, url: str, created_at: datetime, held_by: str | None = None
) -> dict[str, Any]:
    """What a workflow is started with beside its input: what it is found by, what tells a repeated publication from a
    conflicting one, where it was to go, and its line in the Temporal Web UI."""
    occurrence = argument.occurrence
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(connection.TENANT_ID, argument.tenant),
        SearchAttributePair(connection.EVENT_KEY, occurrence.event),
        SearchAttributePair(connection.OCCURRENCE_ID, occurrence.id),
        SearchAttributePair(connection.CREATED_AT, created_at),
    ]
    if isinstance(argument, Delivery):
        pairs.append(SearchAttributePair(connection.WEBHOOK_ID, argument.webhook_id))
        summary = f"{occurrence.event} to {url}"
    else:
        summary = f"{occurrence.event}: {argument.reason}"
    if held_by:
        pairs.append(SearchAttributePair(connection.HELD_BY, held_by))
    if occurrence.client_identifier:
        pairs.append(SearchAttributePair(connection.CLIENT_ID, occurrence.client_identifier))
    return {
        "search_attributes": TypedSearchAttributes(pairs),
        "memo": {MEMO_DIGEST: digest, MEMO_URL: url},
        "static_summary": summary[: connection.MAX_SUMMARY],
    }


def digest_of(occurrence: Occurrence) -> str:
    """What makes two publications of one id the same. Not the time: a producer that stamps each try would conflict
    with itself."""
    content: dict[str, Any] = occurrence.model_dump(include={"event", "client_identifier", "data"})
    # Left out at their defaults, so that what was published before there were these fields still compares equal.
    content |= occurrence.model_dump(include={"owner_id", "user_id", "bulk"}, exclude_defaults=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
