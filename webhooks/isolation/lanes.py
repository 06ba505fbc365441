"""How much of this process each webhook may hold, so that no receiver can slow another.

Each webhook has a lane. It starts narrow, grows by one request with each answer, and halves with each request that
hurt: one that got no answer, or a late failure. After some of these in a row the lane is shut, and opens for one probe
at a time, after pauses that double; the first answer opens it.

What does not get into a lane that flows queues for a moment. What does not get in at all waits in Temporal, on a timer
of its own workflow, without an attempt or a slot; the lane remembers who waits, oldest first, and calls them when there
is room. The state is this process's own: after a restart the timers do what the calls would have done.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import StrEnum

NARROW, WIDE = 8, 32
"""Requests at once for one webhook: at first, and at most."""
OF_ONE_TENANT, RESERVE, _FEW = 112, 48, 4
"""Requests at once for all webhooks of a tenant, and beyond these for webhooks that have few in flight: others that are
slow, but not in trouble, must not take it all. With who queues, less than the worker has slots."""
BACKLOG = 150
"""Deliveries accepted and not begun."""
_HOLDING, _TO_HOLD = 2, 32
"""Deliveries on their way to being held: at once, and in all. What is not urgent leaves Temporal to what is."""
_ANNOUNCED_SECONDS = 30.0
_QUEUE, _QUEUES = 16, 32
"""Who queues for one lane, and for all: each holds one of the worker's slots."""
_QUEUE_SECONDS = 2.0
_STRIKES = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_STALLED_SECONDS = 2.0
_HEAD_START, _LONGEST_HEAD_START = 60.0, 6 * 3_600.0
_PATIENCE = 4
"""Beginning a delivery only to find its lane shut costs more than delivering it. So a new one is delayed by a few times
the trouble's age, lest many be begun by their delay's end before the trouble is over."""
_SOON = 5.0
"""Seconds: a delivery that will be begun this soon by itself is left to it."""
_SHORTEST_WAIT, _LONGEST_WAIT = 30.0, 3_600.0
_WAKES_PER_SECOND = 2.0
"""Of all that wait for one webhook: many waiting deliveries wait longer, so that their timers stay nothing."""
_CALL_SECONDS = 10.0
"""A called delivery that has not come by then is not waited for."""


class State(StrEnum):
    OPEN = "open"
    PROBING = "probing"
    SHUT = "shut"


class TooManyDelayedError(Exception):
    """More is to be held than can be stored without slowing others."""


@dataclass(frozen=True)
class Wait:
    """Why a delivery cannot be tried now, and the seconds after which it asks again if nobody calls it."""

    after: float
    reason: str


@dataclass(frozen=True)
class Call:
    """A delivery that may come now, and whether it has been begun; if not, when it will be by itself."""

    delivery: str
    begun: bool
    webhook_id: str = field(default="", compare=False)
    begins_at: float | None = field(default=None, compare=False)


@dataclass
class _Lane:
    tenant: str
    width: float = NARROW
    in_flight: int = 0
    strikes: int = 0
    pause: float = 0
    shut_until: float = 0
    left_at: float = 0
    """When a request last ended, well or not."""
    troubled_since: float | None = None
    waiting: OrderedDict[str, float | None] = field(default_factory=OrderedDict)
    """Each with the time at which it will be begun; None once it is."""
    called: dict[str, float] = field(default_factory=dict)
    queue: deque[asyncio.Future[None]] = field(default_factory=deque)

    def state(self, now: float) -> State:
        if self.strikes < _STRIKES:
            return State.OPEN
        return State.SHUT if now < self.shut_until else State.PROBING

    def room(self, now: float) -> int:
        """How many more may be in flight."""
        limit = {State.OPEN: int(self.width), State.PROBING: 1, State.SHUT: 0}[self.state(now)]
        return max(limit - self.in_flight, 0)

    def is_troubled(self, now: float) -> bool:
        """Whether it is shut, or full of requests of which none has ended for a while."""
        stalled = not self.room(now) and now - self.left_at > _STALLED_SECONDS
        return stalled or self.state(now) is not State.OPEN

    def forgettable(self) -> bool:
        return not (self.in_flight or self.queue or self.waiting or self.called or self.strikes)


@dataclass(frozen=True)
class Traffic:
    """A lane for people."""

    state: State
    in_flight: int
    waiting: int
    limit: int


@dataclass(frozen=True)
class Census:
    """All lanes of a process, counted."""

    in_flight: int
    waiting: int
    states: Counter[State]


class Lanes:
    """One for each process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        self._queued = 0
        self._crowded: OrderedDict[str, None] = OrderedDict()
        """Webhooks with somebody who waits, the one that was served longest ago first."""
        self._announced: OrderedDict[str, float] = OrderedDict()
        self._of_tenant: dict[str, int] = {}
        self._to_hold = 0
        self._holding = asyncio.Semaphore(_HOLDING)
        self.on_room: Callable[[], None] = lambda: None
        """Called when there may be room for somebody who waits."""

    async def admit(self, tenant: str, webhook_id: str, delivery: str, *, at_once: bool = False) -> Wait | None:
        """`enter`, after a moment in the queue of a lane that flows."""
        wait = self.enter(tenant, webhook_id, delivery, at_once=at_once)
        lane = self._lanes[webhook_id]
        full = len(lane.queue) >= _QUEUE or self._queued >= _QUEUES
        if wait is None or full or lane.strikes or lane.is_troubled(self._clock()):
            return wait
        lane.waiting.pop(delivery)
        turn = asyncio.get_running_loop().create_future()
        lane.queue.append(turn)
        self._queued += 1
        try:
            async with asyncio.timeout(_QUEUE_SECONDS):
                await asyncio.shield(turn)
        except TimeoutError:
            if not turn.done():
                lane.queue.remove(turn)
                return self.enter(tenant, webhook_id, delivery)
        except asyncio.CancelledError:
            if turn.done():
                self.leave(tenant, webhook_id, hurt=None)
            else:
                lane.queue.remove(turn)
            raise
        finally:
            self._queued -= 1
        return None

    def enter(self, tenant: str, webhook_id: str, delivery: str, *, at_once: bool = False) -> Wait | None:
        """None, if the delivery may be tried: `leave` must follow. `at_once` is for a person who asks: it goes through
        where a probe would."""
        now = self._clock()
        lane = self._lanes.setdefault(webhook_id, _Lane(tenant, left_at=now))
        self.drop(webhook_id, delivery)
        if lane.room(now) or (at_once and lane.in_flight < WIDE):
            if self._has_share(lane):
                self._take(lane)
                return None
            return self._wait(webhook_id, delivery, "the tenant's share of requests is in flight")
        return self._turned_away(webhook_id, delivery)

    def turn_away(self, webhook_id: str, delivery: str) -> Wait | None:
        """`enter`, where it would be in vain because of trouble: who is turned away before anything is loaded costs
        least. None says no more than that it may try to enter."""
        lane, now = self._lanes.get(webhook_id), self._clock()
        if lane is None or lane.room(now) or not lane.is_troubled(now):
            return None
        self.drop(webhook_id, delivery)
        return self._turned_away(webhook_id, delivery)

    def _turned_away(self, webhook_id: str, delivery: str) -> Wait:
        flows = self._lanes[webhook_id].state(self._clock()) is State.OPEN
        reason = "the webhook's share of requests is in flight" if flows else "the receiver gives no answer"
        return self._wait(webhook_id, delivery, reason)

    def _wait(self, webhook_id: str, delivery: str, reason: str) -> Wait:
        lane = self._lanes[webhook_id]
        lane.waiting[delivery] = None
        self._crowded.setdefault(webhook_id)
        wait = min(max(_SHORTEST_WAIT, len(lane.waiting) / _WAKES_PER_SECOND), _LONGEST_WAIT)
        return Wait(wait * random.uniform(1, 2), reason)  # noqa: S311  spreads load, guards nothing

    def leave(self, tenant: str, webhook_id: str, *, hurt: bool | None, slow: bool = False) -> None:
        """`hurt` is webhooks.outcomes.hurts of the attempt; None if it says nothing. A `slow` answer is none that more
        requests at once should follow."""
        now, lane = self._clock(), self._lanes[webhook_id]
        lane.in_flight -= 1
        lane.left_at = now
        self._of_tenant[tenant] -= 1
        if hurt is False:
            lane.width = min(lane.width + (not slow), WIDE)
            lane.strikes, lane.pause, lane.troubled_since = 0, 0, None
        elif hurt and lane.state(now) is not State.SHUT:  # what was sent before it was shut says nothing new
            lane.width, lane.strikes = max(lane.width / 2, 1), lane.strikes + 1
            if lane.strikes >= _STRIKES:
                lane.pause = min(lane.pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
                lane.shut_until = now + lane.pause
        while lane.queue and lane.room(now) and self._has_share(lane):
            self._take(lane)
            lane.queue.popleft().set_result(None)
        if lane.forgettable():
            del self._lanes[webhook_id]
            self._crowded.pop(webhook_id, None)
        if not self._of_tenant[tenant]:
            del self._of_tenant[tenant]
        self.on_room()

    def _has_share(self, lane: _Lane) -> bool:
        taken = self._of_tenant.get(lane.tenant, 0)
        return taken < OF_ONE_TENANT or (lane.in_flight < _FEW and taken < OF_ONE_TENANT + RESERVE)

    def _take(self, lane: _Lane) -> None:
        lane.in_flight += 1
        self._of_tenant[lane.tenant] = self._of_tenant.get(lane.tenant, 0) + 1

    def announce(self, delivery: str) -> None:
        """This process accepted a delivery that its own worker will begin."""
        self._announced[delivery] = self._clock() + _ANNOUNCED_SECONDS

    def begin(self, delivery: str) -> None:
        self._announced.pop(delivery, None)

    def backlogged(self) -> bool:
        """Whether as many deliveries wait to be begun as the worker can begin in good time. Begun late, a workflow task
        would be timed out and run again."""
        now = self._clock()
        while self._announced and next(iter(self._announced.values())) < now:  # another process's worker has it
            self._announced.popitem(last=False)
        return len(self._announced) >= BACKLOG

    def head_start(self, webhook_id: str) -> float:
        """Seconds that a new delivery may as well wait before it is begun at all; 0 if its lane flows."""
        lane, now = self._lanes.get(webhook_id), self._clock()
        if lane is None or not lane.is_troubled(now):
            return 0
        if lane.troubled_since is None:
            lane.troubled_since = now
        age = now - lane.troubled_since
        return min(max(age * _PATIENCE, _HEAD_START), _LONGEST_HEAD_START) * random.uniform(1, 2)  # noqa: S311

    @contextlib.asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """While a delivery is stored that is to be held. Raises TooManyDelayedError."""
        if self._to_hold >= _TO_HOLD:
            raise TooManyDelayedError
        self._to_hold += 1
        try:
            async with self._holding:
                yield
        finally:
            self._to_hold -= 1

    def hold(self, tenant: str, webhook_id: str, delivery: str, seconds: float) -> None:
        """A delivery is stored that will be begun in so many seconds, unless it is called before."""
        lane = self._lanes.setdefault(webhook_id, _Lane(tenant, left_at=self._clock()))
        lane.waiting[delivery] = self._clock() + seconds
        self._crowded.setdefault(webhook_id)

    def drop(self, webhook_id: str, delivery: str) -> None:
        """It is here, or it will not come."""
        if lane := self._lanes.get(webhook_id):
            lane.waiting.pop(delivery, None)
            lane.called.pop(delivery, None)

    def put_back(self, call: Call) -> None:
        """It was not reached: it is the next again."""
        lane = self._lanes.get(call.webhook_id)
        if lane and lane.called.pop(call.delivery, None):
            lane.waiting[call.delivery] = call.begins_at
            lane.waiting.move_to_end(call.delivery, last=False)
            self._crowded.setdefault(call.webhook_id)

    def call(self) -> Call | None:
        """Who may come now: the oldest of its lane, each lane in turn; None if there is no room."""
        now = self._clock()
        for webhook_id in list(self._crowded):
            lane = self._lanes[webhook_id]
            lane.called = {delivery: until for delivery, until in lane.called.items() if now < until}
            while lane.waiting and len(lane.called) < lane.room(now):
                delivery, begins_at = lane.waiting.popitem(last=False)
                if begins_at is None or begins_at > now + _SOON:
                    self._crowded.move_to_end(webhook_id)
                    lane.called[delivery] = now + _CALL_SECONDS
                    return Call(delivery, begins_at is None, webhook_id, begins_at)
            if not lane.waiting:
                del self._crowded[webhook_id]
        return None

    def census(self) -> Census:
        """Also for other threads, which may find it a moment old."""
        now, lanes = self._clock(), list(self._lanes.values())
        return Census(
            in_flight=sum(lane.in_flight for lane in lanes),
            waiting=sum(len(lane.waiting) + len(lane.called) + len(lane.queue) for lane in lanes),
            states=Counter(lane.state(now) for lane in lanes),
        )

    def traffic(self, webhook_id: str) -> Traffic:
        lane, now = self._lanes.get(webhook_id) or _Lane(""), self._clock()
        return Traffic(lane.state(now), lane.in_flight, len(lane.waiting) + len(lane.called), int(lane.width))
