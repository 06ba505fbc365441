"""All lanes of a process: a limiter for each webhook and each tenant, so that no receiver can slow another.

A delivery that finds its lane full waits in this process for a moment, if the lane's circuit is closed. Otherwise it
waits in Temporal, on a timer of its own workflow, without an attempt or a slot. The lane remembers who waits, oldest
first, and `next_to_resume` names the next one when there is room. This state is the process's own: after a restart the
timers do what resuming would have done.
"""

import asyncio
import random
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from webhooks.contracts import NO_ANSWER, TENANT_SHARE_USED, TENANT_SUSPENDED, WEBHOOK_SHARE_USED
from webhooks.isolation.lane import MAX_WIDTH, Condition, Lane, State

MAX_CONCURRENT_PER_TENANT = 112
"""Requests at the same time for all webhooks of a tenant."""
RESERVE_PER_TENANT = 48
"""Further requests, for webhooks with few in flight: others that are slow, but not in trouble, must not take it all."""
_FEW_IN_FLIGHT = 4
_MAX_QUEUED_PER_LANE = 16
MAX_QUEUED = 32
"""Activities that wait in this process: each holds one of the worker's slots."""
_QUEUE_SECONDS = 2.0
_SHORTEST_WAIT_SECONDS = 30.0
_LONGEST_WAIT_SECONDS = 3_600.0
_WAKE_UPS_PER_SECOND = 2.0
"""For one webhook. The more deliveries wait, the longer each timer, so that this stays constant."""
_RESUMED_SECONDS = 10.0
"""A resumed delivery that has not come after this time is not waited for."""
_STARTS_SOON_SECONDS = 5.0
"""Do not resume a delivery whose delay ends within this time by itself."""


@dataclass(frozen=True)
class Wait:
    """Why a delivery cannot be tried now, and the seconds after which it asks again if nobody resumes it."""

    after: float
    reason: str


@dataclass(frozen=True)
class Resumable:
    """A waiting delivery for which there is room. `started` says whether Temporal has started it; if not, `starts_at`
    is when it does so by itself, in seconds of the lanes' clock."""

    workflow_id: str
    started: bool
    webhook_id: str = field(default="", compare=False)
    starts_at: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Snapshot:
    """A lane as people see it. `limit` is how many requests may be in flight while the circuit is closed."""

    state: State
    in_flight: int
    waiting: int
    limit: int


@dataclass(frozen=True)
class Totals:
    """All lanes of a process, counted."""

    in_flight: int
    waiting: int
    states: Counter[State]


class Lanes:
    """One for each process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lanes: dict[str, Lane] = {}
        self._queued = 0
        self._with_waiting: OrderedDict[str, None] = OrderedDict()
        """Webhooks with waiting deliveries, the one that was served longest ago first."""
        self._in_flight_of: dict[str, int] = {}
        """Requests in flight by tenant."""
        self._suspended: frozenset[str] = frozenset()
        """Tenants whose deliveries wait."""
        self.on_room: Callable[[], None] = lambda: None
        """Called when there may be room for a waiting delivery."""

    async def acquire(self, tenant: str, webhook_id: str, workflow_id: str, *, by_person: bool = False) -> Wait | None:
        """Like `try_acquire`, after up to 2 s in the lane's queue if its circuit is closed."""
        wait = self.try_acquire(tenant, webhook_id, workflow_id, by_person=by_person)
        lane = self._lanes[webhook_id]
        full = len(lane.queue) >= _MAX_QUEUED_PER_LANE or self._queued >= MAX_QUEUED
        suspended = tenant in self._suspended
        if wait is None or suspended or full or lane.consecutive_failures or lane.is_troubled(self._clock()):
            return wait
        lane.waiting.pop(workflow_id)
        turn = asyncio.get_running_loop().create_future()
        lane.queue.append(turn)
        self._queued += 1
        try:
            async with asyncio.timeout(_QUEUE_SECONDS):
                await asyncio.shield(turn)
        except TimeoutError:
            if not turn.done():
                lane.queue.remove(turn)
                return self.try_acquire(tenant, webhook_id, workflow_id)
        except asyncio.CancelledError:
            if turn.done():
                self.release(tenant, webhook_id, Condition.NEUTRAL)
            else:
                lane.queue.remove(turn)
            raise
        finally:
            self._queued -= 1
        return None

    def try_acquire(self, tenant: str, webhook_id: str, workflow_id: str, *, by_person: bool = False) -> Wait | None:
        """Return None if the delivery may be tried now: `release` must follow. Otherwise the delivery is remembered as
        waiting. `by_person`: a person asked for it, so an open circuit does not stop it, but a suspension does."""
        now = self._clock()
        lane = self._lanes.setdefault(webhook_id, Lane(tenant, last_end=now))
        self.forget(webhook_id, workflow_id)
        if tenant in self._suspended:
            return self._wait(webhook_id, workflow_id, TENANT_SUSPENDED)
        if lane.room(now) or (by_person and lane.in_flight < MAX_WIDTH):
            if self._tenant_has_room(lane):
                self._begin_request(lane)
                return None
            return self._wait(webhook_id, workflow_id, TENANT_SHARE_USED)
        return self._wait_for_lane(webhook_id, workflow_id)

    def reject_early(self, tenant: str, webhook_id: str, workflow_id: str) -> Wait | None:
        """Return why `try_acquire` would be in vain because the receiver is in trouble or the tenant suspended, before
        anything is loaded. None says only that the delivery may try."""
        if tenant in self._suspended:
            return self.try_acquire(tenant, webhook_id, workflow_id)
        lane, now = self._lanes.get(webhook_id), self._clock()
        if lane is None or lane.room(now) or not lane.is_troubled(now):
            return None
        self.forget(webhook_id, workflow_id)
        return self._wait_for_lane(webhook_id, workflow_id)

    def release(self, tenant: str, webhook_id: str, condition: Condition) -> None:
        """End what `acquire` or `try_acquire` began. `condition` is what the attempt said about its receiver."""
        now, lane = self._clock(), self._lanes[webhook_id]
        lane.end_request(condition, now)
        self._in_flight_of[tenant] -= 1
        while lane.queue and self._room(lane, now) and self._tenant_has_room(lane):
            self._begin_request(lane)
            lane.queue.popleft().set_result(None)
        if lane.is_idle():
            del self._lanes[webhook_id]
            self._with_waiting.pop(webhook_id, None)
        if not self._in_flight_of[tenant]:
            del self._in_flight_of[tenant]
        if self._with_waiting:
            self.on_room()

    def add_delayed(self, tenant: str, webhook_id: str, workflow_id: str, seconds: float) -> None:
        """Remember a delivery that Temporal starts by itself after this many seconds."""
        lane = self._lanes.setdefault(webhook_id, Lane(tenant, last_end=self._clock()))
        lane.waiting[workflow_id] = self._clock() + seconds
        self._with_waiting.setdefault(webhook_id)

    def suspend(self, tenants: frozenset[str]) -> None:
        """Let the deliveries of these tenants wait, and those of all others go on. Requests in flight come to their
        end."""
        self._suspended = tenants
        self.on_room()

    def troubled_for(self, webhook_id: str) -> float | None:
        """Return for how many seconds the receiver has been in trouble; None if it is not."""
        lane, now = self._lanes.get(webhook_id), self._clock()
        if lane is None or not lane.is_troubled(now):
            return None
        if lane.troubled_since is None:
            lane.troubled_since = now
        return now - lane.troubled_since

    def next_to_resume(self) -> Resumable | None:
        """Return the oldest waiting delivery of the next lane that has room, each lane in turn."""
        now = self._clock()
        for webhook_id in list(self._with_waiting):
            lane = self._lanes[webhook_id]
            lane.resumed = {name: until for name, until in lane.resumed.items() if now < until}
            while lane.waiting and len(lane.resumed) < self._room(lane, now):
                workflow_id, starts_at = lane.waiting.popitem(last=False)
                if starts_at is None or starts_at > now + _STARTS_SOON_SECONDS:
                    self._with_waiting.move_to_end(webhook_id)
                    lane.resumed[workflow_id] = now + _RESUMED_SECONDS
                    return Resumable(workflow_id, starts_at is None, webhook_id, starts_at)
            if not lane.waiting:
                del self._with_waiting[webhook_id]
        return None

    def requeue(self, delivery: Resumable) -> None:
        """Put a delivery that was not reached first in its lane again."""
        lane = self._lanes.get(delivery.webhook_id)
        if lane and lane.resumed.pop(delivery.workflow_id, None):
            lane.waiting[delivery.workflow_id] = delivery.starts_at
            lane.waiting.move_to_end(delivery.workflow_id, last=False)
            self._with_waiting.setdefault(delivery.webhook_id)

    def forget(self, webhook_id: str, workflow_id: str) -> None:
        """Remember a delivery as waiting no longer: it has come, or it will not come."""
        if lane := self._lanes.get(webhook_id):
            lane.waiting.pop(workflow_id, None)
            lane.resumed.pop(workflow_id, None)

    def totals(self) -> Totals:
        """Return the counts. Other threads may call this too, and may see counts that are a moment old."""
        now, lanes = self._clock(), list(self._lanes.values())
        return Totals(
            in_flight=sum(lane.in_flight for lane in lanes),
            waiting=sum(len(lane.waiting) + len(lane.resumed) + len(lane.queue) for lane in lanes),
            states=Counter(lane.state(now) for lane in lanes),
        )

    def snapshot(self, webhook_id: str) -> Snapshot:
        lane, now = self._lanes.get(webhook_id) or Lane(""), self._clock()
        return Snapshot(lane.state(now), lane.in_flight, len(lane.waiting) + len(lane.resumed), int(lane.width))

    def _begin_request(self, lane: Lane) -> None:
        lane.in_flight += 1
        self._in_flight_of[lane.tenant] = self._in_flight_of.get(lane.tenant, 0) + 1

    def _room(self, lane: Lane, now: float) -> int:
        return 0 if lane.tenant in self._suspended else lane.room(now)

    def _tenant_has_room(self, lane: Lane) -> bool:
        in_flight = self._in_flight_of.get(lane.tenant, 0)
        limit = MAX_CONCURRENT_PER_TENANT + (RESERVE_PER_TENANT if lane.in_flight < _FEW_IN_FLIGHT else 0)
        return in_flight < limit

    def _wait_for_lane(self, webhook_id: str, workflow_id: str) -> Wait:
        closed = self._lanes[webhook_id].state(self._clock()) is State.CLOSED
        reason = WEBHOOK_SHARE_USED if closed else NO_ANSWER
        return self._wait(webhook_id, workflow_id, reason)

    def _wait(self, webhook_id: str, workflow_id: str, reason: str) -> Wait:
        lane = self._lanes[webhook_id]
        lane.waiting[workflow_id] = None
        self._with_waiting.setdefault(webhook_id)
        seconds = min(max(_SHORTEST_WAIT_SECONDS, len(lane.waiting) / _WAKE_UPS_PER_SECOND), _LONGEST_WAIT_SECONDS)
        return Wait(seconds * random.uniform(1, 2), reason)  # noqa: S311  spreads load, guards nothing
