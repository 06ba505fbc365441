"""How fast jobs and fan-outs may go, so that live deliveries do not notice them."""

import asyncio
import time
from collections.abc import Callable

from webhooks.isolation.live_traffic import LiveTraffic

_REST = 8
"""While there are live deliveries, each turn is followed by a rest of this many times its work. So the pace follows the
speed of Temporal and of the machine, and slows down when they are busy: `make bench ONLY="bulk fanout"`."""
_LONGEST_REST_SECONDS = 2.0
"""Work goes on, however slow Temporal is."""


class Pacer:
    """Gives turns, at most `rate` per second, in the order in which they are asked for: each job gets its share.

    No turn is given while `busy` returns true."""

    def __init__(self, rate: float, live: LiveTraffic, busy: Callable[[], bool] = lambda: False) -> None:
        self._rate = rate
        self._live = live
        self._busy = busy
        self._one_by_one = asyncio.Lock()
        self._next_at = 0.0

    def turns(self) -> "Turns":
        """Return the turns of one who does one thing after the other."""
        return Turns(self)

    async def turn(self, share: float, worked: float) -> None:
        """Wait for a turn. `share` is how much of one is taken: what only reads takes less. `worked` is how many
        seconds the caller has worked since its last turn."""
        async with self._one_by_one:
            await asyncio.sleep(self._next_at - time.monotonic())
            if self._live.present():
                await asyncio.sleep(min(_REST * worked, _LONGEST_REST_SECONDS))
            while self._busy():  # noqa: ASYNC110  nothing signals that it ends
                await asyncio.sleep(1 / self._rate)
            self._next_at = max(self._next_at, time.monotonic()) + share / self._rate


class Turns:
    """Knows how long was worked since the last turn."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._working_since: float | None = None
        self._worked = 0.0

    async def next(self, share: float = 1.0) -> None:
        """Wait for the next turn, as `Pacer.turn` does."""
        self.pause()
        await self._pacer.turn(share, self._worked)
        self._worked = 0.0
        self._working_since = time.monotonic()

    def pause(self) -> None:
        """End the work of this turn: what follows is a wait."""
        if self._working_since is not None:
            self._worked += time.monotonic() - self._working_since
            self._working_since = None
