"""Accepting an occurrence: one workflow start for each webhook that wants it.

Workflows are started by name, because the library lies below the workflows; their input is a contract.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from webhooks import temporal
from webhooks.contracts import Delivery, Occurrence, Recorded
from webhooks.ids import workflow_id
from webhooks.store.webhooks import Match

MEMO_DIGEST = "digest"
MEMO_URL = "url"
MEMO_OCCURRED_AT = "occurred_at"
_START_TIMEOUT = timedelta(seconds=5)
_STARTS_AT_ONCE = 20


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
    resend_window: float,
    task_queue: str,
) -> list[Published]:
    """Starts a delivery for each match, and returns when Temporal has stored them all. Publishing the same occurrence
    again starts nothing twice and completes what an earlier call could not start.

    Raises OccurrenceConflictError, or RPCError while Temporal is not reachable."""
    digest = _digest(occurrence)
    if not matches:
        await _start(
            client,
            temporal.RECORD_OCCURRENCE,
            Recorded(tenant=tenant, occurrence=occurrence),
            id=workflow_id(tenant, occurrence.id),
            digest=digest,
            tenant=tenant,
            occurrence=occurrence,
            task_queue=task_queue,
            summary=f"{occurrence.event}: no webhook",
        )
        return []
    gate = asyncio.Semaphore(_STARTS_AT_ONCE)

    async def start(match: Match) -> Published:
        delivery = Delivery(
            tenant=tenant, webhook_id=match.webhook_id, occurrence=occurrence, resend_window=resend_window
        )
        async with gate:
            await _start(
                client,
                temporal.DELIVER_WEBHOOK,
                delivery,
                id=workflow_id(tenant, delivery.id),
                digest=digest,
                tenant=tenant,
                occurrence=occurrence,
                task_queue=task_queue,
                summary=f"{occurrence.event} to {match.webhook_name or match.url}",
                webhook=match,
            )
        return Published(delivery.id, match.webhook_id)

    # The first start decides between concurrent publishers of one id: who loses it has started nothing.
    first = await start(matches[0])
    return [first, *await asyncio.gather(*(start(match) for match in matches[1:]))]


async def _start(
    client: Client,
    workflow: str,
    argument: Delivery | Recorded,
    *,
    id: str,
    digest: str,
    tenant: str,
    occurrence: Occurrence,
    task_queue: str,
    summary: str,
    webhook: Match | None = None,
) -> None:
    memo: dict[str, Any] = {MEMO_DIGEST: digest, MEMO_OCCURRED_AT: occurrence.occurred_at}
    if webhook:
        memo[MEMO_URL] = webhook.url
    try:
        await client.start_workflow(
            workflow,
            argument,
            id=id,
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=search_attributes(tenant, occurrence, webhook.webhook_id if webhook else None),
            memo=memo,
            static_summary=summary,
            request_eager_start=True,
            rpc_timeout=_START_TIMEOUT,
        )
    except WorkflowAlreadyStartedError:
        described = await client.get_workflow_handle(id).describe(rpc_timeout=_START_TIMEOUT)
        if await described.memo_value(MEMO_DIGEST, default=None) != digest:
            raise OccurrenceConflictError(
                f"occurrence {occurrence.id} was published before with other content"
            ) from None


def search_attributes(tenant: str, occurrence: Occurrence, webhook_id: str | None) -> TypedSearchAttributes:
    pairs = [
        SearchAttributePair(temporal.TENANT_ID, tenant),
        SearchAttributePair(temporal.EVENT_KEY, occurrence.event),
        SearchAttributePair(temporal.OCCURRENCE_ID, occurrence.id),
    ]
    if webhook_id:
        pairs.append(SearchAttributePair(temporal.WEBHOOK_ID, webhook_id))
    if occurrence.client_identifier:
        pairs.append(SearchAttributePair(temporal.CLIENT_ID, occurrence.client_identifier))
    return TypedSearchAttributes(pairs)


def _digest(occurrence: Occurrence) -> str:
    """What makes two publications of one id the same. Not the time: a producer that stamps each try would conflict
    with itself."""
    content: Mapping[str, Any] = occurrence.model_dump(include={"event", "client_identifier", "data"})
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
