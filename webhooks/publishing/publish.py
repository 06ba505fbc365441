"""Publishing an occurrence: one workflow start for each webhook that matches."""

import asyncio
from dataclasses import dataclass

from temporalio.client import Client

from webhooks.contracts import Delivery, FanOut, Occurrence, UnmatchedOccurrence
from webhooks.deliveries import fan_outs
from webhooks.deliveries.start import Digest, digest_of, start_workflow
from webhooks.ids import workflow_id
from webhooks.isolation.backlog import Backlog
from webhooks.isolation.delayed_starts import DelayedStarts
from webhooks.publishing.matching import Match
from webhooks.telemetry import metrics, traces

MAX_STARTED_AT_ONCE = 100
"""With more matches, the deliveries are started after the answer. These take 0.8 s, while a producer waits, and are two
thirds of the backlog with which publications are refused."""
_MAX_CONCURRENT_STARTS = 20
"""Of one occurrence."""


@dataclass(frozen=True)
class Published:
    """A delivery that Temporal has stored. `new`: false if an earlier publication of the same id has started it."""

    delivery_id: str
    webhook_id: str
    new: bool = True


@dataclass(frozen=True)
class Publisher:
    """Starts deliveries. One for each process, made once Temporal answers.

    `resend_window` is in seconds. `backlog` is where the deliveries are counted until a worker begins them.
    `delayed_starts` belong to the worker in this process; None if there is no such worker."""

    client: Client
    task_queue: str
    resend_window: float
    backlog: Backlog
    delayed_starts: DelayedStarts | None = None

    async def publish(
        self, tenant: str, occurrence: Occurrence, matches: list[Match], unmatched: str
    ) -> list[Published]:
        """Start a delivery for each match, and return when Temporal has stored them all. `unmatched` says why there is
        no match.

        It is safe to publish an occurrence again: a delivery that exists is not started again, one that is missing is.
        Raises OccurrenceConflictError if a delivery exists with other content, TooManyDelayedError if a receiver in
        trouble is published to too fast, and RPCError while Temporal is not reachable."""
        if not matches:
            await self.record(tenant, occurrence, unmatched)
            return []
        digest = digest_of(occurrence)
        traces.describe(tenant=tenant, event_key=occurrence.event, occurrence_id=occurrence.id, deliveries=len(matches))
        gate = asyncio.Semaphore(_MAX_CONCURRENT_STARTS)

        async def start(match: Match) -> Published:
            async with gate:
                return await self._start(tenant, occurrence, match, digest)

        # Receivers that work do not wait for those in trouble.
        matches = sorted(matches, key=lambda match: self._delay(match.webhook_id) > 0)
        # The first start decides between concurrent publishers of one id: the one that loses it has started nothing.
        published = [await start(matches[0])]
        for result in await asyncio.gather(*map(start, matches[1:]), return_exceptions=True):
            if isinstance(result, BaseException):  # raised after all have ended: a repetition meets no start under way
                raise result
            published.append(result)
        metrics.occurrence(metrics.MATCHED)
        return published

    async def fan_out(self, tenant: str, occurrence: Occurrence, matches: list[Match]) -> bool:
        """Store which webhooks get the occurrence; the deliveries are started after that. Return whether it is new.
        Raises OccurrenceConflictError, TooManyFanOutsError and RPCError."""
        traces.describe(tenant=tenant, event_key=occurrence.event, occurrence_id=occurrence.id, deliveries=len(matches))
        ids = tuple(match.webhook_id for match in matches)
        stored = FanOut(tenant=tenant, occurrence=occurrence, webhook_ids=ids)
        new = await fan_outs.start(self.client, self.task_queue, stored, digest_of(occurrence))
        metrics.occurrence(metrics.MATCHED)
        return new

    async def record(self, tenant: str, occurrence: Occurrence, unmatched: str) -> bool:
        """Record that no webhook matches, and why. Return whether it is new. Raises OccurrenceConflictError and
        RPCError."""
        traces.describe(tenant=tenant, event_key=occurrence.event, occurrence_id=occurrence.id, deliveries=0)
        record = UnmatchedOccurrence(tenant=tenant, occurrence=occurrence, reason=unmatched)
        new = await start_workflow(self.client, self.task_queue, record, digest_of(occurrence))
        metrics.occurrence(metrics.UNMATCHED)
        return new

    async def _start(self, tenant: str, occurrence: Occurrence, match: Match, digest: Digest) -> Published:
        delivery = Delivery(
            tenant=tenant, webhook_id=match.webhook_id, occurrence=occurrence, resend_window=self.resend_window
        )
        started = await self.start(delivery, match.url, digest)
        return Published(delivery.id, match.webhook_id, started)

    async def start(self, delivery: Delivery, url: str, digest: Digest) -> bool:
        """Start a delivery unless it exists, and return whether it is new. Raises as `publish` does."""
        id = workflow_id(delivery.tenant, delivery.id)
        delay = self._delay(delivery.webhook_id)
        if self.delayed_starts and delay:
            async with self.delayed_starts.storing():
                started = await start_workflow(self.client, self.task_queue, delivery, digest, url=url, delay=delay)
            if started:
                self.delayed_starts.add(delivery.tenant, delivery.webhook_id, id, delay)
            return started
        self.backlog.add(id)
        started = False
        try:
            started = await start_workflow(self.client, self.task_queue, delivery, digest, url=url)
        finally:
            if not started:
                self.backlog.remove(id)
        return started

    def _delay(self, webhook_id: str) -> float:
        return self.delayed_starts.delay(webhook_id) if self.delayed_starts else 0
