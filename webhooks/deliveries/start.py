"""Starting a workflow for an occurrence: its id, what it is found by, and what tells a repetition from a conflict.

Workflows are started by name, because the library lies below the workflows; their input is a contract.
"""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from webhooks.contracts import Delivery, Occurrence, UnmatchedOccurrence
from webhooks.errors import WebhooksError
from webhooks.ids import workflow_id
from webhooks.temporal import names


class OccurrenceConflictError(WebhooksError):
    """This occurrence id was published before with other content."""


async def start_workflow(
    client: Client,
    task_queue: str,
    argument: Delivery | UnmatchedOccurrence,
    digest: str,
    *,
    url: str = "",
    delay: float = 0,
) -> bool:
    """Start a workflow unless it exists, and return whether it is new. `delay` is in seconds.

    Raises OccurrenceConflictError if it exists with other content, and RPCError while Temporal is not reachable."""
    occurrence = argument.occurrence
    if isinstance(argument, Delivery):
        workflow, id = names.DELIVER_WEBHOOK, workflow_id(argument.tenant, argument.id)
    else:
        workflow, id = names.RECORD_OCCURRENCE, workflow_id(argument.tenant, occurrence.id)
    try:
        await client.start_workflow(
            workflow,
            argument,
            id=id,
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            request_eager_start=not delay,
            task_timeout=timedelta(seconds=names.TASK_SECONDS),
            start_delay=timedelta(seconds=delay) if delay else None,
            rpc_timeout=names.RPC_TIMEOUT,
            **labels(
                argument,
                digest=digest,
                url=url,
                created_at=datetime.now(UTC),
                held_by=client.identity if delay else None,
            ),
        )
        return True
    except WorkflowAlreadyStartedError:
        described = await client.get_workflow_handle(id).describe(rpc_timeout=names.RPC_TIMEOUT)
        if await described.memo_value(names.MEMO_DIGEST, default=None) != digest:
            raise OccurrenceConflictError(
                f"occurrence {occurrence.id} was published before with other content"
            ) from None
        return False


def labels(
    argument: Delivery | UnmatchedOccurrence, *, digest: str, url: str, created_at: datetime, held_by: str | None = None
) -> dict[str, Any]:
    """Return what a workflow is started with beside its input: search attributes to find it by, a digest that tells a
    repetition from a conflict, the URL, and the line that the Temporal Web UI shows."""
    occurrence = argument.occurrence
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(names.TENANT_ID, argument.tenant),
        SearchAttributePair(names.EVENT_KEY, occurrence.event),
        SearchAttributePair(names.OCCURRENCE_ID, occurrence.id),
        SearchAttributePair(names.CREATED_AT, created_at),
    ]
    if isinstance(argument, Delivery):
        pairs.append(SearchAttributePair(names.WEBHOOK_ID, argument.webhook_id))
        summary = f"{occurrence.event} to {url}"
    else:
        summary = f"{occurrence.event}: {argument.reason}"
    if held_by:
        pairs.append(SearchAttributePair(names.HELD_BY, held_by))
    if occurrence.client_identifier:
        pairs.append(SearchAttributePair(names.CLIENT_ID, occurrence.client_identifier))
    return {
        "search_attributes": TypedSearchAttributes(pairs),
        "memo": {names.MEMO_DIGEST: digest, names.MEMO_URL: url},
        "static_summary": summary[: names.MAX_SUMMARY],
    }


def digest_of(occurrence: Occurrence) -> str:
    """Return the digest of what must be equal in two publications of one id. The time is left out: some producers stamp
    each try anew."""
    content: dict[str, Any] = occurrence.model_dump(include={"event", "client_identifier", "data"})
    # Left out at their defaults, so that digests from before these fields existed still compare equal.
    content |= occurrence.model_dump(include={"owner_id", "user_id", "bulk"}, exclude_defaults=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
