"""Replay: a webhook gets occurrences that were published when it could not have them, as deliveries of its own."""

from collections.abc import Awaitable, Callable

from webhooks.contracts import Delivery, Job, Occurrence
from webhooks.deliveries import windows
from webhooks.deliveries.bulk import DONE
from webhooks.deliveries.occurrences import Occurrences
from webhooks.deliveries.selection import Count, filter_of
from webhooks.deliveries.start import OccurrenceConflictError, digest_of
from webhooks.publishing.matching import Match, match
from webhooks.publishing.publish import Publisher
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.database import Database

EXISTS = "exists"
"""The webhook has a delivery of the occurrence already."""
NOT_WANTED = "not_wanted"
"""The webhook's subscription does not take it: by its filter, by its clients, or because something is inactive."""
CONFLICT = "conflict"
"""The webhook has a delivery of this occurrence's id with other content."""


class Replays:
    """Starts deliveries of recorded occurrences, for a job."""

    def __init__(self, publisher: Publisher, database: Database) -> None:
        self._publisher = publisher
        self._database = database

    async def replay(self, job: Job, occurrence: Occurrence, turn: Callable[[], Awaitable[object]]) -> str:
        """Start the delivery of an occurrence to the job's webhook, if the webhook's subscription takes it as it is
        now. Return DONE or why not. `turn` is awaited before it is started. Raises TooManyDelayedError and RPCError."""
        wanted = await self._match(job, occurrence)
        if wanted is None:
            return NOT_WANTED
        await turn()
        delivery = Delivery(
            tenant=job.tenant,
            webhook_id=wanted.webhook_id,
            occurrence=occurrence,
            resend_window=self._publisher.resend_window,
            requested_by=job.requested_by,
            job_id=job.id,
        )
        try:
            started = await self._publisher.start(delivery, wanted.url, digest_of(occurrence))
        except OccurrenceConflictError:
            return CONFLICT
        return DONE if started else EXISTS

    async def count(self, job: Job) -> Count:
        """Return of how many occurrences that the job names the webhook would get a delivery. Each is read. Raises
        RPCError."""
        client, [webhook_id] = self._publisher.client, job.selection.webhook_ids
        rows = [row async for row in windows.oldest_first(client, filter_of(job), None)]
        number, exact = 0, True
        for published in await Occurrences(client, job.tenant).first_of(rows):
            if published.goes_to(webhook_id):
                number, exact = number + (not job.only_missing), exact and job.only_missing
            elif published.readable and await self._match(job, published.occurrence):
                number += 1
                exact = exact and published.matched == len(published.deliveries)  # of many, they are not listed
        return Count(number, exact)

    async def _match(self, job: Job, occurrence: Occurrence) -> Match | None:
        async with self._database.read() as session:
            event, subscribed = await stored_webhooks.subscribed(session, job.tenant, occurrence.event)
        [webhook_id] = job.selection.webhook_ids
        if event is None:
            return None
        matches, _ = match(event, [pair for pair in subscribed if pair[1].id == webhook_id], occurrence)
        return matches[0] if matches else None
