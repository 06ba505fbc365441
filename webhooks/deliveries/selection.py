"""What a job's selection finds, and how many that are."""

from dataclasses import dataclass, replace
from datetime import datetime

from temporalio.client import Client

from webhooks.contracts import Job, JobKind
from webhooks.deliveries import visibility, windows
from webhooks.deliveries.bulk import was_attempted_since
from webhooks.deliveries.monitor import Deliveries
from webhooks.deliveries.status import DeliveryStatus
from webhooks.deliveries.visibility import Filter
from webhooks.temporal.names import OCCURRENCE_ID, OF_OCCURRENCES, WEBHOOK_ID

_MAX_ROWS_READ = 5_000
"""Of occurrences, to count those that a webhook does not have. With more, the count is that of all of them."""
_MAX_READ = 50
"""Of deliveries that may have had their last attempt before the time that is asked for. With more, none is read."""
_BY_HISTORY = {DeliveryStatus.PENDING, DeliveryStatus.RETRYING}
"""Statuses that histories tell apart, and a count does not."""


@dataclass(frozen=True)
class Count:
    """How many deliveries a job would send, start or give up. If it is not `exact`, there may be fewer."""

    count: int
    exact: bool


def filter_of(job: Job) -> Filter:
    """Return the filter that finds what a job looks at. For a replay, these are all occurrences of the events, whoever
    got them, and those of its client only if the webhook belongs to one."""
    selection = job.selection
    if job.kind is JobKind.REPLAY:
        return Filter(
            job.tenant,
            events=selection.events,
            occurrence_ids=selection.occurrence_ids,
            client_identifiers=selection.client_identifiers,
            since=selection.since,
            until=selection.until,
            workflow_types=OF_OCCURRENCES,
            without_fanned_out=True,
        )
    return Filter(
        job.tenant,
        webhook_ids=selection.webhook_ids,
        events=selection.events,
        occurrence_ids=selection.occurrence_ids,
        client_identifiers=selection.client_identifiers,
        statuses=[DeliveryStatus(status) for status in selection.statuses],
        outcomes=selection.outcomes,
        since=selection.since,
        until=selection.until,
    )


async def count(client: Client, deliveries: Deliveries, job: Job) -> Count:
    """Return how many deliveries the job would send, start or give up now. Raises RPCError."""
    if job.kind is JobKind.REPLAY:
        return await _count_missing(client, job)
    apart = len(_BY_HISTORY & {*job.selection.statuses}) == 1
    filter = filter_of(job)
    found = Count(await visibility.count(client, filter), exact=not (apart or job.selection.outcomes))
    if job.selection.last_attempt_since is None:
        return found
    return await _count_attempted(client, deliveries, filter, job.selection.last_attempt_since, found)


async def _count_attempted(
    client: Client, deliveries: Deliveries, filter: Filter, since: datetime, found: Count
) -> Count:
    """Of the deliveries that are `found`, count those with an attempt since then. What was created since then has one;
    only of older ones, the attempts are read."""
    newer = await visibility.count(client, replace(filter, since=max(since, filter.since or since)))
    if found.count - newer > _MAX_READ:
        return Count(found.count, exact=False)
    number, cursor, more = newer, None, found.count > newer
    older = replace(filter, until=min(since, filter.until or since))
    while more:
        items, cursor = await deliveries.list(older, limit=_MAX_READ, cursor=cursor)
        number += sum(was_attempted_since(item, since) for item in items)
        more = cursor is not None
    return Count(number, found.exact)


async def _count_missing(client: Client, job: Job) -> Count:
    """Count the occurrences of which the webhook has no delivery. Its filter and its clients may leave some out."""
    [webhook_id] = job.selection.webhook_ids
    filter = filter_of(job)
    total = await visibility.count(client, filter)
    if total > _MAX_ROWS_READ:
        return Count(total, exact=False)
    occurrences, delivered = set(), set()
    async for row in windows.oldest_first(client, filter, None):
        id = row.typed_search_attributes[OCCURRENCE_ID]
        occurrences.add(id)
        if row.typed_search_attributes.get(WEBHOOK_ID) == webhook_id:
            delivered.add(id)
    return Count(len(occurrences - delivered if job.only_missing else occurrences), exact=False)
