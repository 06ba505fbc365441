"""The activity of a fan-out: it starts one delivery after the other, at a rate that live deliveries do not notice."""

import asyncio
from collections import deque
from weakref import WeakValueDictionary

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from webhooks.contracts import Delivery, FanOut, FanOutProgress
from webhooks.deliveries.start import OccurrenceConflictError, digest_of
from webhooks.isolation.delayed_starts import TooManyDelayedError
from webhooks.isolation.pacer import Pacer, Turns
from webhooks.publishing.publish import Publisher
from webhooks.store import webhooks as stored_webhooks
from webhooks.store.database import Database

_READ_AT_ONCE = 1_000
"""Webhooks whose URLs are read together."""
_HEARTBEAT_SECONDS = 1.0
_TRY_AGAIN_SECONDS = 0.1


class FanOutActivities:
    """Holds what the fan-outs of a process share. The worker makes one."""

    def __init__(self, publisher: Publisher, database: Database, pacer: Pacer) -> None:
        """All fan-outs of the process share the pacer."""
        self._publisher = publisher
        self._database = database
        self._pacer = pacer
        self._first_in_line = WeakValueDictionary[str, asyncio.Lock]()
        """By tenant: only one of a tenant's starts waits for a turn, so that tenants take turns."""

    @activity.defn
    async def start_deliveries(self, fan_out: FanOut) -> FanOutProgress:
        """Start the delivery to each webhook, unless it exists.

        The progress is a heartbeat: after a crash, another call goes on from the last one. What was started after it
        exists, and is not started again. Raises what a database or Temporal raises that is away."""
        earlier = activity.info().heartbeat_details
        step = _Step(fan_out, FanOutProgress.model_validate(earlier[0]) if earlier else FanOutProgress())
        working = asyncio.ensure_future(self._work(step))
        while not working.done():
            try:
                await asyncio.wait((working,), timeout=_HEARTBEAT_SECONDS)
                activity.heartbeat(step.progress)
            except asyncio.CancelledError:  # erased, or the worker ends: finish the starts in hand
                step.stopping = True
        working.result()
        if step.progress.done < len(fan_out.webhook_ids):
            details = activity.cancellation_details()
            if details and details.worker_shutdown:
                raise ApplicationError("the worker ends", category=ApplicationErrorCategory.BENIGN)
            raise asyncio.CancelledError
        return step.progress

    async def _urls(self, fan_out: FanOut) -> dict[str, str]:
        """Return the URLs of the webhooks by id, without those that were deleted meanwhile."""
        urls: dict[str, str] = {}
        async with self._database.read() as session:
            for first in range(0, len(fan_out.webhook_ids), _READ_AT_ONCE):
                ids = fan_out.webhook_ids[first : first + _READ_AT_ONCE]
                urls |= await stored_webhooks.urls(session, fan_out.tenant, ids)
        return urls

    async def _work(self, step: "_Step") -> None:
        urls = await self._urls(step.fan_out)
        turns = self._pacer.turns()
        while (place := step.take()) is not None:
            await self._turn(step.fan_out.tenant, turns)
            if step.stopping:
                return
            delivery = step.delivery(place, self._publisher.resend_window)
            try:
                # One to a webhook that is deleted fails, as if it had been started before.
                await self._publisher.start(delivery, urls.get(delivery.webhook_id, ""), step.digest)
            except OccurrenceConflictError:
                step.ended(place, conflict=True)
            except TooManyDelayedError:  # its receiver is in trouble: the others do not wait for it
                step.put_off(place)
                if step.has_only_put_off:
                    turns.pause()
                    await asyncio.sleep(_TRY_AGAIN_SECONDS)
            else:
                step.ended(place)

    async def _turn(self, tenant: str, turns: Turns) -> None:
        turns.pause()
        async with self._first_in_line.setdefault(tenant, asyncio.Lock()):
            await turns.next()


class _Step:
    """One call: the fan-out, and how far it has come. A place is that of a webhook in the list."""

    def __init__(self, fan_out: FanOut, progress: FanOutProgress) -> None:
        self.fan_out = fan_out
        self.progress = progress
        self.digest = digest_of(fan_out.occurrence)
        self.stopping = False
        self._next = progress.done
        self._open = set[int]()
        """Places before the next one that have no delivery yet."""
        self._put_off = deque[int]()

    def take(self) -> int | None:
        """Return the next place; those that were put off at the end. None if nothing is left."""
        if self._next < len(self.fan_out.webhook_ids):
            self._next += 1
            self._open.add(self._next - 1)
            return self._next - 1
        return self._put_off.popleft() if self._put_off else None

    def delivery(self, place: int, resend_window: float) -> Delivery:
        return Delivery(
            tenant=self.fan_out.tenant,
            webhook_id=self.fan_out.webhook_ids[place],
            occurrence=self.fan_out.occurrence,
            resend_window=resend_window,
            fanned_out=True,
        )

    def put_off(self, place: int) -> None:
        self._put_off.append(place)

    @property
    def has_only_put_off(self) -> bool:
        """Whether each place that is left was put off."""
        return self._next == len(self.fan_out.webhook_ids)

    def ended(self, place: int, *, conflict: bool = False) -> None:
        self._open.remove(place)
        done = min(self._open, default=self._next)
        self.progress = FanOutProgress(done=done, conflicts=self.progress.conflicts + conflict)
