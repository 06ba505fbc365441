"""Starting a workflow for an occurrence: its id, what it is found by, and what tells a repetition from a conflict.

Workflows are started by name, because the library lies below the workflows; their input is a contract.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client, WorkflowExecution
from temporalio.common import Priority, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from webhooks.contracts import Delivery, FanOut, Occurrence, UnmatchedOccurrence
from webhooks.errors import WebhooksError
from webhooks.ids import workflow_id
from webhooks.json_numbers import by_value, has_float, to_json, with_digits
from webhooks.temporal import names
from webhooks.temporal.codec import UnreadableError

_MAX_FAIRNESS_KEY = 64
"""Bytes. A tenant's id is ASCII."""


class OccurrenceConflictError(WebhooksError):
    """This occurrence id was published before with other content."""


@dataclass(frozen=True)
class Digest:
    """What must be equal in two publications of one id. The time is not in it: some producers stamp each try anew.

    `text` is the digest of JSON as Python writes it, which older versions know. `exact` is that of JSON with the
    decimal value of each number: 10.0 is 10, and 0.123456789012345678 is not 0.123456789012345679. It is None if the
    data has no float: it would be equal to `text`."""

    text: str
    exact: str | None = None

    def memo(self) -> dict[str, str]:
        return {names.MEMO_DIGEST: self.text} | ({names.MEMO_EXACT_DIGEST: self.exact} if self.exact else {})

    def matches(self, text: str | None, exact: str | None) -> bool:
        """Return whether a workflow with these digests in its memo has the same content. Without `exact`, it has no
        float, or an older version started it."""
        return exact == (self.exact or self.text) if exact else text in (self.text, self.exact)


async def start_workflow(
    client: Client,
    task_queue: str,
    argument: Delivery | UnmatchedOccurrence,
    digest: Digest,
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
        earlier = await client.get_workflow_handle(id).describe(rpc_timeout=names.RPC_TIMEOUT)
    await assert_same_content(earlier, occurrence.id, digest)
    return False


async def assert_same_content(earlier: WorkflowExecution, occurrence_id: str, digest: Digest) -> None:
    """Raise OccurrenceConflictError if an earlier workflow of this occurrence has other content."""
    try:
        text = await earlier.memo_value(names.MEMO_DIGEST, default=None)
        exact = await earlier.memo_value(names.MEMO_EXACT_DIGEST, default=None)
    except UnreadableError:
        raise OccurrenceConflictError(
            f"occurrence {occurrence_id} was published before, and its content can no longer be decrypted"
        ) from None
    if not digest.matches(text, exact):
        raise OccurrenceConflictError(f"occurrence {occurrence_id} was published before with other content")


def labels(
    argument: Delivery | UnmatchedOccurrence | FanOut,
    *,
    digest: Digest,
    url: str,
    created_at: datetime,
    held_by: str | None = None,
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
        if argument.fanned_out:
            pairs.append(SearchAttributePair(names.FANNED_OUT, True))
    elif isinstance(argument, FanOut):
        summary = f"{occurrence.event} to {len(argument.webhook_ids)} webhooks"
    else:
        summary = f"{occurrence.event}: {argument.reason}"
    if held_by:
        pairs.append(SearchAttributePair(names.HELD_BY, held_by))
    if occurrence.received:
        pairs.append(SearchAttributePair(names.SOURCE_ID, occurrence.received.source_id))
    if occurrence.client_identifier:
        pairs.append(SearchAttributePair(names.CLIENT_ID, occurrence.client_identifier))
    return {
        "search_attributes": TypedSearchAttributes(pairs),
        "memo": {**digest.memo(), names.MEMO_URL: url},
        "static_summary": names.cut_summary(summary),
        "priority": Priority(fairness_key=argument.tenant[:_MAX_FAIRNESS_KEY]),
    }


def digest_of(occurrence: Occurrence) -> Digest:
    """Return the digest of the content: event, client, owner, user, bulk and data.

    Of what was received, it is that of the id, which is made of the sender's own id: senders repeat a message with some
    other bytes, and it is the same message."""
    if occurrence.received:
        return Digest(_sha256(f"received {occurrence.received.source_id} {occurrence.id}"))
    content: dict[str, Any] = occurrence.model_dump(include={"event", "client_identifier", "data"})
    # Left out at their defaults, so that digests from before these fields existed still compare equal.
    content |= occurrence.model_dump(include={"owner_id", "user_id", "bulk"}, exclude_defaults=True)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    may_have_float = "." in text or "e+" in text or "e-" in text  # much faster than to look for one
    if not may_have_float or not has_float(occurrence.data):
        return Digest(_sha256(text))
    content["data"] = with_digits(occurrence.data, occurrence.digits)
    return Digest(_sha256(text), _sha256(to_json(content, by_value, canonical=True)))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
