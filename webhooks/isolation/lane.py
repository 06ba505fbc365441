"""One webhook's lane: how many of its requests may be in flight, and a circuit breaker.

A lane starts narrow and gains one request with each answer. A failing request halves it. After some failures in a row
the circuit opens: no request leaves for a pause, and each further pause is twice as long. Then it is half open and lets
one probe through. The first answer closes it.
"""

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from webhooks import outcomes
from webhooks.contracts import Attempt

INITIAL_WIDTH = 8
"""Requests at the same time at first: enough for 50/s at 150 ms each."""
MAX_WIDTH = 32
"""Requests at the same time at most, also for those that a person asks for."""
MAX_CONSECUTIVE_FAILURES = 5
"""The circuit opens with this one."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STALLED_SECONDS = 2.0
"""A full lane in which no request has ended for this long is in trouble, long before its requests time out."""
SLOW_MS = 2_000
"""An answer that took longer does not widen the lane."""
LATE_MS = 5_000
"""A failure that took longer says that the receiver is overloaded."""


class State(StrEnum):
    """A circuit's state. Requests flow while it is closed."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Condition(Enum):
    """What an attempt says about its receiver."""

    HEALTHY = auto()
    SLOW = auto()
    """It answered, but more requests at the same time would not help it."""
    FAILING = auto()
    NEUTRAL = auto()
    """Nothing: the attempt never left this process, or its end is not known."""


def condition_of(attempt: Attempt) -> Condition:
    """Return what an attempt says: FAILING for no answer, a late failure, or a 429, which asks for less."""
    if attempt.outcome in outcomes.NEVER_SENT:
        return Condition.NEUTRAL
    unanswered = attempt.outcome in outcomes.RETRIED
    late = attempt.outcome != outcomes.DELIVERED and attempt.duration_ms > LATE_MS
    if unanswered or late or attempt.outcome == outcomes.of_status(429):
        return Condition.FAILING
    return Condition.SLOW if attempt.duration_ms > SLOW_MS else Condition.HEALTHY


@dataclass
class Lane:
    """Times are seconds of a monotonic clock."""

    tenant: str
    width: float = INITIAL_WIDTH
    in_flight: int = 0
    consecutive_failures: int = 0
    pause: float = 0
    open_until: float = 0
    last_end: float = 0
    """When a request last ended, well or not."""
    troubled_since: float | None = None
    waiting: OrderedDict[str, float | None] = field(default_factory=OrderedDict)
    """Workflow ids, oldest first, with the time at which Temporal starts a delayed one by itself; None once started."""
    resumed: dict[str, float] = field(default_factory=dict)
    """Workflow ids that were told to come, and until when they are waited for."""
    queue: deque[asyncio.Future[None]] = field(default_factory=deque)
    """Activities that wait in this process for a moment."""

    def state(self, now: float) -> State:
        if self.consecutive_failures < MAX_CONSECUTIVE_FAILURES:
            return State.CLOSED
        return State.OPEN if now < self.open_until else State.HALF_OPEN

    def room(self, now: float) -> int:
        """Return how many more requests may be in flight."""
        limit = {State.CLOSED: int(self.width), State.HALF_OPEN: 1, State.OPEN: 0}[self.state(now)]
        return max(limit - self.in_flight, 0)

    def is_troubled(self, now: float) -> bool:
        """Return whether the circuit is not closed, or the lane is full of requests that do not end."""
        stalled = not self.room(now) and now - self.last_end > STALLED_SECONDS
        return stalled or self.state(now) is not State.CLOSED

    def end_request(self, condition: Condition, now: float) -> None:
        """Count a request as ended, and adapt width and circuit to what it said."""
        self.in_flight -= 1
        self.last_end = now
        match condition:
            case Condition.HEALTHY | Condition.SLOW:
                self.width = min(self.width + (condition is Condition.HEALTHY), MAX_WIDTH)
                self.consecutive_failures, self.pause, self.troubled_since = 0, 0, None
            # What was sent before the circuit opened says nothing new.
            case Condition.FAILING if self.state(now) is not State.OPEN:
                self.width, self.consecutive_failures = max(self.width / 2, 1), self.consecutive_failures + 1
                if self.consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
                    self.pause = min(self.pause * 2 or FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
                    self.open_until = now + self.pause

    def is_idle(self) -> bool:
        """Return whether the lane may be forgotten: a new one would behave the same."""
        return not (self.in_flight or self.queue or self.waiting or self.resumed or self.consecutive_failures)
